import re
import shutil
import tomllib

import numpy as np
import pytest

from esc50 import experiments
from esc50.config import PROJECT_DIR, RESULTS_DIR, ResultsError
from esc50.experiments import ablation, nested_cv, results
from esc50.reporting import literature, readme
from esc50.reporting.tables import percent

README = PROJECT_DIR / "README.md"
PARTS = [(name, marker) for name, parts in readme.DOCUMENTS.items() for marker in parts]


@pytest.mark.results
@pytest.mark.parametrize(("name", "marker"), PARTS)
def test_documents_say_what_the_results_say(name, marker):
    text = (PROJECT_DIR / name).read_text(encoding="utf-8")
    written = readme.DOCUMENTS[name][marker]()
    assert readme.replace_table(text, marker, written) == text, f"{name} is out of date: run `make readme`"


@pytest.mark.results
@pytest.mark.parametrize("name", readme.DOCUMENTS)
def test_every_percentage_outside_what_is_written_has_a_source(name):
    """Prose may cite published figures, but our own figures stand only in what is written from results."""
    outside = (PROJECT_DIR / name).read_text(encoding="utf-8")
    for marker in re.findall(r"<!-- end of (\w+) -->", outside):
        outside = readme.replace_table(outside, marker, "")
    outside = re.sub(r"```.*?```", "", outside, flags=re.DOTALL)  # what commands print
    published = [literature.PICZAK_CNN, literature.HUMANS, literature.YAMNET_MLP, *literature.BASELINES.values()]
    allowed = {figure.accuracy for figure in published} | {95.0, *literature.SEED_PRINTED["accuracy"], 80.0}
    allowed |= {literature.SEED_CLAIM["accuracy"], literature.SEED_CLAIM["top3_accuracy"]}
    found = {float(value) for value in re.findall(r"(\d+(?:\.\d+)?) ?%", outside)}
    assert found <= allowed, f"figures without a source: {sorted(found - allowed)}"


@pytest.mark.results
def test_the_teacher_pays_for_one_network_and_not_for_averages():
    """For one network beyond the seeds' spread; for averages the interval of the gain holds zero."""
    table = ablation.ablation()
    control, distilled = table.loc["distilled_control"], table.loc["distilled"]
    spread = max(control["run_accuracy_sd"], distilled["run_accuracy_sd"])
    assert distilled["run_accuracy"] - control["run_accuracy"] > spread
    assert distilled["gain_low"] < 0 < distilled["gain_high"]


@pytest.mark.slow
def test_every_model_with_a_title_has_a_row_and_the_best_is_the_last():
    lines = readme.results_table().splitlines()
    assert len(lines) == 2 + sum(bool(model.title) for model in experiments.models().values())
    assert {line.count("|") for line in lines} == {6}
    averaged = [float(re.findall(r"([\d.]+) % \(", line)[0]) for line in lines[2:]]
    assert averaged == sorted(averaged)


def test_what_is_claimed_is_the_mean_over_seeds_of_one_network():
    runs = results.load_cross_validation()
    own = runs[runs["model"] == "robust"].groupby("seed")["accuracy"].mean()
    line = next(line for line in readme.summary_table().splitlines() if "the shipped model" in line)
    assert f"| {percent(own.mean())} ± {percent(own.std())} % |" in line
    assert len(own) == 3


def test_the_network_that_each_fold_takes_is_among_the_claims():
    [row] = [line for line in readme.summary_table().splitlines() if readme.CHOSEN in line]
    runs = results.load_cross_validation().set_index(["model", "fold", "seed"])["accuracy"]
    chosen = list(nested_cv.network_choices().itertuples())
    own = [np.mean([runs[c.candidate, c.test_fold, seed] for c in chosen]) for seed in (0, 1, 2)]
    assert f"{percent(np.mean(own))} ± {percent(np.std(own, ddof=1))} %" in row


@pytest.mark.slow
def test_a_gain_names_the_row_that_the_idea_changes(monkeypatch):
    table = ablation.ablation()
    monkeypatch.setattr(readme, "ablation", lambda *, folder: table)
    lines = readme.ablation_table().splitlines()[2:]
    [line] = [line for line in lines if table.loc["distilled", "title"] in line]
    number = 1 + list(table.index).index(table.loc["distilled", "over"])
    assert line.endswith(f", row {number} |") and lines[number - 1].startswith(f"| {number}. ")
    assert lines[0].endswith("| – |")


def test_a_document_is_written_between_its_markers(tmp_path, monkeypatch):
    parts = {name: lambda *, folder, name=name: f"| {name} |" for name in "ab"}
    monkeypatch.setattr(readme, "DOCUMENTS", {"README.md": parts})
    path = tmp_path / "README.md"
    markers = [(readme.START.format(name=name), readme.END.format(name=name)) for name in "ab"]
    path.write_text("\n".join(["before", *(f"{start}\nstale line\n{end}" for start, end in markers), "after\n"]))
    assert readme.update_readme(root=tmp_path)
    assert not readme.update_readme(root=tmp_path)
    lines = path.read_text().splitlines()
    assert (lines[0], lines[2], lines[5], lines[7]) == ("before", "| a |", "| b |", "after")


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").split()) < 1_200


def test_the_address_is_written_in_one_place():
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = readme.buttons()
    assert not readme.update_colab()
    assert all(url in text for url in project["urls"].values())


@pytest.mark.parametrize("name", ["README.md", "Makefile"])
def test_jupyterlab_serves_the_project_so_that_notebooks_find_its_pictures(name):
    assert "jupyter lab notebooks" not in (PROJECT_DIR / name).read_text(encoding="utf-8")


def test_the_pictures_of_the_readme_exist():
    pictures = re.findall(r"!\[[^\]]*\]\(((?!http)[^)]+)\)", README.read_text(encoding="utf-8"))
    assert pictures
    assert all((PROJECT_DIR / picture).is_file() for picture in pictures)


def test_a_readme_without_markers_is_left_alone(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("no table here")
    with pytest.raises(ResultsError, match="markers"):
        readme.update_readme(root=tmp_path)
    assert path.read_text() == "no table here"


@pytest.mark.parametrize(
    "name", ["timeline.json", "trust_multilayer.json", "trust_multilayer_summary.csv", "nested_cv_kernel_ridge.csv"]
)
def test_a_missing_results_file_is_named_with_the_remedy(name, tmp_path):
    shutil.copytree(RESULTS_DIR, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink()
    with pytest.raises(ResultsError, match=f"no results file .*{name}: restore it with git or run `"):
        for table in (readme.measures_table, readme.summary_table):
            table(folder=tmp_path)

import re
import shutil

import numpy as np
import pytest

from esc50.config import PROJECT_DIR, ResultsError
from esc50.experiments import ablation, nested_cv, results
from esc50.reporting import literature, readme

README = PROJECT_DIR / "README.md"


TABLES = readme.TABLES


@pytest.mark.parametrize("name", TABLES)
def test_the_readme_says_what_the_results_say(name):
    text = README.read_text(encoding="utf-8")
    assert readme.with_table(text, name, TABLES[name]()) == text, "README is out of date: run `make readme`"


def test_the_table_has_a_row_for_each_model():
    lines = readme.results_table().splitlines()
    assert len(lines) == 2 + len(readme.MODELS)
    assert {line.count("|") for line in lines} == {6}


def test_what_is_claimed_is_the_mean_over_seeds_of_one_network():
    runs = results.load_cross_validation()
    own = runs[runs["model"] == "distilled"].groupby("seed")["accuracy"].mean()
    line = next(line for line in readme.summary_table().splitlines() if "the shipped model" in line)
    assert f"| {100 * own.mean():.1f} ± {100 * own.std():.1f} % |" in line
    assert len(own) == 3


def test_the_readme_is_written_between_its_markers(tmp_path):
    path = tmp_path / "README.md"
    blocks = [f"{readme.START.format(name=name)}\nstale line\n{readme.END.format(name=name)}" for name in TABLES]
    path.write_text("\n".join(["before", *blocks, "after\n"]))
    assert readme.update_readme(path=path)
    assert not readme.update_readme(path=path)
    assert path.read_text().startswith("before\n") and path.read_text().endswith("after\n")
    assert "stale line" not in path.read_text()


def test_the_pictures_of_the_readme_exist():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert len(pictures) >= 2
    assert all((PROJECT_DIR / picture).is_file() for picture in pictures)


def test_a_readme_without_markers_is_left_alone(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("no table here")
    with pytest.raises(ResultsError, match="markers"):
        readme.update_readme(path=path)
    assert path.read_text() == "no table here"


@pytest.mark.parametrize(
    "name", ["timeline.json", "app_load.json", "trust_layers.json", "trust_layers_summary.csv", "selection_kernel.csv"]
)
def test_a_missing_results_file_is_named_with_the_remedy(name, tmp_path):
    shutil.copytree(results.RESULTS_DIR, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink()
    with pytest.raises(ResultsError, match=f"no results file .*{name}: restore it with git or run `make reproduce`"):
        for table in (readme.measures_table, readme.summary_table):
            table(folder=tmp_path)


def test_the_network_that_each_fold_takes_is_among_the_claims():
    [row] = [line for line in readme.summary_table().splitlines() if readme.CHOSEN in line]
    networks = nested_cv.network_choices(*map(nested_cv.load_selection, (nested_cv.LAYERS_FILE, nested_cv.KERNEL_FILE)))
    runs = results.load_cross_validation().set_index(["model", "fold", "seed"])["accuracy"]
    own = [np.mean([runs[c.candidate, c.left_out, seed] for c in networks.itertuples()]) for seed in (0, 1, 2)]
    assert f"{100 * np.mean(own):.1f} ± {100 * np.std(own, ddof=1):.1f} %" in row


def test_what_the_readme_says_of_the_teacher_is_what_its_rows_say():
    """It pays for one network, beyond the seeds' spread; for averages the interval of the gain holds zero."""
    table = ablation.ablation()
    numbers = {model: number for number, model in enumerate(table.index, start=1)}
    said = f"The teacher of row {numbers['distilled']} pays where one network answers"
    assert said in README.read_text() and f"the labels alone (row {numbers['blended']})" in README.read_text()
    alone, taught = table.loc["blended"], table.loc["distilled"]
    assert taught["run_accuracy"] - alone["run_accuracy"] > max(taught["run_accuracy_sd"], alone["run_accuracy_sd"])
    assert taught["gain_low"] < 0 < taught["gain_high"]


def test_the_headline_states_its_protocol():
    found = readme.headline(results.summarise(["head_frames"]).loc["head_frames"])
    assert "official 5 folds" in found["protocol"]
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]
    assert found["run_accuracy"] < found["accuracy"]


def test_every_percentage_in_the_readme_outside_the_table_has_a_source():
    """Prose may cite published figures and link to files, but our own figures stand only in the table."""
    from esc50.reporting import readme

    outside = README.read_text()
    for name in TABLES:
        outside = readme.with_table(outside, name, "")
    allowed = {literature.PICZAK_CNN.accuracy, literature.HUMANS.accuracy, literature.YAMNET_MLP.accuracy, 95.0}
    allowed |= {figure.accuracy for figure in literature.BASELINES.values()}
    allowed |= {literature.SEED_CLAIM["accuracy"], literature.SEED_CLAIM["top3_accuracy"], 80.0, 81.0}
    found = {float(value) for value in re.findall(r"(\d+(?:\.\d+)?) ?%", outside)}
    assert found <= allowed, f"figures without a source: {sorted(found - allowed)}"

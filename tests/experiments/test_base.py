"""Experiments are found, run once, cached and assembled."""

import importlib.util
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from esc50 import dataset, experiments
from esc50.config import PROJECT_DIR, FeatureError, ResultsError
from esc50.dataset import feature_files
from esc50.dataset.splits import Split
from esc50.experiments import base, plain, results, run_cache
from esc50.experiments.networks import HeadSettings

MADE_UP = """
import numpy as np
from pathlib import Path
from esc50.experiments import Experiment, Fitted, Model
from esc50.experiments.networks import HeadSettings

CALLS = Path(__file__).with_name("calls")


def fit(inputs, targets, *, settings, seed, held_out, progress):
    calls = CALLS.read_text().split() if CALLS.exists() else []
    if len(calls) == 3:
        CALLS.rename(CALLS.with_name("stopped"))
        raise KeyboardInterrupt
    CALLS.write_text(" ".join([*calls, f"{seed}:{len(targets)}"]))
    found = np.eye(50, dtype=np.float32)[(held_out[1] + seed) % 50]
    return Fitted(lambda test: {"made_up": found}, {"loss": [1.0, 0.5], "val_accuracy": [0.1, 0.2]})


prepare = lambda statistics: statistics["rms"]
EXPERIMENTS = [Experiment("made_up", ("clip_statistics",), prepare, fit, {"made_up": Model()}, HeadSettings(), (0, 1))]
"""


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder whose modules are experiments like those of the package, and a cache of its own."""
    (tmp_path / "more").mkdir()
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path / "more")])
    monkeypatch.setattr(run_cache, "CACHE_DIR", tmp_path / "cache")
    before = {*sys.modules}
    yield tmp_path / "more"
    for name in {*sys.modules} - before:
        if name.startswith("esc50.experiments."):
            del sys.modules[name]
    base.find_experiments.cache_clear()


def add(folder, name, code):
    """Write a module, or write it anew."""
    (folder / f"{name}.py").write_text(code)
    importlib.invalidate_caches()
    sys.modules.pop(f"esc50.experiments.{name}", None)
    base.find_experiments.cache_clear()


@pytest.fixture
def made_up(folder):
    """An experiment that takes no time and stops at its fourth run, when it is run without `calls`."""
    add(folder, "made_up", MADE_UP.replace("len(calls) == 3", "False"))
    return folder


def run(**how):
    return experiments.run_experiment("made_up", progress=False, **how)


def n_calls(folder):
    return len((folder / "calls").read_text().split()) if (folder / "calls").exists() else 0


def test_every_seed_and_fold_is_run_once(made_up):
    found = run()
    assert n_calls(made_up) == len(found.cross_validation) == 10
    assert found.cross_validation.groupby("seed")["accuracy"].mean().tolist() == [1.0, 0.0]
    assert len(found.history) == 20
    assert {"loss", "held_out_accuracy", "epoch"} <= set(found.history.columns)


def test_out_of_fold_is_the_mean_over_seeds(made_up):
    table = run().out_of_fold["made_up"]
    assert table["filename"].nunique() == len(table) == 2000
    assert np.allclose(results.probabilities(table)[np.arange(2000), table["target"]], 0.5)


def test_an_interrupted_run_goes_on_where_it_was(folder):
    add(folder, "made_up", MADE_UP)
    with pytest.raises(KeyboardInterrupt):
        run()
    add(folder, "made_up", MADE_UP.replace("len(calls) == 3", "False"))
    run()
    assert n_calls(folder) == 7  # three finished runs are not repeated


def test_finished_runs_are_read_back_as_they_were(made_up):
    one, two = run(folds=[2]), run(folds=[2])
    assert n_calls(made_up) == 2
    assert one.cross_validation.equals(two.cross_validation)
    assert one.out_of_fold["made_up"].equals(two.out_of_fold["made_up"])
    assert one.history.reset_index(drop=True).equals(two.history.reset_index(drop=True))


@pytest.mark.slow
def test_runs_in_two_processes_are_those_of_one(monkeypatch, tmp_path):
    found = []
    for n_processes in ("1", "2"):
        monkeypatch.setenv("ESC50_PROCESSES", n_processes)
        monkeypatch.setattr(run_cache, "CACHE_DIR", tmp_path / n_processes)
        found.append(experiments.run_experiment("mfcc_knn", folds=[1, 2], progress=False))
    assert found[0].out_of_fold["mfcc_knn"].equals(found[1].out_of_fold["mfcc_knn"])


def test_a_comment_invalidates_no_run(made_up):
    run(folds=[1])
    add(made_up, "made_up", "# Nothing new.\n" + (made_up / "made_up.py").read_text() + "\n# Nor here.\n")
    run(folds=[1])
    assert n_calls(made_up) == 2


def test_a_comment_in_the_cache_module_invalidates_no_run(made_up, tmp_path, monkeypatch):
    def run_with(source):
        """As another process would, after an edit."""
        (tmp_path / "run_cache.py").write_text(source)
        spec = importlib.util.spec_from_file_location("esc50.experiments.run_cache", tmp_path / "run_cache.py")
        edited = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(edited)
        monkeypatch.setattr(edited, "CACHE_DIR", run_cache.CACHE_DIR)
        monkeypatch.setattr(base, "run_cache", edited)
        run(folds=[1])

    source = (PROJECT_DIR / "esc50/experiments/run_cache.py").read_text()
    run_with(source)
    run_with(source.replace("import json\n", "import json  # text\n\n# More of it.\n"))
    assert n_calls(made_up) == 2


@pytest.mark.parametrize("change", ["version", "settings", "features", "seed", "rows"])
def test_whatever_determines_a_run_makes_another_one(made_up, monkeypatch, clips, change):
    run(folds=[1], seeds=[0])
    how = {"folds": [1], "seeds": [0]}
    if change == "version":
        code = (made_up / "made_up.py").read_text()
        add(made_up, "made_up", code.replace("HeadSettings(), (0, 1)", "HeadSettings(), (0, 1), version=2"))
    elif change == "settings":
        how["settings"] = replace(HeadSettings(), epochs=1)
    elif change == "features":
        monkeypatch.setattr(base, "digest", lambda name: "of other features")
    elif change == "seed":
        how["seeds"] = [1]
    else:
        (split,) = dataset.official_splits(clips, folds=[1])
        how["splits"] = [Split(split.name, split.train[1:], split.test)]
    run(**how)
    assert n_calls(made_up) == 2


def test_each_split_is_trained_with_the_settings_chosen_for_it(made_up, clips):
    code = (made_up / "made_up.py").read_text()
    by_split = 'settings_by_split={"fold 2": HeadSettings(epochs=1)})]'
    add(made_up, "made_up", code.replace("HeadSettings(), (0, 1))]", f"HeadSettings(), (0, 1), {by_split}"))
    experiment = experiments.find_experiments()["made_up"]
    folds = dataset.official_splits(clips)
    assert [experiment.settings_for(split).epochs for split in folds[:2]] == [HeadSettings().epochs, 1]
    given = replace(HeadSettings(), epochs=7)
    assert experiment.settings_for(folds[1], given) == given
    assert run().manifest["made_up"]["settings_by_split"]["fold 2"]["epochs"] == 1
    assert "settings_by_split" not in run(settings=given).manifest["made_up"]


def test_only_a_whole_run_is_saved(made_up, tmp_path):
    def results_of(**how):
        return experiments.results_of("made_up", retrain=True, folder=tmp_path / "results", progress=False, **how)

    for part in ({"folds": [1]}, {"seeds": [0]}, {"settings": replace(HeadSettings(), epochs=1)}):
        assert len(results_of(**part).cross_validation)
        assert not (tmp_path / "results").exists()
    found = results_of()
    assert len(found.cross_validation) == 10
    assert results.load_manifest(folder=tmp_path / "results")["made_up"]["command"] == "esc50 train made_up"


def test_retrained_results_go_where_notebooks_may_write(made_up, tmp_path, monkeypatch):
    monkeypatch.setenv("ESC50_OUTPUT", str(tmp_path / "output"))
    experiments.results_of("made_up", retrain=True, progress=False)
    assert (tmp_path / "output/data/results/out_of_fold/made_up.csv.gz").is_file()


def test_other_protocols_are_run_as_named(made_up, clips):
    splits = dataset.duplicated_clip_splits(clips, seed=0)
    assert run(splits=splits, seeds=[0]).cross_validation["n_clips"].sum() == 4000


def test_the_example_of_contributing_is_an_experiment(folder, clips):
    """Written where experiments are, it is found by its name, gives results, and changes no other run's key."""
    some = clips.groupby("target").head(4).index.to_numpy()  # of the first folds
    split = Split("fold 1", np.setdiff1d(some, some[::4]), some[::4])
    committed = [e for e in experiments.find_experiments().values() if {*e.features} <= {*feature_files.CLIP_FEATURES}]
    before = {each.name: each.key(split, 0) for each in committed}
    (code,) = re.findall(
        r"## Add an experiment.*?```python\n(.*?)```", (PROJECT_DIR / "CONTRIBUTING.md").read_text(), re.S
    )
    add(folder, "nearest_mean", code)
    found = experiments.find_experiments()
    assert {name: found[name].key(split, 0) for name in before} == before
    tested = experiments.run_experiment("nearest_mean", splits=[split], progress=False)
    assert tested.cross_validation["accuracy"].item() > 0.3
    assert experiments.models()["nearest_mean"].title


def test_every_experiment_has_a_name_of_its_own_and_known_features():
    for name, experiment in experiments.find_experiments().items():
        assert experiment.name == name
        assert set(experiment.features) <= set(feature_files.PARAMETERS)
    listed = [model for each in experiments.find_experiments().values() for model in each.models]
    assert len(listed) == len({*listed}) == len(experiments.models())


def test_without_retraining_the_committed_results_are_read():
    found = experiments.results_of("head_frames")
    assert set(found.out_of_fold) == set(plain.FRAME_POOLINGS)
    assert found.cross_validation["model"].nunique() == len(plain.FRAME_POOLINGS)
    for part in ({"folds": (1,)}, {"seeds": (0,)}, {"settings": HeadSettings(epochs=1)}):
        with pytest.raises(ResultsError, match="add retrain=True"):
            experiments.results_of("head_frames", **part)


def test_missing_features_are_an_error_that_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(base, "digest", lambda name: feature_files.digest(name, folder=tmp_path))
    with pytest.raises(FeatureError, match="make features"):
        experiments.run_experiment("mfcc_knn", progress=False)

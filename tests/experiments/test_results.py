"""Reading and writing results, and consistency of the committed files with each other and with the code."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from esc50.config import FOLDS, RESULTS_DIR, ResultsError
from esc50.experiments import base, find_experiments, metrics, models, protocols_of, results

EXPERIMENTS, MODELS = find_experiments(), tuple(models())


def made_up(clips, model="made_up", rows=slice(None)):
    some = clips.iloc[rows]
    table = some[["filename", "fold", "target"]].reset_index(drop=True)
    table = table.join(pd.DataFrame(np.full((len(some), 50), 0.02), columns=results.PROBABILITY_COLUMNS))
    row = {"model": model, "seed": 0, "fold": 1, "n_clips": 400, "accuracy": 0.5}
    return results.Results(pd.DataFrame([row]), {model: table}, pd.DataFrame(), {model: {"seeds": [0]}})


def as_json(settings):
    return json.loads(json.dumps(dataclasses.asdict(settings))) if settings else {}


# --- what is committed


@pytest.fixture(scope="module")
def runs():
    return results.load_cross_validation()


@pytest.mark.results
def test_every_model_has_results_of_every_fold_and_seed(runs):
    columns = ["model", "seed", "fold", "n_clips", "accuracy", "top3_accuracy", "macro_f1", "train_seconds"]
    assert runs.columns.tolist() == columns
    assert set(runs["model"]) == set(MODELS)
    for experiment in EXPERIMENTS.values():
        for model in experiment.models:
            pairs = runs.loc[runs["model"] == model, ["seed", "fold"]]
            assert sorted(map(tuple, pairs.to_numpy())) == [(s, f) for s in experiment.seeds for f in FOLDS]


@pytest.mark.results
@pytest.mark.parametrize("model", MODELS)
def test_out_of_fold_files_hold_every_clip_once_and_agree_with_the_runs(model, clips, runs):
    """With one seed the two files must say the same, fold by fold; with several the average is a little better."""
    table, rows = results.load_out_of_fold(model), runs[runs["model"] == model]
    assert table.columns.tolist() == ["filename", "fold", "target", *results.PROBABILITY_COLUMNS]
    both = table.merge(clips, on="filename", suffixes=("", "_list"), validate="one_to_one")
    assert len(both) == 2000
    assert (both["fold"] == both["fold_list"]).all() and (both["target"] == both["target_list"]).all()
    assert np.allclose(results.probabilities(table).sum(axis=1), 1, atol=1e-3)
    for fold, part in table.groupby("fold"):
        pooled = metrics.classification_metrics(part["target"].to_numpy(), results.probabilities(part))
        own = rows[rows["fold"] == fold]
        for key in ("accuracy", "macro_f1"):
            assert own[key].mean() == pytest.approx(pooled[key], abs=0.003 if len(own) == 1 else 0.03)


@pytest.mark.results
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_manifest_says_what_the_experiment_says(name):
    manifest, experiment = results.load_manifest(), EXPERIMENTS[name]
    for model in experiment.models:
        made = manifest[model]
        assert made["experiment"] == name and made["command"] == f"esc50 train {name}"
        assert made["seeds"] == list(experiment.seeds)
        assert made["splits"] == [f"fold {fold}" for fold in FOLDS]
        assert made["features"] == list(experiment.features)
        assert made["version"] <= experiment.version
        by_split = {split: as_json(own) for split, own in experiment.settings_by_split.items()}
        for key, expected in {"settings": as_json(experiment.settings), "settings_by_split": by_split}.items():
            assert made.get(key, {}) == expected, f"{model}: {key} changed: run `{made['command']}`"
        assert made["provenance"]


@pytest.mark.results
def test_the_curves_have_every_epoch():
    history = results.load_history()
    for name, experiment in EXPERIMENTS.items():
        if hasattr(experiment.settings, "epochs"):
            rows = history[history["model"] == next(iter(experiment.models))]
            epochs = [experiment.settings_by_split.get(f"fold {k}", experiment.settings).epochs for k in FOLDS]
            assert len(rows) == sum(epochs) * len(experiment.seeds), name


@pytest.mark.results
def test_the_targets_are_met():
    summary = results.summarise(["head_frames", "cnn_vgg"])
    head = summary.loc["head_frames"]
    assert min(head["accuracy"], head["run_accuracy"]) >= 0.88
    assert head["top3_accuracy"] >= 0.962
    assert head["macro_f1"] >= 0.875
    assert summary.loc["cnn_vgg", "accuracy"] >= 0.72


@pytest.mark.results
def test_leaking_protocols_claim_more():
    protocols = protocols_of("head_frames").groupby("protocol")["accuracy"].mean()
    assert set(protocols.index) == set(base.PROTOCOLS)
    assert protocols["duplicated clips, then random"] > protocols["random clips"] > protocols["official folds"]


@pytest.mark.results
def test_results_folder_holds_no_strangers():
    listed = {path.name.removesuffix(".csv.gz") for path in (RESULTS_DIR / "out_of_fold").iterdir()}
    assert listed == set(MODELS)


# --- reading and writing


def test_a_model_without_runs_is_named_with_the_remedy(tmp_path):
    shutil.copytree(RESULTS_DIR, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "cross_validation.csv"
    table = pd.read_csv(path)
    table[table["model"] != "distilled"].to_csv(path, index=False)
    for read in (results.summarise, results.load_results):
        with pytest.raises(ResultsError, match=r"cross_validation\.csv has no results of distilled: restore it"):
            read(["distilled"], folder=tmp_path)
    manifest = results.load_manifest(folder=tmp_path)
    results.write_json({k: v for k, v in manifest.items() if k != "kernel_ridge"}, tmp_path / "manifest.json")
    with pytest.raises(ResultsError, match=r"manifest\.json has no results of kernel_ridge"):
        results.load_results(["kernel_ridge"], folder=tmp_path)


def test_what_is_missing_or_damaged_is_named(tmp_path):
    for load in (results.load_cross_validation, results.load_history, results.load_manifest):
        with pytest.raises(ResultsError, match=r"no results file .*restore it with git or run `make reproduce`"):
            load(folder=tmp_path)
    with pytest.raises(ResultsError, match="make reproduce"):
        results.load_out_of_fold("no_such_model", folder=tmp_path)
    (tmp_path / "timeline.json").write_text("{")
    with pytest.raises(ResultsError, match=r"timeline\.json is damaged"):
        results.read_json(tmp_path / "timeline.json")


def test_saving_keeps_other_models_and_replaces_its_own(clips, tmp_path):
    for name in ("one", "two", "one"):
        results.save_results(made_up(clips, name), folder=tmp_path)
    assert results.load_cross_validation(folder=tmp_path)["model"].tolist() == ["one", "two"]
    assert set(results.load_manifest(folder=tmp_path)) == {"one", "two"}
    assert len(results.load_out_of_fold("one", folder=tmp_path)) == 2000
    assert not [path for path in tmp_path.rglob(".*")]


def test_curves_of_other_models_stay(clips, tmp_path):
    curve = pd.DataFrame({"model": "one", "seed": 0, "fold": 1, "epoch": [1, 2], "loss": [2.0, 1.0]})
    results.save_results(dataclasses.replace(made_up(clips, "one"), history=curve), folder=tmp_path)
    results.save_results(made_up(clips, "two"), folder=tmp_path)
    assert results.load_results(["one"], folder=tmp_path).history["loss"].tolist() == [2.0, 1.0]


def test_a_partial_run_is_not_saved(clips, tmp_path):
    with pytest.raises(ResultsError, match="400 of 2000 clips"):
        results.save_results(made_up(clips, rows=slice(400)), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_compressed_tables_are_the_same_bytes_at_every_call(clips, tmp_path):
    one, two = tmp_path / "one" / "a.csv.gz", tmp_path / "two" / "a.csv.gz"
    for path in (one, two):
        results.write_csv(clips, path)
    assert one.read_bytes() == two.read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    results.write_json({"old": 1}, tmp_path / "x.json")
    with pytest.raises(TypeError):
        results.write_json({"new": object()}, tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text() == '{\n "old": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_the_headline_has_its_protocol():
    summary = {f"{k}{e}": 0.87654 for k in ("accuracy", "top3_accuracy", "macro_f1") for e in ("", "_low", "_high")}
    found = results.headline(summary | {"run_accuracy": 0.9, "n_seeds": 3, "train_seconds": 5})
    assert found["accuracy_low"] == 0.8765 and found["run_accuracy"] == 0.9
    assert "3 seeds averaged" in found["protocol"] and "train_seconds" not in found

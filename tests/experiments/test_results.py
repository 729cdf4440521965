import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from esc50.config import FEATURES_DIR, FOLDS, RESULTS_DIR, ResultsError
from esc50.dataset.feature_files import parameters
from esc50.experiments import ablation, finetune, metrics, results, study
from esc50.reporting import readme

MODELS = [*(model for experiment in study.EXPERIMENTS.values() for model in experiment.models), finetune.MODEL]


@pytest.fixture(scope="module")
def runs():
    return results.load_cross_validation()


def made_up(clips, model="made_up", rows=slice(None)):
    some = clips.iloc[rows]
    table = some[["filename", "fold", "target"]].reset_index(drop=True)
    table = table.join(pd.DataFrame(np.full((len(some), 50), 0.02), columns=results.PROBABILITY_COLUMNS))
    row = {"model": model, "seed": 0, "fold": 1, "n_clips": 400, "accuracy": 0.5}
    return results.Results(pd.DataFrame([row]), {model: table}, pd.DataFrame(), {model: {"seeds": [0]}})


def test_every_model_of_the_study_has_results(runs):
    assert set(runs["model"]) == set(MODELS)
    assert set(readme.MODELS) | set(ablation.ROWS) == set(MODELS)


def test_cross_validation_has_its_columns_and_every_fold_and_seed(runs):
    columns = ["model", "seed", "fold", "n_clips", "accuracy", "top3_accuracy", "macro_f1", "train_seconds"]
    assert runs.columns.tolist() == columns
    for experiment in study.EXPERIMENTS.values():
        for model in experiment.models:
            pairs = runs.loc[runs["model"] == model, ["seed", "fold"]]
            assert sorted(map(tuple, pairs.to_numpy())) == [(s, f) for s in experiment.seeds for f in FOLDS]


@pytest.mark.parametrize("model", MODELS)
def test_out_of_fold_files_hold_every_clip_once(model, clips):
    table = results.load_out_of_fold(model)
    assert table.columns.tolist() == ["filename", "fold", "target", *results.PROBABILITY_COLUMNS]
    both = table.merge(clips, on="filename", suffixes=("", "_list"), validate="one_to_one")
    assert len(both) == 2000
    assert (both["fold"] == both["fold_list"]).all()
    assert (both["target"] == both["target_list"]).all()
    assert np.allclose(results.probabilities(table).sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_cross_validation_agrees_with_out_of_fold(model, runs):
    """With one seed the two files must say the same, fold by fold; with several the average is a little better."""
    table, rows = results.load_out_of_fold(model), runs[runs["model"] == model]
    for fold, part in table.groupby("fold"):
        pooled = metrics.scores(part["target"].to_numpy(), results.probabilities(part))
        own = rows[rows["fold"] == fold]
        tolerance = 0.003 if len(own) == 1 else 0.03
        assert own["accuracy"].mean() == pytest.approx(pooled["accuracy"], abs=tolerance)
        assert own["macro_f1"].mean() == pytest.approx(pooled["macro_f1"], abs=tolerance)


def made_from(features):
    """What the manifest must say of the features; the digest where the files are here."""
    names = (features,) if isinstance(features, str) else features
    if all((FEATURES_DIR / f"{name}.npz").is_file() for name in names):
        return study._feature_record(features)
    return {"features": features, "feature_parameters": [parameters(name) for name in names]}


@pytest.mark.parametrize("name", study.EXPERIMENTS)
def test_results_carry_what_made_them(name):
    manifest, experiment = results.load_manifest(), study.EXPERIMENTS[name]
    expected = {"settings": dataclasses.asdict(experiment.settings) if experiment.settings else {}}
    expected = json.loads(json.dumps(expected | made_from(experiment.features)))
    for model in experiment.models:
        made = manifest[model]
        assert made["seeds"] == list(experiment.seeds)
        assert made["splits"] == [f"fold {fold}" for fold in FOLDS]
        for key in expected:
            assert made[key] == expected[key], f"{model}: {key} changed: run `{made['command']}`"
        by_split = {split: json.loads(json.dumps(dataclasses.asdict(s))) for split, s in experiment.by_split.items()}
        assert made.get("settings_by_split", {}) == by_split
        assert pd.Series(made["code_version"]).str.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{12}").all()
        assert made["command"].endswith(name)
        assert {"keras", "tensorflow", "numpy"} <= set(made["machine"]["libraries"])


def test_a_model_without_runs_is_named_with_the_remedy(tmp_path):
    shutil.copytree(RESULTS_DIR, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "cross_validation.csv"
    table = pd.read_csv(path)
    table[table["model"] != "distilled"].to_csv(path, index=False)
    for read in (results.summarise, results.load_results):
        with pytest.raises(ResultsError, match=r"cross_validation\.csv has nothing of distilled: restore it"):
            read(["distilled"], folder=tmp_path)
    manifest = results.load_manifest(folder=tmp_path)
    results.write_json({k: v for k, v in manifest.items() if k != "kernel"}, tmp_path / "manifest.json")
    with pytest.raises(ResultsError, match=r"manifest\.json has nothing of kernel"):
        results.load_results(["kernel"], folder=tmp_path)


def test_json_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"no results file .*timeline\.json: restore it with git"):
        results.read_json(tmp_path / "timeline.json")
    (tmp_path / "timeline.json").write_text("{")
    with pytest.raises(ResultsError, match=r"timeline\.json is damaged"):
        results.read_json(tmp_path / "timeline.json")


def test_fine_tuning_carries_what_made_it(runs):
    made, settings = results.load_manifest()[finetune.MODEL], finetune.SETTINGS
    assert made["settings"] == json.loads(json.dumps(dataclasses.asdict(settings)))
    assert set(made["seeds"]) >= set(finetune.SEEDS)
    assert made["command"] == finetune.COMMAND
    pairs = runs.loc[runs["model"] == finetune.MODEL, ["seed", "fold"]]
    assert sorted(map(tuple, pairs.to_numpy())) == [(s, f) for s in made["seeds"] for f in FOLDS]
    history = results.load_history()
    assert (history["model"] == finetune.MODEL).sum() == settings.epochs * 5 * len(made["seeds"])


def test_the_targets_are_met():
    summary = results.summarise(["head_frames", "cnn_vgg"])
    head = summary.loc["head_frames"]
    assert min(head["accuracy"], head["run_accuracy"]) >= 0.88
    assert head["top3_accuracy"] >= 0.962
    assert head["macro_f1"] >= 0.875
    assert summary.loc["cnn_vgg", "accuracy"] >= 0.72


def test_the_curves_have_every_epoch():
    history = results.load_history()
    for name, experiment in study.EXPERIMENTS.items():
        if hasattr(experiment.settings, "epochs"):
            rows = history[history["model"] == experiment.models[0]]
            epochs = [experiment.by_split.get(f"fold {fold}", experiment.settings).epochs for fold in FOLDS]
            assert len(rows) == sum(epochs) * len(experiment.seeds), name


def test_leaking_protocols_claim_more():
    protocols = study.protocols_of("head_frames").groupby("protocol")["accuracy"].mean()
    assert set(protocols.index) == set(study.PROTOCOLS)
    assert protocols["duplicated clips, then random"] > protocols["random clips"] > protocols["official folds"]


def test_saving_keeps_other_models_and_replaces_its_own(clips, tmp_path):
    results.save_results(made_up(clips, "one"), folder=tmp_path)
    results.save_results(made_up(clips, "two"), folder=tmp_path)
    results.save_results(made_up(clips, "one"), folder=tmp_path)
    assert results.load_cross_validation(folder=tmp_path)["model"].tolist() == ["one", "two"]
    assert set(results.load_manifest(folder=tmp_path)) == {"one", "two"}
    assert len(results.load_out_of_fold("one", folder=tmp_path)) == 2000
    assert not [path for path in tmp_path.rglob(".*")]


def test_a_partial_run_is_not_saved(clips, tmp_path):
    with pytest.raises(ResultsError, match="400 of 2000 clips"):
        results.save_results(made_up(clips, rows=slice(400)), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_results_name_the_command(tmp_path):
    for load in (results.load_cross_validation, results.load_history, results.load_manifest):
        with pytest.raises(ResultsError, match="make reproduce"):
            load(folder=tmp_path)


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


def test_results_folder_holds_no_strangers():
    known = {
        "cross_validation.csv",
        "history.csv.gz",
        "manifest.json",
        "protocols.csv",
        "selection.csv",
        "selection_layers.csv",
        "selection_kernel.csv",
    }
    known |= {"trust.json", "trust_neighbours.csv", "trust_sounds.csv.gz", "trust_summary.csv", "timeline.json"}
    known |= {"attention.csv.gz", "trust_layers.json", "trust_layers_sounds.csv.gz", "trust_layers_summary.csv"}
    known |= {"benchmark_embedding.json", "app_load.json"}
    assert {path.name for path in RESULTS_DIR.iterdir() if path.is_file()} == known
    assert {path.name.removesuffix(".csv.gz") for path in (RESULTS_DIR / "out_of_fold").iterdir()} == set(MODELS)

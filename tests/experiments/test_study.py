from dataclasses import replace

import numpy as np
import pytest

from esc50 import dataset
from esc50.config import FeatureError, HeadSettings, ResultsError
from esc50.dataset import feature_files
from esc50.experiments import results, run_cache, study
from esc50.experiments.training import Run, Trained


@pytest.fixture(autouse=True)
def _nothing_kept():
    """What one test lets experiments read must not reach another."""
    study.inputs_of.cache_clear()
    yield
    study.inputs_of.cache_clear()


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """An experiment that takes no time; counts its calls, and stops at the fourth when told to."""
    calls = []

    def fit(inputs, targets, split, *, settings, seed, progress):
        calls.append((seed, split.name))
        if len(calls) == fit.stop_at:
            raise KeyboardInterrupt
        scores = np.eye(50, dtype=np.float32)[(targets[split.test] + seed) % 50]
        return Run({"made_up": scores}, {"loss": [1.0, 0.5], "val_accuracy": [0.1, 0.2]}, 0.5)

    fit.stop_at = None
    experiment = study.Experiment("log_mel", lambda a: a["log_mel"], fit, ("made_up",), HeadSettings(), (0, 1))
    monkeypatch.setitem(study.EXPERIMENTS, "made_up", experiment)
    monkeypatch.setattr(run_cache, "RUNS_DIR", tmp_path / "runs")
    monkeypatch.setattr(study, "load_features", lambda name: {"log_mel": np.zeros((2000, 1))})
    return fit, calls


def run(**kwargs):
    return study.run_experiment("made_up", progress=False, **kwargs)


def test_every_seed_and_fold_is_run_once(counted):
    found = run()
    assert sorted(counted[1]) == [(seed, f"fold {fold}") for seed in (0, 1) for fold in range(1, 6)]
    assert len(found.cross_validation) == 10
    assert found.cross_validation.groupby("seed")["accuracy"].mean().tolist() == [1.0, 0.0]
    assert len(found.history) == 20
    assert {"loss", "held_out_accuracy", "epoch"} <= set(found.history.columns)


def test_out_of_fold_is_the_mean_over_seeds(counted, clips):
    table = run().out_of_fold["made_up"]
    assert table["filename"].nunique() == 2000
    scores = results.probabilities(table)
    assert np.allclose(scores[np.arange(2000), table["target"]], 0.5)


def test_an_interrupted_run_goes_on_where_it_was(counted):
    fit, calls = counted
    fit.stop_at = 4
    with pytest.raises(KeyboardInterrupt):
        run()
    fit.stop_at = None
    run()
    assert len(calls) == 4 + 7  # three finished runs are not repeated


def test_other_settings_do_not_use_old_runs(counted):
    run(folds=[1])
    run(folds=[1], settings=replace(HeadSettings(), epochs=1))
    assert len(counted[1]) == 4


def test_each_split_is_trained_with_the_settings_chosen_for_it(counted, monkeypatch, clips):
    other = replace(HeadSettings(), epochs=1)
    experiment = replace(study.EXPERIMENTS["made_up"], by_split={"fold 2": other})
    folds = dataset.official_splits(clips)
    assert [study.settings_for(experiment, split).epochs for split in folds[:2]] == [HeadSettings().epochs, 1]
    given = replace(HeadSettings(), epochs=7)
    assert study.settings_for(experiment, folds[1], settings=given) == given
    monkeypatch.setitem(study.EXPERIMENTS, "made_up", experiment)
    assert run().manifest["made_up"]["settings_by_split"]["fold 2"]["epochs"] == 1
    assert "settings_by_split" not in run(settings=given).manifest["made_up"]


def test_finished_runs_are_read_back_as_they_were(counted):
    one, two = run(folds=[2]), run(folds=[2])
    assert one.cross_validation.equals(two.cross_validation)
    assert one.out_of_fold["made_up"].equals(two.out_of_fold["made_up"])
    assert one.history.reset_index(drop=True).equals(two.history.reset_index(drop=True))


def test_only_a_whole_run_is_saved(counted, monkeypatch):
    saved = []
    monkeypatch.setattr(study, "save_results", saved.append)
    monkeypatch.setattr(study, "load_results", lambda models: models)
    study.results_of("made_up", retrain=True, folds=[1], progress=False)
    study.results_of("made_up", retrain=True, seeds=[0], progress=False)
    study.results_of("made_up", retrain=True, settings=replace(HeadSettings(), epochs=1), progress=False)
    assert not saved
    assert study.results_of("made_up", retrain=True, progress=False) == ("made_up",)
    assert len(saved) == 1


def test_without_retraining_the_committed_results_are_read():
    found = study.results_of("head_frames")
    assert set(found.out_of_fold) == set(study.FRAME_POOLINGS)
    assert found.cross_validation["model"].nunique() == len(study.FRAME_POOLINGS)


def test_other_protocols_are_run_as_named(counted, clips):
    splits = dataset.duplicated_clip_splits(clips, seed=0)
    assert run(splits=splits, seeds=[0]).cross_validation["n_clips"].sum() == 4000


def test_every_frame_of_a_clip_is_trained_with_the_label_of_the_clip(monkeypatch, rng):
    trained = []

    def train(model, frames, labels, **options):
        trained.append((model.get_weights()[-2], frames, labels))
        return Trained(model, {}, 0.0)

    monkeypatch.setattr(study, "train", train)
    embeddings = rng.random((3, 4, 1024))  # (n_clips, n_frames, 1024)
    for _ in range(2):
        study.train_head_on(embeddings, np.array([7, 0, 49]), settings=HeadSettings(units=(8,)), seed=3)
    (weights, frames, labels), (again, *_) = trained
    assert labels.tolist() == [7] * 4 + [0] * 4 + [49] * 4
    np.testing.assert_array_equal(frames[4:8], embeddings[1])
    np.testing.assert_array_equal(weights, again)  # the seed is set before the weights are drawn


def test_every_experiment_names_known_features():
    from esc50.dataset.feature_files import PARAMETERS

    for experiment in study.EXPERIMENTS.values():
        names = experiment.features if isinstance(experiment.features, tuple) else (experiment.features,)
        assert set(names) <= set(PARAMETERS)


def test_missing_features_are_an_error_that_names_the_command(monkeypatch, tmp_path):
    from esc50.experiments import study

    def load(name):
        return feature_files.load_features(name, folder=tmp_path)

    monkeypatch.setattr(study, "load_features", load)
    with pytest.raises(FeatureError, match="make features"):
        study.run_experiment("mfcc_knn", progress=False)


def test_unknown_results_are_an_error(tmp_path):
    with pytest.raises(ResultsError, match="make reproduce"):
        results.load_out_of_fold("no_such_model", folder=tmp_path)

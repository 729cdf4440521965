"""Fine-tuning on a tiny problem: a run that was stopped ends with the same numbers; every layer learns at its rate."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from esc50 import dataset
from esc50.apps.cli import cli
from esc50.config import N_CLASSES, DistillationSettings, FinetuneSettings
from esc50.dataset.splits import Split
from esc50.experiments import finetune, finetune_data, finetune_network, results, run_cache, study
from esc50.experiments.training import Run
from esc50.yamnet import hub_module

pytestmark = pytest.mark.yamnet

TINY = FinetuneSettings(
    layers=(13, 14),
    head=DistillationSettings(units=(8,), epochs=1, batch_size=8, warmup_epochs=0),
    epochs=2,
    clips_per_batch=4,
    patches_per_clip=2,
    first_trained_layer=14,
)


@pytest.fixture(scope="module")
def weights():
    return hub_module.load_yamnet().weights()


@pytest.fixture(scope="module")
def task():
    """Twelve clips of noise: eight to train on, four to test on, three patches each."""
    rng = np.random.default_rng(2015)
    log_mels = np.log(0.001 + rng.exponential(0.05, size=(12, 200, 64))).astype(np.float32)
    active = np.array([[True, True, False]] * 12)
    versions = tuple(rng.exponential(size=(12, 2048)).astype(np.float32) for _ in range(4))
    split = Split("fold 1", np.arange(8), np.arange(8, 12))
    return finetune.Task(log_mels, versions, np.arange(12) % 4, active, split)


@pytest.fixture(scope="module")
def finished(task, weights, tmp_path_factory):
    """A run that nothing interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("finished")
    return finetune.finetune(task, weights, folder=folder, settings=TINY, seed=3), folder


@pytest.fixture(scope="module")
def stepped(weights):
    """Rates, weights of each variable before and after one step at the peak rates, and the averages then."""
    settings = FinetuneSettings(warmup_epochs=0, weight_decay=0.0)
    learner = finetune_network.build_learner(weights, n_clips=32, settings=settings)
    learner.start_average()
    before = values_of(learner.network)
    rates = finetune_network.learning_rates(learner.network, settings=settings)
    patches = np.random.default_rng(2015).normal(-3, 1, size=(2, 3, 96, 64)).astype(np.float32)
    labels, share = np.eye(N_CLASSES, dtype=np.float32)[:2], np.array([[0.7], [1.0]], np.float32)
    finetune_network.make_step(learner, settings=settings)(patches, np.array([1, 0]), share, labels)
    return settings, rates, before, values_of(learner.network), values_of(learner.averaged)


def values_of(network):
    return {variable.path: variable.numpy() for variable in network.weights}


def arrays_of(folder):
    with np.load(folder / "checkpoint.npz") as file:
        return {key: file[key] for key in file if key != "rows"}


def stop_at(monkeypatch, call):
    """Interrupt fine-tuning when it draws its batch of this number."""
    calls = []

    def draw_patches(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return finetune_data.draw_patches(*arguments, **options)

    monkeypatch.setattr(finetune, "draw_patches", draw_patches)
    return calls


def test_a_run_that_was_stopped_ends_with_the_numbers_of_one_that_was_not(
    finished, task, weights, tmp_path, monkeypatch
):
    expected, folder = finished
    stop_at(monkeypatch, 4)  # in the middle of the second epoch
    with pytest.raises(KeyboardInterrupt):
        finetune.finetune(task, weights, folder=tmp_path, settings=TINY, seed=3)
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].tolist() == [0, 1]
    calls = stop_at(monkeypatch, None)
    run = finetune.finetune(task, weights, folder=tmp_path, settings=TINY, seed=3)
    assert len(calls) == 2  # the epoch that was not finished, and no other
    assert run.history == expected.history
    np.testing.assert_array_equal(run.scores["finetuned"], expected.scores["finetuned"])
    whole, resumed = arrays_of(folder), arrays_of(tmp_path)
    assert set(whole) == set(resumed)
    for key, values in whole.items():
        np.testing.assert_array_equal(values, resumed[key])


def test_scores_history_and_csv_of_a_run(finished):
    run, folder = finished
    scores = run.scores["finetuned"]
    assert scores.shape == (4, N_CLASSES)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert set(run.history) == set(finetune.CURVES)
    assert {len(values) for values in run.history.values()} == {TINY.epochs}
    table = pd.read_csv(folder / "history.csv")
    assert table["epoch"].tolist() == [0, 1, 2]  # 0: the head alone
    assert run.train_seconds == pytest.approx(table["seconds"].sum(), abs=1e-4)


def test_test_clips_do_not_touch_the_training(finished, task, weights, tmp_path):
    log_mels, targets = task.log_mels.copy(), task.targets.copy()
    log_mels[task.split.test] -= 1
    targets[task.split.test] += 1
    other = replace(task, log_mels=log_mels, targets=targets)
    run = finetune.finetune(other, weights, folder=tmp_path, settings=TINY, seed=3)
    assert run.history["loss"] == finished[0].history["loss"]
    assert run.history["held_out_loss"] != finished[0].history["held_out_loss"]


def test_normalisation_and_early_layers_stay_as_audioset_left_them(finished, task, weights):
    learner = finetune_network.build_learner(weights, n_clips=8, settings=TINY)
    fresh = values_of(learner.network.get_layer("backbone"))
    learner.restore(finished[1] / "checkpoint.npz")
    taught = np.concatenate([version[task.split.train] for version in task.versions[:3]])
    for network in (learner.network, learner.averaged):
        trained = values_of(network.get_layer("backbone"))
        changed = {path for path, values in trained.items() if not np.array_equal(values, fresh[path])}
        assert changed == {"layer14.depthwise_conv/kernel", "layer14.pointwise_conv/kernel"}
        standardise = network.get_layer("head").get_layer("standardise")
        np.testing.assert_allclose(np.squeeze(standardise.mean), taught.mean(axis=0), atol=1e-4)


def test_each_kernel_learns_at_its_own_rate(stepped):
    settings, rates, before, after, _ = stepped
    kernel = before["layer14.depthwise_conv/kernel"]
    assert rates["layer14.depthwise_conv"] == pytest.approx(settings.relative_rate * np.sqrt(np.mean(kernel**2)))
    assert len(rates) == 1 + 2 * 12  # the head, and layers 3 to 14
    for path, values in before.items():
        rate = rates.get(path.split("/")[0], 0.0) if path.startswith("layer") else settings.head_learning_rate
        is_trained = "bn" not in path and "standardise" not in path
        moved = np.abs(after[path] - values).max()  # Adam's first step is as long as the rate
        assert moved == pytest.approx(rate * is_trained, rel=0.02, abs=1e-9), path


def test_averages_follow_slowly(stepped):
    settings, _, before, after, averaged = stepped
    path = "layer14.pointwise_conv/kernel"
    expected = before[path] + (1 - settings.ema_decay) * (after[path] - before[path])
    np.testing.assert_allclose(averaged[path], expected, rtol=0, atol=1e-7)
    assert not np.array_equal(averaged[path], after[path])


def test_maxima_leave_silent_patches_out(weights):
    learner = finetune_network.build_learner(weights, n_clips=8, settings=FinetuneSettings())
    body = learner.network.get_layer("backbone")
    sound = np.random.default_rng(1).normal(-3, 1, size=(1, 2, 96, 64)).astype(np.float32)
    silence = np.full((1, 1, 96, 64), np.log(0.001), np.float32)
    alone, beside = (finetune_network._clip_maxima(body, p).numpy() for p in (sound, np.append(sound, silence, axis=1)))
    np.testing.assert_allclose(beside, alone, atol=1e-5)
    assert np.abs(finetune_network._clip_maxima(body, silence).numpy() - alone).max() > 0.1


def test_blends_are_labelled_by_the_teacher_and_by_their_clips(task):
    share = np.array([[0.6], [1.0]], np.float32)
    own = finetune._labeller(task, replace(TINY, taught=0.0))(np.array([0, 1]), np.array([1, 2]), share)
    np.testing.assert_allclose(own[0, :3], [0.6, 0.4, 0], atol=1e-6)
    np.testing.assert_allclose(own[1, :3], [0, 1, 0], atol=1e-6)
    half = finetune._labeller(task, TINY)(np.array([0, 1]), np.array([1, 2]), share)
    np.testing.assert_allclose(half.sum(axis=1), 1, atol=1e-5)
    assert 0.01 < np.abs(half - own).max() <= 0.5


def test_patches_are_the_clip_from_another_start():
    clip = np.repeat(np.arange(528, dtype=np.float32)[:, None], 64, axis=1)[None]  # (1, 528, 64), each its number
    patches = finetune_data.draw_patches(clip, np.random.default_rng(1), settings=FinetuneSettings())
    windows = patches.reshape(-1, 64)[:, 0]
    assert patches.shape == (1, 5, 96, 64)
    assert windows[0] != 0
    np.testing.assert_array_equal(windows, (windows[0] + np.arange(480)) % 528)


def test_log_mels_are_made_once(tmp_path, rng, monkeypatch):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path in paths:
        soundfile.write(path, rng.uniform(-0.5, 0.5, 80_000), 16_000)
    log_mels = finetune_data.log_mels_of(paths, folder=tmp_path / "kept", progress=False)
    assert log_mels.shape == (2, 528, 64) and log_mels.dtype == np.float32
    monkeypatch.setattr(finetune_data, "_compute", lambda paths, progress: log_mels + 1)
    again = finetune_data.log_mels_of(paths, folder=tmp_path / "kept", progress=False)
    np.testing.assert_array_equal(again, log_mels)
    soundfile.write(paths[1], np.zeros(40_000), 16_000)
    other = finetune_data.log_mels_of(paths, folder=tmp_path / "kept", progress=False)
    np.testing.assert_array_equal(other, log_mels + 1)


def test_no_recordings_are_an_error_that_names_the_command(monkeypatch, tmp_path):
    monkeypatch.delenv(dataset.DATASET_VARIABLE, raising=False)
    monkeypatch.setattr(dataset, "SEARCH_FOLDERS", (tmp_path,))
    result = CliRunner().invoke(cli, ["finetune", "--folds", "1"])
    assert result.exit_code == 1
    assert "no ESC-50 audio" in result.output and "make data" in result.output


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Fine-tuning that takes no time, and counts its runs."""
    calls = []

    def fit(task, weights, *, folder, settings, seed, progress):
        calls.append((seed, task.split.name, folder.name))
        finetune.logger.info("trained %s", task.split.name)
        scores = np.eye(N_CLASSES, dtype=np.float32)[task.targets[task.split.test]]
        return Run({finetune.MODEL: scores}, {name: [0.5, 0.25] for name in finetune.CURVES}, 1.5)

    monkeypatch.setattr(finetune, "finetune", fit)
    monkeypatch.setattr(finetune, "load_log_mels", lambda **_: np.zeros((2000, 1, 1), np.float32))
    monkeypatch.setattr(study, "inputs_of", lambda name: (np.zeros((2000, 1), np.float32),))
    monkeypatch.setattr(finetune, "load_yamnet", lambda: SimpleNamespace(weights=dict))
    monkeypatch.setattr(finetune, "FOLDER", tmp_path / "finetune")
    monkeypatch.setattr(run_cache, "RUNS_DIR", tmp_path / "runs")
    return calls


def test_a_whole_run_with_one_seed_can_be_saved_beside_other_models(quick, tmp_path):
    found = finetune.run_finetuning(seeds=[0], progress=False)
    assert [split for _, split, _ in quick] == [f"fold {fold}" for fold in range(1, 6)]
    checkpoint = tmp_path / "finetune" / quick[0][2] / finetune.CHECKPOINT
    checkpoint.parent.mkdir()
    checkpoint.touch()
    finetune.run_finetuning(seeds=[0], progress=False)
    assert len(quick) == 5  # finished runs are read back
    assert not checkpoint.exists()  # nothing goes on from there
    assert "trained fold 5" in (tmp_path / "finetune" / "finetune.log").read_text()
    results.save_results(found, folder=tmp_path / "results")
    saved = results.load_results([finetune.MODEL], folder=tmp_path / "results")
    assert saved.cross_validation["accuracy"].tolist() == [1.0] * 5
    assert set(saved.history.columns) == set(results.load_history().columns)
    assert len(saved.history) == 10
    assert saved.manifest[finetune.MODEL]["command"] == "python -m esc50 finetune"
    assert set(saved.manifest[finetune.MODEL]) >= set(results.load_manifest()["cnn_vgg"])
    assert results.summarise([finetune.MODEL], folder=tmp_path / "results").loc[finetune.MODEL, "n_seeds"] == 1


def test_what_decides_a_run_decides_where_it_is_kept():
    """Other versions of the clips, from which the head is distilled, and other code make another run."""
    log_mels, active = np.zeros((3, 2, 4), np.float32), np.ones((3, 2), bool)
    versions = np.zeros((3, 5), np.float32), np.ones((3, 5), np.float32)
    one, again = (finetune._record(log_mels, versions, active, finetune.SETTINGS) for _ in range(2))
    other = finetune._record(log_mels, versions[::-1], active, finetune.SETTINGS)
    assert one == again
    assert one["feature_sha256"] != other["feature_sha256"]
    assert {"fusion", "kernel", "distil", "layers", "finetune_network"} <= {*finetune.CODE}


def test_other_settings_and_seeds_have_folders_of_their_own(quick):
    for settings in (FinetuneSettings(), FinetuneSettings(epochs=1)):
        finetune.run_finetuning(folds=[2], seeds=[0, 1], settings=settings, progress=False)
    assert len({folder for _, _, folder in quick}) == 4


def test_the_command_takes_several_folds_and_saves_only_whole_runs(quick, monkeypatch):
    saved = []
    monkeypatch.setattr(results, "save_results", saved.append)
    result = CliRunner().invoke(cli, ["finetune", "--folds", "3", "1", "--seeds", "0", "1", "--epochs", "2"])
    assert result.exit_code == 0, result.output
    assert [(seed, split) for seed, split, _ in quick] == [(s, f"fold {f}") for s in (0, 1) for f in (1, 3)]
    assert "accuracy 100.00 %" in result.output and "partial" in result.output
    assert not saved
    assert CliRunner().invoke(cli, ["finetune"]).exit_code == 0
    assert len(saved) == 1
    assert CliRunner().invoke(cli, ["finetune", "--folds"]).exit_code == 2

from dataclasses import replace

import numpy as np
import pytest

from esc50.classifier import pooling
from esc50.config import CnnSettings, HeadSettings
from esc50.dataset.splits import Split
from esc50.experiments import training

QUICK_HEAD = replace(HeadSettings(), epochs=3, batch_size=32)
QUICK_CNN = replace(CnnSettings(), epochs=1, warmup_epochs=0, batch_size=8)


@pytest.fixture
def frames(rng):
    """Eighty clips of four frames; the class shows in which of the numbers is large."""
    targets = np.arange(80) % 10
    inputs = rng.normal(size=(80, 4, 64)).astype(np.float32)
    inputs[np.arange(80), :, targets] += 6
    return inputs, targets, Split("fold 1", np.arange(60), np.arange(60, 80))


def fit(frames, seed):
    poolings = {"mean": pooling.POOLINGS["mean"], "max": pooling.POOLINGS["max"]}
    return training.fit_head(poolings, *frames, settings=QUICK_HEAD, seed=seed)


def test_a_head_learns_and_scores_every_pooling(frames):
    run = fit(frames, seed=0)
    assert set(run.scores) == {"mean", "max"}
    assert run.scores["mean"].shape == (20, 50)
    assert run.history["loss"][-1] < run.history["loss"][0]
    assert run.train_seconds > 0


def test_the_same_seed_gives_the_same_numbers(frames):
    one, two, other = fit(frames, 0), fit(frames, 0), fit(frames, 1)
    assert np.array_equal(one.scores["mean"], two.scores["mean"])
    assert one.history == two.history
    assert not np.array_equal(one.scores["mean"], other.scores["mean"])


def test_test_clips_do_not_touch_the_training(frames):
    inputs, targets, split = frames
    changed = inputs.copy()
    changed[split.test] += 1
    one, two = fit(frames, 0), fit((changed, targets, split), 0)
    assert one.history["loss"] == two.history["loss"]


def test_every_epoch_is_trained_whatever_the_held_out_curve_does(frames):
    run = fit(frames, seed=0)
    assert {len(values) for values in run.history.values()} == {QUICK_HEAD.epochs}
    assert set(run.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_the_same_seed_gives_the_same_cnn(rng):
    inputs, targets = rng.uniform(-70, 0, size=(24, 40, 64)).astype(np.float32), np.arange(24) % 3
    split = Split("fold 1", np.arange(16), np.arange(16, 24))
    one, two = (training.fit_cnn("cnn_separable", inputs, targets, split, settings=QUICK_CNN, seed=3) for _ in range(2))
    assert np.array_equal(one.scores["cnn_separable"], two.scores["cnn_separable"])


def test_classical_scores_are_probabilities(rng):
    targets = np.arange(200) % 50
    inputs = np.eye(50)[targets] * 3 + rng.normal(scale=0.1, size=(200, 50))
    split = Split("fold 1", np.arange(150), np.arange(150, 200))
    for name in ("mfcc_svm", "mfcc_knn"):
        scores = training.fit_classical(name, inputs, targets, split).scores[name]
        assert scores.shape == (50, 50)
        assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
        assert (scores.argmax(axis=1) == targets[split.test]).mean() > 0.9

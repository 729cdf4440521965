"""Kernel ridge regression on maxima: against scikit-learn and by hand on made-up clips."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.kernel_ridge import KernelRidge

from esc50.config import KernelSettings
from esc50.dataset.splits import Split
from esc50.experiments import kernel_ridge
from esc50.experiments.multilayer import Heard

N_CLIPS, N_FRAMES, SIZE = 40, 5, 12
TARGETS = np.arange(N_CLIPS) % 4
SPLIT = Split("made up", np.arange(30), np.arange(30, N_CLIPS))


@pytest.fixture
def clips(rng):
    frames = rng.exponential(size=(N_CLIPS, N_FRAMES, SIZE))
    frames[np.arange(N_CLIPS), 2, TARGETS] += 4
    active = np.ones((N_CLIPS, N_FRAMES), bool)
    active[:, 4] = False
    frames[:, 4] = 100  # what is not heard must not count
    return Heard(frames.astype(np.float16), active)


@pytest.fixture
def vectors(clips):
    return kernel_ridge.clip_maxima(clips)


def test_maxima_and_means_are_those_of_the_frames_that_count(clips):
    frames = clips.frames[:, :4].astype(np.float32)
    np.testing.assert_array_equal(kernel_ridge.clip_maxima(clips), frames.max(axis=1))
    np.testing.assert_allclose(kernel_ridge.clip_means(clips), frames.mean(axis=1), rtol=1e-5)


def test_partial_maxima_are_maxima_of_some_of_them(clips, rng):
    whole, frames = kernel_ridge.clip_maxima(clips), clips.frames[:, :4].astype(np.float32)
    draws = np.stack([kernel_ridge.partial_maxima(clips, rng) for _ in range(60)])  # (draws, n_clips, size)
    assert (draws <= whole).all()
    equal = (draws == whole).all(axis=2)  # (draws, n_clips)
    assert 0.15 < equal.mean() < 0.5  # a quarter draws all four frames; fewer may hold the maxima too
    single = (draws[:, :, np.newaxis] == frames).all(axis=3).any(axis=2)
    assert 0.15 < single.mean() < 0.5  # a quarter draws one frame alone
    assert (draws >= frames.min(axis=1)).all()


def test_it_is_scikit_learns_regression(vectors):
    train, test = vectors[:30], vectors[30:]
    machine = kernel_ridge.KernelMachine([train], TARGETS[:30], settings=KernelSettings(gamma=0.5, ridge=0.1))
    scaled, asked = (
        (part - train.mean(axis=0)) / (train.std(axis=0) + kernel_ridge.MIN_DEVIATION) for part in (train, test)
    )
    squared = ((scaled[:, np.newaxis] - scaled) ** 2).sum(axis=2)
    own = KernelRidge(kernel="rbf", gamma=0.5 / np.median(squared), alpha=0.1)
    expected = own.fit(scaled, np.eye(50)[TARGETS[:30]] - 0.02).predict(asked) + 0.02
    np.testing.assert_allclose(machine.outputs(test), expected, atol=1e-4)


def test_products_that_are_known_change_nothing(vectors):
    machine = kernel_ridge.KernelMachine([vectors[:30], 1.1 * vectors[:30]], TARGETS[:30])
    share = np.array([[0.3], [1.0], [0.5]], np.float32)
    blend = share * vectors[[31, 32, 33]] + (1 - share) * vectors[[34, 35, 36]]
    products = machine.products_with(vectors)
    known = share * products[[31, 32, 33]] + (1 - share) * products[[34, 35, 36]]
    np.testing.assert_allclose(machine.outputs(blend, products=known), machine.outputs(blend), atol=1e-4)


def test_probabilities_are_a_softmax_that_keeps_the_order(vectors):
    machine = kernel_ridge.KernelMachine([vectors[:30]], TARGETS[:30], settings=KernelSettings(sharpness=7.0))
    outputs = machine.outputs(vectors[30:])
    np.testing.assert_allclose(machine.probabilities(outputs), softmax(7 * outputs, axis=1), atol=1e-6)


def test_it_learns_and_averages_over_versions(vectors):
    versions = vectors, 1.05 * vectors, 0.95 * vectors
    readings = {"one": (0,), "three": (0, 1, 2)}
    run = kernel_ridge.fit_kernel(readings, versions, TARGETS, SPLIT, trained_on=(0, 1, 2))
    for scores in run.scores.values():
        assert scores.shape == (10, 50)
        assert (scores.argmax(axis=1) == TARGETS[30:]).mean() >= 0.8
    assert not np.allclose(run.scores["one"], run.scores["three"])
    assert run.history == {}


def test_there_is_no_chance_in_it(vectors):
    one, two = (
        kernel_ridge.fit_kernel({"m": (0,)}, (vectors,), TARGETS, SPLIT, seed=seed).scores["m"] for seed in (0, 1)
    )
    np.testing.assert_array_equal(one, two)


def test_other_settings_give_other_answers(vectors):
    settings = KernelSettings()
    other = replace(settings, gamma=2 * settings.gamma)
    one, two = (
        kernel_ridge.KernelMachine([vectors[:30]], TARGETS[:30], settings=s).outputs(vectors[30:])
        for s in (settings, other)
    )
    assert np.abs(one - two).max() > 1e-3

"""Kernel ridge regression on maxima: against scikit-learn and by hand on made-up clips."""

from dataclasses import replace

import numpy as np
import pytest
import sklearn.kernel_ridge
from scipy.special import softmax

from esc50.experiments import kernel_ridge
from esc50.experiments.kernel_ridge import KernelRidge, KernelRidgeSettings
from esc50.experiments.multilayer import LayerFeatures
from esc50.experiments.networks import MIN_DEVIATION

N_CLIPS, N_FRAMES, SIZE = 40, 5, 12
TARGETS = np.arange(N_CLIPS) % 4


@pytest.fixture
def clips(rng):
    frames = rng.exponential(size=(N_CLIPS, N_FRAMES, SIZE))
    frames[np.arange(N_CLIPS), 2, TARGETS] += 4
    active = np.ones((N_CLIPS, N_FRAMES), bool)
    active[:, 4] = False
    frames[:, 4] = 100  # what is silent must not count
    return LayerFeatures(frames.astype(np.float16), active)


@pytest.fixture
def vectors(clips):
    return kernel_ridge.maxima(clips)


def fit(name, views, settings=kernel_ridge.SETTINGS, seed=0):
    fitted = kernel_ridge.fit(name, [view[:30] for view in views], TARGETS[:30], settings=settings, seed=seed)
    return fitted.predict([view[30:] for view in views])[name]


def test_maxima_and_means_are_those_of_the_active_frames(clips):
    frames = clips.frames[:, :4].astype(np.float32)
    np.testing.assert_array_equal(kernel_ridge.maxima(clips), frames.max(axis=1))
    np.testing.assert_allclose(kernel_ridge.means(clips), frames.mean(axis=1), rtol=1e-5)


def test_partial_maxima_are_maxima_of_some_of_them(clips, rng):
    whole, frames = kernel_ridge.maxima(clips), clips.frames[:, :4].astype(np.float32)
    draws = np.stack([kernel_ridge.partial_maxima(clips, rng) for _ in range(60)])  # (draws, n_clips, size)
    assert (draws <= whole).all()
    equal = (draws == whole).all(axis=2)  # (draws, n_clips)
    assert 0.15 < equal.mean() < 0.5  # a quarter draws all four frames; fewer may hold the maxima too
    single = (draws[:, :, np.newaxis] == frames).all(axis=3).any(axis=2)
    assert 0.15 < single.mean() < 0.5  # a quarter draws one frame alone
    assert (draws >= frames.min(axis=1)).all()


def test_it_is_scikit_learns_regression(vectors):
    train, test = vectors[:30], vectors[30:]
    ours = KernelRidge([train], TARGETS[:30], settings=KernelRidgeSettings(gamma=0.5, ridge=0.1))
    scaled, asked = ((part - train.mean(axis=0)) / (train.std(axis=0) + MIN_DEVIATION) for part in (train, test))
    squared = ((scaled[:, np.newaxis] - scaled) ** 2).sum(axis=2)
    theirs = sklearn.kernel_ridge.KernelRidge(kernel="rbf", gamma=0.5 / np.median(squared), alpha=0.1)
    expected = theirs.fit(scaled, np.eye(50)[TARGETS[:30]] - 0.02).predict(asked) + 0.02
    np.testing.assert_allclose(ours.outputs(test), expected, atol=1e-4)


def test_products_that_are_known_change_nothing(vectors):
    ridge = KernelRidge([vectors[:30], 1.1 * vectors[:30]], TARGETS[:30])
    share = np.array([[0.3], [1.0], [0.5]], np.float32)
    blend = share * vectors[[31, 32, 33]] + (1 - share) * vectors[[34, 35, 36]]
    products = ridge.products_with(vectors)
    known = share * products[[31, 32, 33]] + (1 - share) * products[[34, 35, 36]]
    np.testing.assert_allclose(ridge.outputs(blend, products=known), ridge.outputs(blend), atol=1e-4)


def test_probabilities_are_a_softmax_that_keeps_the_order(vectors):
    ridge = KernelRidge([vectors[:30]], TARGETS[:30], settings=KernelRidgeSettings(inverse_temperature=7.0))
    outputs = ridge.outputs(vectors[30:])
    np.testing.assert_allclose(ridge.probabilities(outputs), softmax(7 * outputs, axis=1), atol=1e-6)


def test_it_learns_and_averages_over_views(vectors):
    one, three = fit("one", (vectors,)), fit("three", (vectors, 1.05 * vectors, 0.95 * vectors))
    for found in (one, three):
        assert found.shape == (10, 50)
        assert (found.argmax(axis=1) == TARGETS[30:]).mean() >= 0.8
    assert not np.allclose(one, three)


def test_settings_matter_and_chance_does_not(vectors):
    other = replace(kernel_ridge.SETTINGS, gamma=2 * kernel_ridge.SETTINGS.gamma)
    np.testing.assert_array_equal(fit("m", (vectors,), seed=0), fit("m", (vectors,), seed=1))
    assert np.abs(fit("m", (vectors,)) - fit("m", (vectors,), other)).max() > 1e-3

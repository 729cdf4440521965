"""Distillation on synthetic clips: sampling, and agreement of head and teacher."""

from dataclasses import replace

import numpy as np
import pytest

from esc50.experiments import distilled
from esc50.experiments.kernel_ridge import KernelRidge
from esc50.experiments.networks import MIN_DEVIATION

SMALL = replace(distilled.SETTINGS, units=(32, 16), epochs=60, batch_size=16, learning_rate=1e-2)
TARGETS = np.arange(40) % 4
MODELS = {"one": (0,), "all": (0, 1, 2)}


@pytest.fixture(scope="module")
def views():
    rng = np.random.default_rng(0)
    vectors = rng.exponential(size=(40, 12)).astype(np.float32)
    vectors[np.arange(40), TARGETS] += 4
    return vectors, 1.1 * vectors, 0.9 * vectors, 0.8 * vectors


def fit(views, rows=slice(None), **how):
    return distilled.fit(MODELS, tuple(view[rows] for view in views), TARGETS[rows], **({"settings": SMALL} | how))


def test_pairs_are_of_one_clip_and_another(rng):
    first, second, share = distilled.draw_pairs(3, 1_000, rng, mixup_probability=0.6)
    assert (first % 1_000 == np.arange(1_000)).all()
    assert sorted(second) == sorted(first)
    assert share.shape == (1_000, 1)
    assert share.dtype == np.float32
    assert 0.55 < (share < 1).mean() < 0.65
    assert np.bincount(first // 1_000) / 1_000 == pytest.approx([0.5, 0.25, 0.25], abs=0.05)


def test_without_mixup_or_views_each_clip_stands_for_itself(rng):
    first, _, share = distilled.draw_pairs(1, 50, rng, mixup_probability=0.0)
    np.testing.assert_array_equal(first, np.arange(50))
    assert (share == 1).all()


@pytest.mark.slow
def test_the_head_learns_its_teacher_s_outputs(views):
    fitted = fit(views, slice(30))
    teacher = KernelRidge([view[:30] for view in views[:3]], TARGETS[:30], settings=SMALL.teacher)
    test = tuple(view[30:] for view in views)
    own, said = fitted.predict(test)["one"], teacher.probabilities(teacher.outputs(test[0]))
    assert np.abs(own - said).mean() < 0.02
    assert (own.argmax(axis=1) == TARGETS[30:]).mean() >= 0.8
    assert len(fitted.history["loss"]) == SMALL.epochs
    assert fitted.history["loss"][-1] < fitted.history["loss"][0]


@pytest.mark.slow
def test_the_head_standardises_as_the_teacher_does_which_three_views_teach(views):
    odd = (*views[:3], np.zeros_like(views[0]))
    layer = fit(odd, settings=replace(SMALL, epochs=1)).head.get_layer("standardise")
    np.testing.assert_allclose(np.ravel(layer.mean), np.mean(views[:3], axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(np.ravel(layer.variance), (views[0].std(axis=0) + MIN_DEVIATION) ** 2, rtol=1e-4)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_head_and_views_are_averaged(views):
    settings = replace(SMALL, epochs=3)
    one, again, other = (fit(views, settings=settings, seed=seed).predict(views) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one["one"], again["one"])
    assert np.abs(one["one"] - other["one"]).max() > 1e-3
    np.testing.assert_allclose(one["all"].sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(one["one"], one["all"])


@pytest.mark.slow
def test_the_control_learns_the_labels_themselves(views):
    """Without mixup, a head without a teacher learns the labels with higher confidence than the teacher's."""
    settings = replace(SMALL, mixup_probability=0.0)
    sure, less_sure = (
        fit(views, settings=settings, has_teacher=has).predict(views)["one"][np.arange(40), TARGETS].mean()
        for has in (False, True)
    )
    assert sure > 0.95
    assert sure > less_sure

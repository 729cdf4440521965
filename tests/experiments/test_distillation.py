"""Distillation on made-up clips: what is drawn, and that the head comes to say what its teacher says."""

from dataclasses import replace

import numpy as np
import pytest

from esc50.config import DistillationSettings
from esc50.dataset.splits import Split
from esc50.experiments import distillation
from esc50.experiments.kernel_ridge import MIN_DEVIATION, KernelMachine

SMALL = replace(DistillationSettings(), units=(32, 16), epochs=60, batch_size=16, learning_rate=1e-2)
TARGETS = np.arange(40) % 4
SPLIT = Split("made up", np.arange(30), np.arange(30, 40))


@pytest.fixture(scope="module")
def versions():
    rng = np.random.default_rng(0)
    vectors = rng.exponential(size=(40, 12)).astype(np.float32)
    vectors[np.arange(40), TARGETS] += 4
    return vectors, 1.1 * vectors, 0.9 * vectors


def test_blends_are_of_one_clip_and_another(rng):
    first, second, share = distillation.draw_blends(3, 1_000, rng, blended=0.6)
    assert (first % 1_000 == np.arange(1_000)).all()
    assert sorted(second) == sorted(first)
    assert share.shape == (1_000, 1)
    assert share.dtype == np.float32
    assert 0.55 < (share < 1).mean() < 0.65
    version = np.bincount(first // 1_000) / 1_000
    assert version == pytest.approx([0.5, 0.25, 0.25], abs=0.05)


def test_without_blends_or_versions_each_clip_stands_for_itself(rng):
    first, _, share = distillation.draw_blends(1, 50, rng, blended=0.0)
    np.testing.assert_array_equal(first, np.arange(50))
    assert (share == 1).all()


def test_the_head_comes_to_say_what_its_teacher_says(versions):
    train = [version[:30] for version in versions]
    head, history = distillation.distil(train, TARGETS[:30], settings=SMALL, seed=0, n_taught=2)
    teacher = KernelMachine(train[:2], TARGETS[:30], settings=SMALL.kernel)
    own, taught = head.predict(versions[0][30:], verbose=0), teacher.probabilities(teacher.outputs(versions[0][30:]))
    assert np.abs(own - taught).mean() < 0.02
    assert (own.argmax(axis=1) == TARGETS[30:]).mean() >= 0.8
    assert len(history["loss"]) == SMALL.epochs
    assert history["loss"][-1] < history["loss"][0]


def test_the_head_standardises_as_the_teacher_does(versions):
    head, _ = distillation.distil([versions[0]], TARGETS, settings=replace(SMALL, epochs=1))
    layer = head.get_layer("standardise")
    np.testing.assert_allclose(np.ravel(layer.mean), versions[0].mean(axis=0), rtol=1e-4)
    deviation = versions[0].std(axis=0) + MIN_DEVIATION
    np.testing.assert_allclose(np.ravel(layer.variance), deviation**2, rtol=1e-4)


def test_the_same_seed_gives_the_same_head_and_another_another(versions):
    settings = replace(SMALL, epochs=3)

    def scores(seed):
        return distillation.fit_distilled({"m": (0,)}, versions, TARGETS, SPLIT, settings=settings, seed=seed).scores[
            "m"
        ]

    one, again, other = scores(0), scores(0), scores(1)
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3


def test_only_the_first_versions_teach(versions):
    settings = replace(SMALL, epochs=1)
    odd = [*versions[:1], np.zeros_like(versions[0])]
    head, _ = distillation.distil(odd, TARGETS, settings=settings, n_taught=1)
    np.testing.assert_allclose(np.ravel(head.get_layer("standardise").mean), versions[0].mean(axis=0), rtol=1e-4)


def test_readings_average_over_versions(versions):
    run = distillation.fit_distilled(
        {"one": (0,), "all": (0, 1, 2)}, versions, TARGETS, SPLIT, settings=replace(SMALL, epochs=2), n_taught=3
    )
    assert set(run.scores) == {"one", "all"}
    assert run.scores["all"].shape == (10, 50)
    np.testing.assert_allclose(run.scores["all"].sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(run.scores["one"], run.scores["all"])


def test_the_control_learns_the_labels_themselves(versions):
    """Without blends a head that is not taught comes to say the label, which its teacher says less surely."""
    settings = replace(SMALL, blended=0.0)
    own, _ = distillation.distil([versions[0]], TARGETS, settings=settings, is_taught=False)
    taught, _ = distillation.distil([versions[0]], TARGETS, settings=settings)
    sure, less_sure = (head.predict(versions[0], verbose=0)[np.arange(40), TARGETS].mean() for head in (own, taught))
    assert sure > 0.95
    assert sure > less_sure


def test_the_labels_of_a_blend_are_blended(versions, monkeypatch):
    seen = []

    def train_epoch(head, vectors, labels, batch_size, rng):
        seen.append(labels)
        return {"loss": 0.0}

    monkeypatch.setattr(distillation.fusion, "train_epoch", train_epoch)
    settings = replace(SMALL, blended=1.0, epochs=1)
    distillation.distil(list(versions), TARGETS, settings=settings, is_taught=False)
    [labels] = seen
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-5)
    assert set((labels > 0).sum(axis=1)) == {1, 2}  # one where both clips are of one class
    assert (labels[np.arange(40), TARGETS] > 0).all()

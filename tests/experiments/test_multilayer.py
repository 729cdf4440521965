"""The head on several layers, on synthetic clips: sampling, training and attention."""

from dataclasses import replace

import numpy as np
import pytest

from esc50.classifier.pooling import geometric_mean_pool
from esc50.config import N_CLASSES
from esc50.experiments import multilayer
from esc50.experiments.base import take
from esc50.experiments.multilayer import LayerFeatures, MultilayerSettings, draw_averages

N_CLIPS, N_FRAMES, SIZE = 20, 4, 16
SMALL = replace(MultilayerSettings(), units=(8, 4), epochs=2)
ATTENTIVE = replace(SMALL, attention_units=4)
TARGETS = np.arange(N_CLIPS) % 5
ONE_HOT = np.eye(N_CLASSES, dtype=np.float32)[TARGETS]
TRAIN, TEST = np.arange(15), np.arange(15, 20)


def make_clips(seed=0):
    """Made-up clips: each class has its own raised numbers, each clip one silent frame, clip 0 nothing but silence."""
    rng = np.random.default_rng(seed)
    activations = rng.exponential(size=(N_CLIPS, N_FRAMES, SIZE))
    activations[np.arange(N_CLIPS), :, TARGETS] += 3
    active = np.arange(N_FRAMES) != (np.arange(N_CLIPS) % N_FRAMES)[:, np.newaxis]
    active[0] = True
    return LayerFeatures(np.log1p(activations).astype(np.float16), active)


def weights_of(active, rng, *, draws=200):
    """Many draws of the random averages of frames that are unit vectors: what is drawn are the frames' weights."""
    n_clips, n_frames = active.shape
    clips = LayerFeatures(np.tile(np.eye(n_frames, dtype=np.float32), (n_clips, 1, 1)), active)
    return np.stack([draw_averages([clips], ONE_HOT[:n_clips], rng)[0] for _ in range(draws)])


def changed(clips, rows, *, frames=slice(None), by=5.0):
    values = clips.frames.copy()
    values[rows, frames] += np.asarray(by, values.dtype)
    return LayerFeatures(values, clips.active)


def fit(views, targets=TARGETS, *, models=None, **how):
    how = {"settings": SMALL, "seed": 0} | how
    return multilayer.fit(models or {"one": (0,)}, take(views, TRAIN), targets[TRAIN], **how)


@pytest.fixture(scope="module")
def clips():
    return make_clips()


@pytest.mark.parametrize("logarithm", [True, False])
def test_layers_are_taken_out_of_files(rng, logarithm):
    activations = rng.exponential(scale=10, size=(3, N_FRAMES, 5984)).astype(np.float16)
    before, active = activations.copy(), np.array([[True] * 4, [True, False] * 2, [False] * 4])
    arrays = {"activations": activations, "active": active}
    (found,) = multilayer.prepare(arrays, layers=(2, 14), logarithm=logarithm)
    expected = np.concatenate([activations[..., 32:96], activations[..., -1024:]], axis=-1).astype(float)
    np.testing.assert_allclose(found.frames, np.log1p(expected) if logarithm else expected, rtol=1e-3)
    assert found.frames.dtype == np.float16
    assert found.active.tolist() == [[True] * 4, [True, False] * 2, [True] * 4]  # all where none has sound
    assert np.array_equal(activations, before)
    np.testing.assert_array_equal(found[np.array([2, 0])].frames, found.frames[[2, 0]])


def test_random_averages_are_convex_combinations_of_active_frames(rng):
    active = np.array([[True, True, False, True], [False, False, True, False], [True, True, True, True]])
    weights = weights_of(active, rng)  # (draws, n_clips, n_frames)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    assert not weights[:, ~active].any()
    assert weights.any(axis=0)[active].all()
    assert np.all(weights[:, 1, 2] == 1)  # the only frame with sound
    assert len(np.unique(weights[:, 2], axis=0)) > 100  # drawn anew each time; of four frames a quarter leave but one
    assert np.mean(weights[:, 2] > 0) == pytest.approx(0.53, abs=0.06)  # half are kept, and all where none was


def test_the_clip_as_it_is_is_drawn_half_of_the_time(rng):
    views = [LayerFeatures(np.full((6_000, 2, 3), v, np.float32), np.ones((6_000, 2), bool)) for v in range(3)]
    labels = np.eye(N_CLASSES, dtype=np.float32)[np.arange(6_000) % N_CLASSES]
    x, y = draw_averages(views, labels, rng)
    np.testing.assert_allclose(np.bincount(np.round(x[:, 0]).astype(int)) / len(x), [0.5, 0.25, 0.25], atol=0.03)
    assert y is labels


def test_averages_of_several_views_are_of_the_clip_itself(rng):
    """Each clip has its own number in all its views; the views differ in how many frames they have."""
    number = np.arange(N_CLIPS, dtype=np.float32)[:, None, None]
    views = [LayerFeatures(np.tile(number, (1, n, 2)), np.ones((N_CLIPS, n), bool)) for n in (4, 9)]
    x, _ = draw_averages(views, ONE_HOT, rng)
    np.testing.assert_allclose(x, np.tile(number[:, 0], (1, 2)), rtol=1e-5)


def test_mixup_mixes_vectors_as_labels(rng):
    x, y = multilayer._mix(ONE_HOT.copy(), ONE_HOT, 0.5, rng)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert np.array_equal(x, y)  # one share for both, and one partner
    assert np.all((ONE_HOT * y).sum(axis=1) >= 0.5)  # a vector's own label stays the main one
    assert np.any((y > 0).sum(axis=1) == 2)
    assert y.dtype == np.float32
    assert multilayer._mix(x, ONE_HOT, 0.0, rng)[0] is x


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SMALL, ATTENTIVE], ids=["average", "attention"])
def test_one_seed_one_result(clips, settings):
    one, again, other = (fit((clips,), settings=settings, seed=seed).predict((clips,))["one"] for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other, rtol=1e-3)


@pytest.mark.slow
def test_views_of_the_test_clips_are_averaged(clips):
    views = clips, make_clips(1)
    found = fit(views, models={"one": (0,), "other": (1,), "both": (0, 1)}).predict(take(views, TEST))
    joined = geometric_mean_pool(np.stack([found["one"], found["other"]], axis=1))
    np.testing.assert_allclose(found["both"], joined, rtol=1e-5)
    assert found["both"].shape == (5, N_CLASSES)
    assert not np.allclose(found["one"], found["other"])


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SMALL, ATTENTIVE], ids=["average", "attention"])
def test_only_views_that_are_trained_on_have_a_part_in_training(clips, settings):
    def found(other, **how):
        return fit((clips, other), settings=settings, **how).predict((clips,))["one"]

    assert np.array_equal(found(make_clips(1)), found(make_clips(2)))
    if settings is SMALL:
        assert not np.allclose(found(make_clips(1), trained_on=(0, 1)), found(make_clips(1)))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SMALL, ATTENTIVE], ids=["average", "attention"])
def test_silent_frames_change_nothing(clips, settings):
    loud = LayerFeatures(np.where(clips.active[..., None], clips.frames, 100).astype(np.float16), clips.active)
    fitted = fit((clips,), settings=settings)
    found = fitted.predict((clips,))["one"]
    np.testing.assert_allclose(fitted.predict((loud,))["one"], found, rtol=1e-4)
    np.testing.assert_allclose(fit((loud,), settings=settings).predict((loud,))["one"], found, rtol=1e-4)
    assert not np.allclose(fitted.predict((changed(clips, slice(None), frames=1),))["one"], found, rtol=1e-3)


@pytest.mark.slow
def test_probabilities_without_attention_are_geometric_means(clips):
    fitted = fit((clips,))
    frames = [fitted.head.predict(each.astype(np.float32), verbose=0) for each in clips.frames[:3]]
    expected = geometric_mean_pool(np.stack(frames), clips.active[:3])
    np.testing.assert_allclose(fitted.predict((clips[:3],))["one"], expected, rtol=1e-4)


@pytest.mark.slow
def test_attention_is_shared_among_the_active_frames(clips):
    weights = multilayer.attention_weights(fit((clips,), settings=ATTENTIVE).head, clips)
    assert weights.shape == (N_CLIPS, N_FRAMES)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert np.all(weights[~clips.active] == 0)
    assert np.all(weights[clips.active] > 0)
    assert weights[0].std() > 0  # frames are told apart


@pytest.mark.slow
@pytest.mark.parametrize("attention_units", [0, 4], ids=["average", "attention"])
def test_training_learns(clips, attention_units):
    settings = replace(SMALL, units=(16, 16), epochs=60, learning_rate=0.02, dropout=0, input_dropout=0)
    fitted = fit((clips,), settings=replace(settings, attention_units=attention_units))
    assert fitted.history["loss"][-1] < 0.3 * fitted.history["loss"][0]
    found = fitted.predict((clips[TRAIN],))["one"]
    assert np.mean(found.argmax(axis=1) == TARGETS[TRAIN]) >= 0.9


@pytest.mark.results
def test_the_committed_attention_is_shared_among_the_frames_of_each_clip_of_fold_1():
    from esc50.dataset.clips import load_clips

    table, listed = multilayer.attention_table(), load_clips()
    assert set(table.index) == set(listed.loc[listed["fold"] == 1, "filename"])
    assert table.shape == (400, 10)
    assert np.allclose(table.sum(axis=1), 1, atol=2e-3)
    assert (table >= 0).all(axis=None)

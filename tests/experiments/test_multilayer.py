from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from esc50.classifier.pooling import geometric_mean_pool
from esc50.config import N_CLASSES, FusionSettings
from esc50.dataset.splits import Split
from esc50.experiments import multilayer
from esc50.experiments.multilayer import DRAWS, MIN_DEVIATION, Heard
from esc50.experiments.networks import build_head

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # of the fixture `eagerly`

N_CLIPS, N_FRAMES, SIZE = 20, 4, 16
SMALL = replace(FusionSettings(), units=(8, 4), epochs=2)
ATTENTIVE = replace(SMALL, attention_units=4)
TARGETS = np.arange(N_CLIPS) % 5
ONE_HOT = np.eye(N_CLASSES, dtype=np.float32)[TARGETS]
SPLIT = Split("made up", np.arange(0, 15), np.arange(15, 20))


def make_clips(seed=0):
    """Made-up clips: each class has its own raised numbers, each clip one silent frame, clip 0 nothing but silence."""
    rng = np.random.default_rng(seed)
    activations = rng.exponential(size=(N_CLIPS, N_FRAMES, SIZE))
    activations[np.arange(N_CLIPS), :, TARGETS] += 3
    active = np.arange(N_FRAMES) != (np.arange(N_CLIPS) % N_FRAMES)[:, np.newaxis]
    active[0] = False
    arrays = {"activations": activations.astype(np.float16), "active": active}
    return multilayer.heard(arrays, np.arange(SIZE))


def weights_of(active, rng, *, draws=200):
    """Many draws of the random averages of frames that are unit vectors: what is drawn are the frames' weights."""
    n_clips, n_frames = active.shape
    clips = Heard(np.tile(np.eye(n_frames, dtype=np.float32), (n_clips, 1, 1)), active)
    one_hot = np.eye(N_CLASSES, dtype=np.float32)[np.zeros(n_clips, int)]
    return np.stack([DRAWS["average"]([clips], one_hot, rng)[0] for _ in range(draws)])  # (draws, n_clips, n_frames)


def changed(clips, rows, *, frames=slice(None), by=5.0):
    values = clips.frames.copy()
    values[rows, frames] += np.asarray(by, values.dtype)
    return Heard(values, clips.active)


@pytest.fixture(scope="module", autouse=True)
def eagerly():
    """Without graphs: for so few steps their making would take all the time."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def graphs(eagerly):
    """As it is used: with graphs."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)
    yield
    tf.config.run_functions_eagerly(True)


@pytest.fixture(scope="module")
def clips():
    return make_clips()


@pytest.fixture(scope="module")
def head(clips):
    return multilayer.train_fusion([clips.as_float32()], TARGETS, settings=SMALL)[0]


@pytest.fixture(scope="module")
def attentive(clips):
    return multilayer.train_fusion([clips.as_float32()], TARGETS, settings=ATTENTIVE)[0]


def test_some_of_the_clips(clips):
    rows = np.array([7, 3])
    some = clips.of(rows)
    assert np.array_equal(some.frames, clips.frames[[7, 3]])
    assert np.array_equal(some.active, clips.active[[7, 3]])


def test_training_precision_changes_no_value(clips):
    precise = clips.as_float32()
    assert (clips.frames.dtype, precise.frames.dtype) == (np.float16, np.float32)
    assert np.array_equal(precise.frames, clips.frames)
    assert np.array_equal(precise.active, clips.active)


@pytest.mark.parametrize("logarithm", [True, False])
def test_hearing_takes_columns_and_logarithm(rng, logarithm):
    activations = rng.exponential(scale=10, size=(3, N_FRAMES, 6)).astype(np.float16)
    before = activations.copy()
    arrays = {"activations": activations, "active": np.ones((3, N_FRAMES), bool)}
    found = multilayer.heard(arrays, np.array([4, 1]), logarithm=logarithm)
    expected = np.stack([activations[..., 4], activations[..., 1]], axis=-1).astype(float)
    np.testing.assert_allclose(found.frames, np.log1p(expected) if logarithm else expected, rtol=1e-3)
    assert found.frames.dtype == np.float16
    assert np.array_equal(activations, before)  # other experiments use the same array


def test_all_frames_of_a_silent_clip_count():
    active = np.array([[True, False], [False, False]])
    found = multilayer.heard({"activations": np.zeros((2, 2, 3), np.float16), "active": active}, np.arange(3))
    assert found.active.tolist() == [[True, False], [True, True]]


def test_random_averages_are_convex_combinations_of_audible_frames(rng):
    active = np.array([[True, True, False, True], [False, False, True, False], [True, True, True, True]])
    weights = weights_of(active, rng)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    assert not weights[:, ~active].any()
    assert weights.any(axis=0)[active].all()
    assert np.all(weights[:, 1, 2] == 1)  # the only frame with sound
    assert len(np.unique(weights[:, 2], axis=0)) > 100  # drawn anew each time; of four frames a quarter leave but one
    assert np.mean(weights[:, 2] > 0) == pytest.approx(0.53, abs=0.06)  # half are kept, and all where none was


def test_random_averages_of_a_clip_without_sound_use_all_its_frames(clips, rng):
    weights = weights_of(clips.active[:1], rng)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / N_FRAMES, atol=0.06)


def test_silent_frames_are_in_no_draw(clips):
    loud = Heard(np.where(clips.active[..., None], clips.frames, 100).astype(np.float32), clips.active)
    for draw in DRAWS.values():
        x, y = draw([loud], ONE_HOT, np.random.default_rng(0))
        assert x.max() < 50
        assert len(x) == len(y)


def test_the_original_is_drawn_half_of_the_time(rng):
    versions = [Heard(np.full((6_000, 2, 3), v, np.float32), np.ones((6_000, 2), bool)) for v in range(3)]
    one_hot = np.eye(N_CLASSES, dtype=np.float32)[np.arange(6_000) % N_CLASSES]
    x, y = DRAWS["average"](versions, one_hot, rng)
    shares = np.bincount(np.round(x[:, 0]).astype(int)) / len(x)
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.03)
    assert y is one_hot


def test_averages_of_several_versions_are_of_the_clip_itself(rng):
    """Each clip has its own number in all its versions; the versions differ in how many frames they have."""
    number = np.arange(N_CLIPS, dtype=np.float32)[:, None, None]
    versions = [Heard(np.tile(number, (1, n, 2)), np.ones((N_CLIPS, n), bool)) for n in (4, 9)]
    x, _ = DRAWS["average"](versions, ONE_HOT, rng)
    np.testing.assert_allclose(x, np.tile(number[:, 0], (1, 2)), rtol=1e-5)


def test_single_frames_bring_their_clips_labels(clips, rng):
    x, y = DRAWS["frames"]([clips.as_float32()], ONE_HOT, rng)
    places = [(clip, frame) for clip in range(N_CLIPS) for frame in range(N_FRAMES) if clips.active[clip, frame]]
    assert len(places) == 4 + 19 * 3
    assert np.array_equal(x, [clips.frames[place] for place in places])
    assert y.argmax(axis=1).tolist() == [TARGETS[clip] for clip, _ in places]


def test_clip_averages_are_plain(clips, rng):
    x, y = DRAWS["clip"]([clips.as_float32()], ONE_HOT, rng)
    pairs = zip(clips.frames, clips.active, strict=True)
    expected = [frames[active].astype(float).mean(axis=0) for frames, active in pairs]
    np.testing.assert_allclose(x, expected, rtol=1e-5)
    assert np.array_equal(y, ONE_HOT)


def test_mixup_mixes_vectors_as_labels(rng):
    x, y = multilayer._mixed(ONE_HOT.copy(), ONE_HOT, 0.5, rng)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert np.array_equal(x, y)  # one share for both, and one partner
    assert np.all((ONE_HOT * y).sum(axis=1) >= 0.5)  # a vector's own label stays the main one
    assert np.any((y > 0).sum(axis=1) == 2)
    assert y.dtype == np.float32


def test_no_mixup_changes_nothing(rng):
    x = rng.random((N_CLIPS, SIZE), dtype=np.float32)
    mixed = multilayer._mixed(x, ONE_HOT, 0.0, rng)
    assert mixed[0] is x
    assert mixed[1] is ONE_HOT


def test_standardisation_is_by_counted_frames(clips):
    values = clips.frames.astype(np.float32)
    values[..., 3] = 2.0
    values[~clips.active] = 1_000
    model = multilayer.standardise(build_head(input_size=SIZE, settings=SMALL), Heard(values, clips.active))
    counted = values[clips.active]
    deviation = counted.std(axis=0) + MIN_DEVIATION
    assert deviation[3] == np.float32(MIN_DEVIATION)
    out = np.asarray(model.get_layer("standardise")(counted))
    np.testing.assert_allclose(out, (counted - counted.mean(axis=0)) / deviation, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("kind", "settings"), [("head", SMALL), ("attentive", ATTENTIVE)])
def test_one_seed_one_result(clips, kind, settings, request):
    def scores(seed):
        model, _ = multilayer.train_fusion([clips.as_float32()], TARGETS, settings=settings, seed=seed)
        return multilayer.clip_scores(model, clips)

    first = multilayer.clip_scores(request.getfixturevalue(kind), clips)  # of seed 0
    assert np.array_equal(first, scores(0))
    assert not np.allclose(first, scores(1), rtol=1e-3)


def test_every_reading_is_returned(clips):
    readings = {"one": (0,), "other": (1,), "both": (0, 1)}
    run = multilayer.fit_fusion(readings, (clips, make_clips(1)), TARGETS, SPLIT, settings=SMALL, seed=0)
    assert list(run.scores) == list(readings)
    for scores in run.scores.values():
        assert scores.shape == (5, N_CLASSES)
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    joined = geometric_mean_pool(np.stack([run.scores["one"], run.scores["other"]], axis=1))
    np.testing.assert_allclose(run.scores["both"], joined, rtol=1e-5)
    assert not np.allclose(run.scores["one"], run.scores["other"])
    assert {name: len(values) for name, values in run.history.items()} == {"loss": 2, "accuracy": 2}
    assert run.train_seconds > 0


@pytest.mark.parametrize(
    ("settings", "trained_on"),
    [(SMALL, (0, 1)), (replace(SMALL, draw="frames", mixup_alpha=0.2), (0,)), (ATTENTIVE, (0,))],
    ids=["versions", "frames", "attention"],
)
def test_test_clips_have_no_part_in_training(clips, settings, trained_on):
    other = make_clips(1)
    fit = partial(multilayer.fit_fusion, {"both": (0, 1)}, settings=settings, seed=0, trained_on=trained_on)
    before = fit((clips, other), TARGETS, SPLIT).scores["both"]
    disturbed = TARGETS.copy()
    disturbed[15:] = 49
    after = fit((changed(clips, [18, 19]), changed(other, [18, 19])), disturbed, SPLIT).scores["both"]
    assert np.array_equal(after[:3], before[:3])
    assert not np.allclose(after[3:], before[3:])


def test_versions_that_are_not_trained_on_have_no_part_in_training(clips):
    fit = partial(multilayer.fit_fusion, {"one": (0,)}, targets=TARGETS, split=SPLIT, settings=SMALL, seed=0)
    alone, trained = (fit(inputs=(clips, make_clips(1)), trained_on=which).scores["one"] for which in ((0,), (0, 1)))
    beside = fit(inputs=(clips, make_clips(2))).scores["one"]
    assert np.array_equal(alone, beside)
    assert not np.allclose(alone, trained)


@pytest.mark.parametrize("kind", ["head", "attentive"])
def test_silent_frames_do_not_change_scores(kind, clips, request):
    model = request.getfixturevalue(kind)
    scores = multilayer.clip_scores(model, clips)
    assert scores.shape == (N_CLIPS, N_CLASSES)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    values = clips.frames.copy()
    values[~clips.active] += np.float16(5)
    np.testing.assert_allclose(multilayer.clip_scores(model, Heard(values, clips.active)), scores, rtol=1e-5)
    assert not np.allclose(multilayer.clip_scores(model, changed(clips, slice(None), frames=1)), scores, rtol=1e-3)


def test_scores_without_attention_are_geometric_means(head, clips):
    frames = [head.predict(frames.astype(np.float32), verbose=0) for frames in clips.frames[:3]]
    expected = geometric_mean_pool(np.stack(frames), clips.active[:3])
    np.testing.assert_allclose(multilayer.clip_scores(head, clips.of(np.arange(3))), expected, rtol=1e-4)


def test_attention_is_shared_among_the_frames_that_count(attentive, clips):
    weights = multilayer.attention_weights(attentive, clips)
    assert weights.shape == (N_CLIPS, N_FRAMES)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert np.all(weights[~clips.active] == 0)
    assert np.all(weights[clips.active] > 0)
    assert weights[0].std() > 0  # frames are told apart


@pytest.mark.parametrize("attention_units", [0, 4], ids=["average", "attention"])
def test_training_learns(graphs, clips, attention_units):
    settings = replace(
        SMALL,
        attention_units=attention_units,
        units=(16, 16),
        epochs=60,
        learning_rate=0.02,
        dropout=0,
        input_dropout=0,
    )
    model, history = multilayer.train_fusion([clips.as_float32()], TARGETS, settings=settings)
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert np.mean(multilayer.clip_scores(model, clips).argmax(axis=1) == TARGETS) >= 0.9


def test_training_takes_several_batches_an_epoch(clips):
    settings = replace(SMALL, batch_size=16, draw="frames")
    model, _ = multilayer.train_fusion([clips.as_float32()], TARGETS, settings=settings)
    assert int(model.optimizer.iterations) == 2 * 4  # 61 counted frames


def test_attention_with_mixup_is_refused(clips):
    with pytest.raises(ValueError, match="set mixup_alpha or attention_units to 0"):
        multilayer.train_fusion([clips], TARGETS, settings=replace(ATTENTIVE, mixup_alpha=0.2))

"""The dense head on frames: training, pooling, and independence of the test clips."""

from dataclasses import replace

import numpy as np
import pytest

from esc50.classifier.pooling import POOLINGS
from esc50.experiments import plain
from esc50.experiments.networks import HeadSettings
from esc50.yamnet.frames import active_frames, golden_embeddings

QUICK = replace(HeadSettings(), epochs=3, batch_size=32)
KINDS = {"one": "mean", "other": "max"}
pytestmark = pytest.mark.slow


@pytest.fixture
def frames(rng):
    """Eighty clips of four frames, sixty to train on; the class shows in which of the numbers is large."""
    targets = np.arange(80) % 10
    inputs = rng.normal(size=(80, 4, 1024)).astype(np.float32)
    inputs[np.arange(80), :, targets] += 6
    return (inputs[:60], targets[:60]), (inputs[60:], targets[60:])


def fit(train, held_out, seed=0):
    return plain.fit(KINDS, *train, settings=QUICK, seed=seed, held_out=held_out)


def test_a_head_learns_and_pools_in_every_way(frames):
    train, test = frames
    fitted = fit(train, test)
    found = fitted.predict(test[0])
    frame_by_frame = fitted.head.predict(test[0].reshape(-1, 1024), verbose=0).reshape(20, 4, 50)
    for model, pooling in KINDS.items():
        expected = POOLINGS[pooling](frame_by_frame, active_frames(test[0]))
        np.testing.assert_allclose(found[model], expected, atol=1e-5)
    assert fitted.history["loss"][-1] < fitted.history["loss"][0]
    assert {name: len(values) for name, values in fitted.history.items()} == dict.fromkeys(
        ("loss", "accuracy", "val_loss", "val_accuracy"), QUICK.epochs
    )


def test_the_same_seed_gives_the_same_numbers(frames):
    train, test = frames
    one, again, other = (fit(train, test, seed).predict(test[0])["one"] for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_test_clips_do_not_touch_the_training(frames):
    train, test = frames
    assert fit(train, test).history["loss"] == fit(train, (test[0] + 1, test[1])).history["loss"]
    assert np.array_equal(fit(train, test).predict(test[0])["one"], fit(train, None).predict(test[0])["one"])


def test_every_frame_of_a_clip_has_the_label_of_the_clip(rng):
    inputs = rng.random((3, 4, 5))
    frames, labels = plain._vectors(inputs, np.array([7, 0, 49]))
    assert labels.tolist() == [7] * 4 + [0] * 4 + [49] * 4
    np.testing.assert_array_equal(frames[4:8], inputs[1])


def test_clips_are_one_vector_or_their_frames():
    yamnet = {"embeddings": np.stack([golden_embeddings()] * 2)}
    assert plain.frames(yamnet).shape == (2, 6, 1024)
    assert plain.mean(yamnet).shape == (2, 1, 1024)
    np.testing.assert_allclose(plain.mean_and_maximum(yamnet)[0, 0, 1024:], golden_embeddings().max(axis=0))

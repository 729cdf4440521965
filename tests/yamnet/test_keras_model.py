"""The Keras copy agrees with the hub module: log-mel, embeddings and scores within 1e-4."""

import numpy as np
import pytest

from esc50.audio.sound import load_sound
from esc50.dataset.clips import clip_path
from esc50.yamnet import frames, keras_model
from esc50.yamnet.architecture import LAST, layer_sizes
from esc50.yamnet.frames import pad_waveform

TOLERANCE = 1e-4
pytestmark = [pytest.mark.yamnet, pytest.mark.slow]


@pytest.fixture(scope="module")
def ours(yamnet):
    return keras_model.set_weights(keras_model.build_backbone(), yamnet.weights())


def analyse(model, weights, waveform):
    """Log-mel, embeddings and scores of one waveform, as our copy makes them."""
    log_mels = keras_model.log_mel(pad_waveform(waveform)[None])  # (1, n_windows, 64)
    embeddings = model(keras_model.cut_patches(log_mels)[0]).numpy()  # (n_patches, 1024)
    logits = embeddings.astype(np.float64) @ weights["dense/kernel"] + weights["dense/bias"]
    return log_mels[0].numpy(), embeddings, 1 / (1 + np.exp(-logits))


def assert_agrees(yamnet, ours, waveform):
    expected = yamnet.analyse(waveform)
    log_mel, embeddings, scores = analyse(ours, yamnet.weights(), waveform)
    assert len(embeddings) == len(expected.embeddings)
    np.testing.assert_allclose(log_mel[: len(expected.log_mel)], expected.log_mel, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(embeddings, expected.embeddings, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(scores, expected.scores, rtol=0, atol=TOLERANCE)


def noise(seconds, *, seed=0):
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * 16_000)).astype(np.float32)


WAVEFORMS = {
    "chirp": frames.chirp(),
    "silence": frames.silence(),
    "10 ms": noise(0.01),
    "one patch": noise(0.975),
    "a bit more": noise(0.976),
    "20 s": noise(20.0),
    "impulse": np.eye(1, 80_000, 40_000, dtype=np.float32)[0],
}


@pytest.mark.parametrize("name", WAVEFORMS)
def test_agrees_with_the_hub_module(yamnet, ours, name):
    assert_agrees(yamnet, ours, WAVEFORMS[name])


@pytest.mark.audio
def test_agrees_with_the_hub_module_on_clips(yamnet, ours, dataset_root, clips):
    for name in clips["filename"][::50]:
        assert_agrees(yamnet, ours, load_sound(clip_path(name, dataset_root)).waveform)


def test_all_layers_have_the_sizes_of_the_table(yamnet):
    everything = tuple(range(1, LAST + 1))
    model = keras_model.set_weights(keras_model.build_backbone(layers=everything), yamnet.weights())
    joined = model.predict(np.zeros((2, 96, 64), np.float32), verbose=0)
    assert joined.shape == (2, sum(layer_sizes(everything))) == (2, 5984)
    last = keras_model.set_weights(keras_model.build_backbone(), yamnet.weights()).predict(
        np.zeros((2, 96, 64), np.float32), verbose=0
    )
    np.testing.assert_allclose(joined[:, -1024:], last, rtol=0, atol=TOLERANCE)


def test_only_the_layers_asked_for_can_be_trained():
    def trained(first):
        model = keras_model.build_backbone(trainable_from=first)
        return {weight.path.split(".")[0] for weight in model.trainable_weights}

    assert trained(13) == {"layer13", "layer14"}
    assert trained(15) == set()
    assert len(trained(1)) == 14


def test_batch_statistics_stay_as_they_are_while_the_rest_learns(yamnet):
    import keras

    model = keras_model.set_weights(keras_model.build_backbone(), yamnet.weights())
    before = {w.path: w.numpy() for w in model.weights}
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.ones((4, 96, 64), np.float32), np.zeros((4, 1024), np.float32), verbose=0)
    changed = {path for path, values in before.items() if not np.array_equal(values, _now(model, path))}
    assert changed and not [path for path in changed if "moving" in path]


def _now(model, path):
    return next(w.numpy() for w in model.weights if w.path == path)


def test_patches_come_at_any_hop():
    log_mels = np.arange(2 * 300 * 64, dtype=np.float32).reshape(2, 300, 64)
    patches = keras_model.cut_patches(log_mels, hop_seconds=0.1).numpy()
    assert patches.shape == (2, 21, 96, 64)
    np.testing.assert_array_equal(patches[1, 3], log_mels[1, 30:126])

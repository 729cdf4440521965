"""`esc50.yamnet.runtime`: the exported YAMNet, and agreement with the Keras copy and the hub module."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from esc50.audio import load_sound, synthesis
from esc50.classifier.pooling import temper
from esc50.config import LAYERS_AND_SCORES, AudioError, Esc50Error, LayerSettings, ResultsError
from esc50.dataset import clip_path
from esc50.yamnet import export, frames
from esc50.yamnet.architecture import layer_sizes
from esc50.yamnet.runtime import FRAMES_PER_CALL, YamnetRuntime, load_runtime, read_packaged

RATE = 16_000
N_CLIPS = 100  # two of each class
PROBABILITY_TOLERANCE = 1e-3
EDGE_CASES = {
    "one sample": np.float32([0.5]),
    "short": synthesis.chirp(seconds=0.3),
    "silence": synthesis.silence(),
    "full scale": synthesis.example("rain") / 0.8,
    "-80 dB": synthesis.example("siren") * np.float32(1e-4),
    "three patches": synthesis.example("church_bells", seconds=1.5),
    "a minute": np.tile(synthesis.example("keyboard_typing"), 12),
}


@pytest.fixture(scope="module")
def hub():
    from esc50.yamnet.hub_module import load_yamnet

    return load_yamnet()


@pytest.fixture(scope="module")
def keras_network():
    """From a waveform (n_samples,) to vectors (n_frames, 5984), by the Keras copy with the hub module's weights."""
    from esc50.yamnet.layers import layer_function

    embed = layer_function()
    return lambda waveform: embed(waveform[np.newaxis])[0]


@pytest.fixture(scope="module")
def exact(hub):
    """The runtime with weights in float32."""
    return YamnetRuntime(
        export.yamnet_model(hub.weights(), metadata={"esc50": '{"audioset_classes": []}'}).SerializeToString()
    )


@pytest.fixture(scope="module")
def some_clips(dataset_root, clips):
    names = clips.groupby("category").sample(N_CLIPS // 50, random_state=2015)["filename"]
    return [load_sound(clip_path(name, dataset_root)).waveform for name in names]


# --- alone


@pytest.mark.parametrize("n_samples", [1, 15_600, 15_601, 80_000, RATE * 40])
def test_shapes(n_samples, rng):
    analysis = load_runtime().analyse(rng.uniform(-0.5, 0.5, n_samples).astype(np.float32))
    n_frames = frames.n_patches(n_samples)
    assert analysis.vectors.shape == (n_frames, sum(layer_sizes(range(1, 15)))) == (n_frames, 5984)
    assert analysis.scores.shape == (n_frames, 521)
    assert analysis.log_mel.shape == (48 * (n_frames + 1), 64)
    assert all(np.isfinite(each).all() for each in (analysis.vectors, analysis.scores, analysis.log_mel))


def test_a_long_sound_is_that_of_its_parts(rng):
    waveform = rng.uniform(-0.5, 0.5, 7_680 * (3 * FRAMES_PER_CALL) + 20_000).astype(np.float32)
    whole = load_runtime().analyse(waveform)
    start = 7_680 * (FRAMES_PER_CALL - 3)
    part = load_runtime().analyse(waveform[start : start + 8 * 7_680 + 15_600])
    assert_allclose(whole.vectors[FRAMES_PER_CALL - 3 :][:8], part.vectors[:8], atol=1e-4)
    assert_allclose(whole.log_mel[48 * (FRAMES_PER_CALL - 3) :][:300], part.log_mel[:300], atol=1e-4)


def test_a_batch_is_embedded_as_its_waveforms_are():
    waveforms = np.stack([synthesis.example(name) for name in ("rain", "siren", "clock_tick", "car_horn")])
    expected = [load_runtime().embed(waveform) for waveform in waveforms]
    assert_allclose(load_runtime().embed_batch(waveforms), expected, atol=1e-3)


def test_golden_values_and_known_sounds():
    runtime = load_runtime()
    assert_allclose(runtime.embed(frames.chirp())[:, -1024:], frames.golden_embeddings(), atol=2e-3)  # 16-bit weights
    for waveform, expected in ((frames.silence(), "Silence"), (frames.sine(), "Sine wave")):
        assert runtime.class_names[runtime.analyse(waveform).scores.mean(axis=0).argmax()] == expected


@pytest.mark.parametrize("wrong", [np.zeros((2, 100), np.float32), np.zeros(10), np.full(10, np.nan, np.float32)])
def test_invalid_waveforms_are_refused(wrong):
    with pytest.raises(AudioError):
        load_runtime().embed(wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process cannot fork here")
def test_a_forked_process_has_threads_of_its_own():
    script = (
        "import multiprocessing, numpy as np; from esc50.yamnet.runtime import load_runtime as load\n"
        "def embed(waveform): return load().embed(waveform).shape\n"
        "sound = np.zeros(16_000, np.float32); embed(sound)\n"
        "print(multiprocessing.get_context('fork').Pool(1).map_async(embed, [sound]).get(20))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[(2, 5984)]\n", done.stderr


@pytest.mark.parametrize("threads", ["two", "0", "-1"])
def test_a_wrong_number_of_threads_is_an_error_that_names_the_variable(monkeypatch, threads):
    monkeypatch.setenv("ESC50_THREADS", threads)
    with pytest.raises(Esc50Error, match=f"ESC50_THREADS is '{threads}': set it to a whole number from 1 on"):
        load_runtime().embed(frames.silence())


def test_a_file_that_is_not_in_the_package_is_named():
    with pytest.raises(ResultsError, match=r"no model nothing\.onnx in the package: reinstall esc50"):
        read_packaged("nothing.onnx")


@pytest.mark.parametrize("weights", export.WEIGHT_FORMATS)
def test_stored_weights_are_those_given_within_their_precision(weights, rng):
    """A head of one layer gives its weights back where the inputs are unit vectors."""
    from esc50.classifier.head import Head

    kernel, bias = rng.normal(size=(256, 64)).astype(np.float32), rng.normal(size=64).astype(np.float32)
    layers = [(np.eye(256, dtype=np.float32), np.zeros(256, np.float32)), (kernel, bias)]
    model = export.head_model(np.zeros(256), np.ones(256), layers, logarithm=False, weights=weights)
    found = Head(model.SerializeToString()).logits(np.eye(256, dtype=np.float32)) - bias
    step = {"float32": 1e-6, "float16": 2e-3, "int16": 1.5e-4, "int8": 4e-2}[weights]
    assert_allclose(found, kernel, atol=step)


# --- against the networks that it was exported from


@pytest.mark.slow
@pytest.mark.yamnet
@pytest.mark.parametrize("name", EDGE_CASES)
def test_edge_cases_are_those_of_the_keras_network(name, exact, keras_network):
    assert_allclose(exact.embed(EDGE_CASES[name]), keras_network(EDGE_CASES[name]), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.yamnet
def test_ten_minutes_are_those_of_the_keras_network(exact, keras_network, rng):
    waveform = (0.1 * rng.standard_normal(600 * RATE)).clip(-1, 1).astype(np.float32)
    found, starts = exact.embed(waveform), range(0, 1_249 - 40, 301)
    assert len(found) == 1_249
    for start in starts:
        part = waveform[start * 7_680 :][: 39 * 7_680 + 15_600]
        assert_allclose(found[start : start + 40], keras_network(part), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.audio
@pytest.mark.yamnet
def test_vectors_of_real_clips_are_those_of_the_keras_network(exact, keras_network, some_clips):
    for waveform in some_clips:
        assert_allclose(exact.embed(waveform), keras_network(waveform), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.audio
@pytest.mark.yamnet
def test_embeddings_and_scores_of_real_clips_are_those_of_the_hub_module(exact, hub, some_clips):
    for waveform in some_clips[::5]:
        found, expected = exact.analyse(waveform), hub.analyse(waveform)
        assert_allclose(found.vectors[:, -1024:], expected.embeddings, atol=5e-4)
        assert_allclose(found.scores, expected.scores, atol=1e-4)


@pytest.mark.slow
@pytest.mark.audio
@pytest.mark.yamnet
def test_the_format_that_ships_gives_the_answers_of_float32(classifier, exact, some_clips):
    """Against the Keras network and the trained Keras head: the same top class, probabilities within 1e-3."""
    from dataclasses import replace

    from esc50.experiments.keras_heads import load_trained, to_head
    from esc50.yamnet.layers import layer_function

    embed = layer_function(settings=LayerSettings(layers=LAYERS_AND_SCORES))

    class Keras:
        class_names = classifier.yamnet.class_names
        embed_with_log_mel = staticmethod(lambda waveform, *, layers: (embed(waveform[np.newaxis])[0], None))

    model, metadata = load_trained()
    reference = replace(classifier, yamnet=Keras(), head=to_head(model, metadata=metadata))
    for waveform in [*some_clips, *EDGE_CASES.values()]:
        found, expected = (each.predict(waveform, sample_rate_hz=RATE) for each in (classifier, reference))
        assert found.top(1)[0][0] == expected.top(1)[0][0]
        assert_allclose(found.probabilities, expected.probabilities, atol=PROBABILITY_TOLERANCE)
        uncalibrated = temper(expected.probabilities, 1 / classifier.metadata["temperature"])
        assert_allclose(
            temper(found.probabilities, 1 / classifier.metadata["temperature"]),
            uncalibrated,
            atol=PROBABILITY_TOLERANCE,
        )


@pytest.mark.slow
@pytest.mark.yamnet
def test_tflite_gives_the_vectors_of_one_patch(hub, exact, tmp_path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    (tmp_path / "model.tflite").write_bytes(export.tflite_model(hub.weights(), weights="float32"))
    run = interpreter.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
    waveform = synthesis.example("siren")[:15_600]
    found, expected = run(waveforms=waveform[np.newaxis]), exact.analyse(waveform)
    assert_allclose(found["vectors"], expected.vectors, rtol=1e-3, atol=1e-3)
    assert_allclose(found["scores"], expected.scores, atol=1e-3)

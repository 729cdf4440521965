from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from esc50 import dataset
from esc50.audio import effects, synthesis
from esc50.config import AudioError, DatasetError, FeatureError, LayerSettings, YamnetError
from esc50.dataset import feature_files
from esc50.yamnet import frames, hub_module, keras_model, layers
from esc50.yamnet.frames import n_patches

SAMPLE_RATE_HZ = LayerSettings.sample_rate_hz
OFTEN = LayerSettings(layers=(13, 14), patch_hop_seconds=0.16)
ROUNDING = {"rtol": 1e-3, "atol": 1e-2}  # of float16


def sine(hertz, *, seconds=5.0):
    time = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def loudest_hertz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE_HZ)[spectrum.argmax()]


def labels_of(settings):
    """For each column of a feature file its layer and its place in it."""
    sizes = keras_model.layer_sizes(settings.layers)
    return [(layer, place) for layer, size in zip(settings.layers, sizes, strict=True) for place in range(size)]


@pytest.mark.parametrize("name", ["layers", "layers_often"])
@pytest.mark.parametrize("wanted", [(14,), (7,), (12, 13, 14), tuple(range(7, 15)), (14, 9)])
def test_columns_are_those_of_the_layers(name, wanted):
    settings = feature_files.PARAMETERS[name]
    labels, columns = labels_of(settings), layers.columns_of(wanted, settings=settings)
    assert [labels[column] for column in columns] == labels_of(LayerSettings(layers=wanted))
    assert len(labels) == sum(keras_model.layer_sizes(settings.layers))


def test_last_columns_are_the_embedding():
    settings = LayerSettings()
    ends = sum(keras_model.layer_sizes(settings.layers))
    assert layers.columns_of((14,)).tolist() == list(range(ends - settings.embedding_size, ends))


def test_all_layers_are_all_columns():
    upper = feature_files.PARAMETERS["layers_often"]
    assert np.array_equal(layers.columns_of(upper.layers, settings=upper), np.arange(6 * 512 + 2 * 1_024))


def test_a_layer_that_a_file_does_not_hold_is_refused():
    with pytest.raises(KeyError):
        layers.columns_of((6,), settings=feature_files.PARAMETERS["layers_often"])


@pytest.mark.parametrize("speed", [0.85, 1.18])
def test_speed_shifts_frequency_and_keeps_length(speed):
    waveform = sine(1_000)
    changed = effects.change_speed(waveform, speed)
    assert changed.shape == waveform.shape
    assert changed.dtype == np.float32
    assert loudest_hertz(changed) == pytest.approx(1_000 * speed, abs=1)
    sounding = min(round(len(waveform) / speed), len(waveform))
    assert not changed[sounding + 10 :].any()
    assert np.sqrt(np.mean(changed[:sounding] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_speed_one_is_the_identity():
    waveform = sine(1_000)
    assert effects.change_speed(waveform, 1.0) is waveform


@pytest.mark.parametrize("speed", [0.85, 1.18])
def test_changed_speed_stays_in_range(speed, rng):
    square = np.sign(rng.uniform(-1, 1, SAMPLE_RATE_HZ)).astype(np.float32)
    assert np.abs(effects.change_speed(square, speed)).max() == 1  # resampling overshoots


def test_hearing_many_clips_keeps_their_order_and_changes_speed(monkeypatch):
    """With a made-up network that hears the first samples of the clip: more clips than fit into one call."""
    asked = []

    def layer_function(*, settings):
        asked.append(settings)
        return lambda waveforms: waveforms[:, np.newaxis, : settings.embedding_size]

    monkeypatch.setattr(layers, "layer_function", layer_function)
    waveforms = [sine(hertz, seconds=0.2) for hertz in range(200, 1_250, 50)]
    settings = LayerSettings(speed=1.18)
    activations, active = layers.compute_layers(waveforms, settings=settings)
    expected = np.stack([effects.change_speed(waveform, 1.18)[:1024] for waveform in waveforms]).astype(np.float16)
    assert asked == [settings]
    assert len(waveforms) > 2 * layers.CLIPS_PER_CALL
    assert np.array_equal(activations[:, 0], expected)
    assert active.shape == (len(waveforms), 1)


@pytest.fixture(scope="module")
def chirp_and_silence():
    return [frames.chirp(), frames.silence()]


@pytest.fixture(scope="module")
def all_layers(chirp_and_silence):
    return layers.compute_layers(chirp_and_silence)


@pytest.mark.yamnet
def test_layers_end_in_yamnets_embedding(all_layers, chirp_and_silence):
    activations, _ = all_layers
    assert activations.shape == (
        2,
        n_patches(len(chirp_and_silence[0])),
        sum(size for _, _, size in keras_model.LAYERS),
    )
    assert activations.dtype == np.float16
    hub = hub_module.load_yamnet()
    for heard, waveform in zip(activations, chirp_and_silence, strict=True):
        np.testing.assert_allclose(heard[:, -1024:].astype(np.float32), hub.embed(waveform), **ROUNDING)


@pytest.mark.yamnet
def test_layers_tell_silence_from_sound(all_layers):
    activations, active = all_layers
    assert active.dtype == bool
    assert active.shape == activations.shape[:2]
    assert active[0].any()
    assert not active[1].any()
    assert np.array_equal(active[0], frames.active_frames(frames.golden_embeddings()))


@pytest.mark.yamnet
def test_every_layer_hears_something_else(all_layers):
    """No layer is empty, negative or so loud that float16 overflows."""
    activations, _ = all_layers
    for layer in range(1, 15):
        values = activations[0][:, layers.columns_of((layer,))]
        assert values.min() >= 0
        assert np.isfinite(values).all()
        assert values.std(axis=0).max() > 0


@pytest.mark.yamnet
def test_short_hops_give_more_frames_of_the_same(all_layers, chirp_and_silence):
    often, active = layers.compute_layers(chirp_and_silence, settings=OFTEN)
    n_frames = all_layers[0].shape[1]
    assert often.shape == (2, 3 * (n_frames - 1) + 1, 2048)
    assert active.shape == often.shape[:2]
    expected = all_layers[0][..., layers.columns_of(OFTEN.layers)]
    np.testing.assert_allclose(often[:, ::3].astype(np.float32), expected.astype(np.float32), **ROUNDING)


# --- sounds of any length


@pytest.fixture(scope="module")
def ears():
    return layers.load_layers(range(1, 15))


SOUNDS = {
    "chirp": frames.chirp(),
    "silence": frames.silence(),
    "a third of a second": sine(440, seconds=0.3),
    "one sample": np.float32([0.5]),
    "five seconds": synthesis.example("rain"),
    "200 seconds, in two parts": synthesis.example("siren", seconds=200.0),
}


@pytest.mark.yamnet
@pytest.mark.parametrize("name", SOUNDS)
def test_vectors_of_any_sound_end_in_what_the_hub_module_gives(ears, name):
    vectors, expected = ears.embed(SOUNDS[name]), hub_module.load_yamnet().embed(SOUNDS[name])
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(expected), 5984)
    np.testing.assert_allclose(vectors[:, -1024:], expected, rtol=0, atol=frames.GOLDEN_TOLERANCE)


@pytest.mark.yamnet
def test_parts_of_a_long_sound_are_heard_as_the_whole(ears, rng, monkeypatch):
    waveform = rng.uniform(-1, 1, 7 * SAMPLE_RATE_HZ).astype(np.float32)
    whole = ears.embed(waveform)
    monkeypatch.setattr(frames, "FRAMES_PER_CALL", 3)
    np.testing.assert_allclose(ears.embed(waveform), whole, atol=1e-4)
    assert len(whole) > 3 * 3


@pytest.mark.yamnet
def test_a_batch_is_heard_as_its_clips_are(ears, rng, monkeypatch):
    clips = rng.uniform(-1, 1, (5, SAMPLE_RATE_HZ)).astype(np.float32)
    expected = np.stack([ears.embed(clip) for clip in clips])  # (n_clips, n_frames, size)
    monkeypatch.setattr(layers, "FRAMES_PER_CALL", 4)  # two clips at once, then the last one
    for batch in (clips, iter(clips)):
        heard = ears.embed_batch(batch)
        assert heard.dtype == np.float32
        np.testing.assert_allclose(heard, expected, atol=1e-4)


@pytest.mark.yamnet
def test_what_yamnet_refuses_is_refused(ears):
    wrong = [np.zeros(9), np.zeros((2, 9), np.float32), np.zeros(0, np.float32), np.float32([np.nan]), np.float32([2])]
    for waveform in wrong:
        with pytest.raises(AudioError, match=r"the waveform .*load_sound"):
            ears.embed(waveform)
        with pytest.raises(AudioError, match=r"clip 0 .*load_sound"):
            ears.embed_batch([waveform])
    with pytest.raises(AudioError, match="clip 1 has 8 samples, the first has 9"):
        ears.embed_batch([np.zeros(9, np.float32), np.zeros(8, np.float32)])
    with pytest.raises(AudioError, match="no clips to embed"):
        ears.embed_batch([])


@pytest.mark.yamnet
def test_several_threads_hear_what_one_hears(ears, rng):
    waveforms = [rng.uniform(-1, 1, n).astype(np.float32) for n in (5_000, 40_000, 16_000, 30_000) * 3]
    expected = [ears.embed(waveform) for waveform in waveforms]
    with ThreadPoolExecutor(4) as pool:
        for found, vectors in zip(pool.map(ears.embed, waveforms), expected, strict=True):
            np.testing.assert_allclose(found, vectors, atol=1e-4)


@pytest.mark.yamnet
def test_it_is_built_once_for_each_choice_of_layers(ears):
    upper = layers.load_layers([13, 14])
    assert layers.load_layers(tuple(range(1, 15))) is ears
    assert layers.load_layers((13, 14)) is upper is not ears
    np.testing.assert_allclose(upper.embed(frames.chirp()), ears.embed(frames.chirp())[:, -2048:], atol=1e-4)


@pytest.mark.yamnet
def test_a_copy_that_hears_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(layers, "golden_embeddings", lambda: frames.golden_embeddings() + 1e-3)
    with pytest.raises(YamnetError, match=r"our copy of YAMNet is off by 0\.001.*choose the model \"plain\""):
        layers.load_layers((12, 14))


@pytest.fixture
def small(rng):
    return {"activations": rng.random((3, 2, 5)).astype(np.float16), "active": np.array([[True, False]] * 3)}


@pytest.fixture
def computed(small, monkeypatch):
    """A computation that takes no time and notes what it was asked for."""
    calls = []

    def compute_features(names, *, progress):
        calls.append((list(names), progress))
        return {name: small for name in names}

    monkeypatch.setattr(feature_files, "compute_features", compute_features)
    return calls


def test_without_recordings_absent_layers_say_so(tmp_path, monkeypatch):
    def find_dataset(*_):
        raise DatasetError("no ESC-50 here")

    monkeypatch.setattr(dataset, "find_dataset", find_dataset)
    with pytest.raises(DatasetError, match="no ESC-50 here"):
        feature_files.layer_features("layers", folder=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_layers_are_computed_once_and_read_back(tmp_path, small, computed, clips):
    for _ in range(2):
        found = feature_files.layer_features("layers_slow", folder=tmp_path, progress=False)
        assert np.array_equal(found["activations"], small["activations"])
        assert found["activations"].dtype == np.float16
        assert np.array_equal(found["active"], small["active"])
        assert found["filename"].tolist() == clips["filename"].tolist()
    assert computed == [(["layers_slow"], False)]
    assert [path.name for path in tmp_path.iterdir()] == ["layers_slow.npz"]


def test_layers_made_with_other_parameters_are_refused(tmp_path, computed, monkeypatch):
    feature_files.layer_features("layers_fast", folder=tmp_path, progress=False)
    monkeypatch.setitem(feature_files.PARAMETERS, "layers_fast", LayerSettings(speed=1.3))
    with pytest.raises(FeatureError, match="speed"):
        feature_files.layer_features("layers_fast", folder=tmp_path, progress=False)

"""`esc50.yamnet.layers`: activations of every layer, at any hop and speed."""

import numpy as np
import pytest

from esc50.audio import effects, synthesis
from esc50.config import LayerSettings
from esc50.yamnet import frames, layers
from esc50.yamnet.architecture import LAYERS, columns_of
from esc50.yamnet.frames import n_patches

OFTEN = LayerSettings(layers=(13, 14), patch_hop_seconds=0.16)
ROUNDING = {"rtol": 1e-3, "atol": 1e-2}  # of float16


def labels_of(chosen):
    """For each column of some layers its layer and its place in it."""
    return [(layer, place) for layer in chosen for place in range(LAYERS[layer - 1][2])]


@pytest.mark.parametrize("among", [range(1, 15), range(7, 15)])
@pytest.mark.parametrize("wanted", [(14,), (7,), (12, 13, 14), tuple(range(7, 15)), (14, 9)])
def test_columns_are_those_of_the_layers(among, wanted):
    labels = labels_of(among)
    assert [labels[column] for column in columns_of(wanted, among=among)] == labels_of(wanted)
    assert len(labels) == 5_984 if len(among) == 14 else 5_120


def test_last_columns_are_the_embedding():
    assert columns_of((14,)) == list(range(5_984 - 1_024, 5_984))


def test_a_layer_that_a_file_does_not_hold_is_refused():
    with pytest.raises(KeyError):
        columns_of((6,), among=range(7, 15))


def test_many_clips_keep_their_order_and_change_their_speed(monkeypatch):
    """With a made-up network that gives the first samples of the clip: more clips than fit into one call."""
    asked = []

    def layer_function(*, settings):
        asked.append(settings)
        return lambda waveforms: waveforms[:, np.newaxis, : settings.embedding_size]

    monkeypatch.setattr(layers, "layer_function", layer_function)
    waveforms = [synthesis.sine(hertz, seconds=0.2) for hertz in range(200, 1_250, 50)]
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
@pytest.mark.slow
def test_layers_end_in_yamnets_embedding(all_layers, chirp_and_silence, yamnet):
    activations, _ = all_layers
    assert activations.shape == (2, n_patches(len(chirp_and_silence[0])), 5_984)
    assert activations.dtype == np.float16
    for found, waveform in zip(activations, chirp_and_silence, strict=True):
        np.testing.assert_allclose(found[:, -1024:].astype(np.float32), yamnet.embed(waveform), **ROUNDING)


@pytest.mark.yamnet
@pytest.mark.slow
def test_layers_tell_silence_from_sound(all_layers):
    activations, active = all_layers
    assert active.dtype == bool
    assert active.shape == activations.shape[:2]
    assert active[0].all() and not active[1].any()


@pytest.mark.yamnet
@pytest.mark.slow
def test_every_layer_gives_something(all_layers):
    """No layer is empty, negative or so loud that float16 overflows."""
    activations, _ = all_layers
    for layer in range(1, 15):
        values = activations[0][:, columns_of((layer,))]
        assert values.min() >= 0
        assert np.isfinite(values).all()
        assert values.std(axis=0).max() > 0


@pytest.mark.yamnet
@pytest.mark.slow
def test_short_hops_give_more_frames_of_the_same(all_layers, chirp_and_silence):
    often, active = layers.compute_layers(chirp_and_silence, settings=OFTEN)
    n_frames = all_layers[0].shape[1]
    assert often.shape == (2, 3 * (n_frames - 1) + 1, 2048)
    assert active.shape == often.shape[:2]
    expected = all_layers[0][..., columns_of(OFTEN.layers)]
    np.testing.assert_allclose(often[:, ::3].astype(np.float32), expected.astype(np.float32), **ROUNDING)


@pytest.mark.yamnet
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 5.0])
def test_sounds_of_any_length_end_in_what_the_hub_module_gives(yamnet, seconds):
    waveform = synthesis.example("rain", seconds=seconds)
    (found,), expected = layers.layer_function()(waveform[np.newaxis]), yamnet.embed(waveform)
    assert found.shape == (len(expected), 5_984)
    np.testing.assert_allclose(found[:, -1024:], expected, rtol=0, atol=frames.GOLDEN_TOLERANCE)

import numpy as np
import pytest

from esc50.audio import synthesis
from esc50.config import POOLED_LAYERS, VIEW_LAYERS, LevelSettings, ViewSettings
from esc50.dataset import views
from esc50.yamnet.architecture import MAXIMA, layer_sizes
from esc50.yamnet.runtime import load_runtime


def test_a_loop_repeats_the_sound_without_the_silence_around_it():
    waveform = np.zeros(100, np.float32)
    waveform[20:50] = np.arange(1, 31)
    np.testing.assert_array_equal(views.loop(waveform), np.resize(np.arange(1, 31), 100))
    np.testing.assert_array_equal(views.loop(np.zeros(5, np.float32)), np.zeros(5))


def test_a_view_does_not_depend_on_the_level_of_the_recording():
    waveform = synthesis.example("rain")
    loud, faint = (views.compute_views([each.astype(np.float32)]) for each in (waveform, waveform / 50))
    assert loud.shape == (1, sum(layer_sizes(VIEW_LAYERS)))
    np.testing.assert_allclose(faint.astype(float), loud.astype(float), rtol=0.02, atol=0.02)


def test_views_differ_by_speed_level_and_loop():
    waveform = np.pad(synthesis.example("door_wood_knock")[:16_000], (0, 64_000))
    settings = [ViewSettings(), ViewSettings(speed=0.85), ViewSettings(looped=True)]
    settings.append(ViewSettings(level=LevelSettings(target_rms=0.02)))
    found = [views.compute_views([waveform], settings=each)[0].astype(float) for each in settings]
    for other in found[1:]:
        assert np.abs(other - found[0]).max() > 0.1


def test_maxima_bound_what_the_mean_of_the_bands_is():
    """The mean of both bands is the layer's mean, which no maximum is below."""
    runtime, waveform = load_runtime(), synthesis.example("siren")
    maxima, bands = np.split(runtime.embed(waveform, layers=POOLED_LAYERS), [layer_sizes([MAXIMA])[0]], axis=1)
    means = runtime.embed(waveform)  # (n_frames, 5984)
    np.testing.assert_allclose(bands.reshape(len(bands), -1, 2).mean(axis=2), means, rtol=1e-3, atol=1e-4)
    assert (maxima >= means - 1e-4).all()


@pytest.mark.parametrize("layers", [(14,), (16, 14), (15, 17), (3, 16)])
def test_parts_come_in_the_order_that_is_asked_for(layers):
    found = load_runtime().embed(synthesis.example("siren"), layers=layers)
    assert found.shape == (10, sum(layer_sizes(layers)))

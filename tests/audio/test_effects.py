"""`esc50.audio.effects`: change of speed."""

import numpy as np
import pytest

from esc50.audio import synthesis
from esc50.audio.effects import change_speed

RATE = 16_000


@pytest.mark.slow  # importing librosa
@pytest.mark.parametrize("speed", [0.5, 0.85, 0.97, 1.03, 1.18, 2.0])
@pytest.mark.parametrize("n_samples", [1_001, 80_000])
def test_speed_is_changed_as_librosa_resamples(rng, speed, n_samples):
    librosa = pytest.importorskip("librosa")
    waveform = rng.uniform(-1, 1, n_samples).astype(np.float32)
    resampled = librosa.resample(waveform, orig_sr=speed, target_sr=1, res_type="soxr_hq")
    expected = np.clip(librosa.util.fix_length(resampled, size=n_samples), -1, 1)
    np.testing.assert_array_equal(change_speed(waveform, speed), expected)


@pytest.mark.parametrize("speed", [0.85, 1.18])
def test_speed_shifts_frequency_and_keeps_length(speed):
    waveform = synthesis.sine(1_000, seconds=2.0)
    changed = change_speed(waveform, speed)
    n_sounding = min(round(len(waveform) / speed), len(waveform))
    spectrum = np.abs(np.fft.rfft(changed[:n_sounding] * np.hanning(n_sounding)))
    assert (changed.shape, changed.dtype) == (waveform.shape, np.float32)
    assert spectrum.argmax() * RATE / n_sounding == pytest.approx(1_000 * speed, abs=1)
    assert not changed[n_sounding + 10 :].any()
    assert np.sqrt(np.mean(changed[:n_sounding] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_speed_1_changes_nothing():
    waveform = synthesis.sine(1_000)
    assert change_speed(waveform, 1.0) is waveform


@pytest.mark.parametrize("speed", [0.85, 1.18])
def test_changed_speed_stays_in_range(speed, rng):
    square = np.sign(rng.uniform(-1, 1, RATE)).astype(np.float32)
    assert np.abs(change_speed(square, speed)).max() == 1  # resampling overshoots

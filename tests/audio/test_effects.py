"""`esc50.audio.effects`: a tape played at another speed."""

import numpy as np
import pytest

from esc50.audio.effects import change_speed

RATE = 16_000


@pytest.mark.parametrize("speed", [0.5, 0.85, 0.97, 1.03, 1.18, 2.0])
@pytest.mark.parametrize("n_samples", [1_001, 80_000])
def test_speed_is_changed_as_librosa_resamples(rng, speed, n_samples):
    librosa = pytest.importorskip("librosa")
    waveform = rng.uniform(-1, 1, n_samples).astype(np.float32)
    resampled = librosa.resample(waveform, orig_sr=speed, target_sr=1, res_type="soxr_hq")
    expected = np.clip(librosa.util.fix_length(resampled, size=n_samples), -1, 1)
    found = change_speed(waveform, speed)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_a_faster_tape_sounds_higher_and_ends_sooner():
    tone = np.sin(2 * np.pi * 1_000 * np.arange(RATE) / RATE).astype(np.float32)
    faster = change_speed(tone, 1.25)  # a second lasts 0.8 s
    assert np.abs(np.fft.rfft(faster[:12_000])).argmax() * RATE / 12_000 == pytest.approx(1_250, abs=2)
    assert not faster[round(0.8 * RATE) + 1 :].any()


def test_its_own_speed_changes_nothing():
    waveform = np.ones(100, np.float32)
    assert change_speed(waveform, 1) is waveform

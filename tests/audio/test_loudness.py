"""Level normalisation of known sounds and streams."""

import numpy as np
import pytest

from esc50.audio import synthesis
from esc50.audio.loudness import LEVEL, level_blocks, set_level

RATE = 16_000


def loudest_rms(waveform, seconds=0.96):
    n = round(seconds * RATE)
    return max(np.sqrt(np.mean(np.square(waveform[i : i + n]))) for i in range(0, max(1, len(waveform) - n + 1), 480))


@pytest.mark.parametrize("decibel", [0, -20, -40])
@pytest.mark.parametrize("make", [synthesis.white_noise, lambda: synthesis.sine(440.0), synthesis.chirp])
def test_a_sound_gets_one_level_whatever_it_had(make, decibel):
    waveform = (make() * 10 ** (decibel / 20)).astype(np.float32)
    levelled = set_level(waveform)
    assert levelled.dtype == np.float32
    assert loudest_rms(levelled) == pytest.approx(LEVEL.target_rms, rel=0.02)
    np.testing.assert_allclose(levelled, set_level(make()), rtol=1e-3, atol=1e-5)


def test_a_clip_gets_one_gain_so_that_its_quiet_parts_stay_quiet():
    waveform = synthesis.white_noise(seconds=5.0)
    waveform[: 2 * RATE] *= 0.01
    gain = set_level(waveform) / waveform
    np.testing.assert_allclose(gain, gain[0], rtol=1e-5)


def test_quiet_parts_far_from_loud_ones_are_amplified():
    waveform = synthesis.white_noise(seconds=30.0)
    waveform[15 * RATE :] *= 0.01
    levelled = set_level(waveform)
    assert loudest_rms(levelled[: 14 * RATE]) == pytest.approx(LEVEL.target_rms, rel=0.02)
    assert loudest_rms(levelled[24 * RATE :]) == pytest.approx(LEVEL.target_rms, rel=0.02)


def test_silence_stays_silent_and_the_gain_is_limited():
    assert not set_level(synthesis.silence()).any()
    faint = synthesis.white_noise() * np.float32(1e-5)
    np.testing.assert_allclose(set_level(faint), LEVEL.max_gain * faint, rtol=1e-5)


@pytest.mark.parametrize("n_samples", [1, 7_680, 7_681, 80_000, 333_333])
@pytest.mark.parametrize("block", [1_000, 7_680, 50_000])
def test_levelling_a_stream_equals_levelling_the_whole(n_samples, block):
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal(n_samples) * np.exp(3 * np.sin(np.arange(n_samples) / 50_000)) / 100
    waveform = waveform.astype(np.float32)
    parts = [*level_blocks(waveform[start : start + block] for start in range(0, n_samples, block))]
    np.testing.assert_array_equal(np.concatenate(parts), set_level(waveform))

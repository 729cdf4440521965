"""Degraded copies: seeds, levels and band-pass filters."""

import numpy as np
import pytest
from helpers import rms

from esc50.audio import synthesis
from esc50.dataset.degradation import DegradationSettings, add_noise, degrade, limit_band, reverberate

RATE = 16_000


def test_the_same_seed_gives_the_same_copy():
    waveform = synthesis.chirp()
    copies = [degrade(waveform, seed=[0, number]) for number in range(8)]
    assert all(np.array_equal(copy, degrade(waveform, seed=[0, i])) for i, copy in enumerate(copies))
    assert sum(not np.array_equal(copy, waveform) for copy in copies) >= 6
    assert all(copy.shape == waveform.shape and copy.dtype == np.float32 for copy in copies)


def test_zero_probabilities_change_nothing():
    nothing = DegradationSettings(reverberation=0, band=0, noise=0)
    np.testing.assert_array_equal(degrade(synthesis.chirp(), seed=0, settings=nothing), synthesis.chirp())


@pytest.mark.parametrize("decibel", [0, 10, 20])
@pytest.mark.parametrize("slope", [0.0, -2.0])
def test_noise_is_as_loud_as_asked_for(decibel, slope):
    waveform = synthesis.sine(440.0)
    noise = add_noise(waveform, decibel=decibel, slope=slope, rng=np.random.default_rng(0)) - waveform
    assert 20 * np.log10(rms(waveform) / rms(noise)) == pytest.approx(decibel, abs=0.1)


def test_reverberation_decays_by_60_decibel_in_its_time():
    impulse = np.zeros(2 * RATE, np.float32)
    impulse[0] = 1
    tail = reverberate(impulse, seconds=1.0, direct_decibel=0.0, rng=np.random.default_rng(0))
    levels = [20 * np.log10(rms(tail[start : start + 1_600])) for start in (1_600, 9_600)]
    assert levels[0] - levels[1] == pytest.approx(30, abs=2)
    assert tail[0] == pytest.approx(1)


def test_a_band_pass_keeps_its_middle():
    low, middle, high = (synthesis.sine(hz) for hz in (60.0, 1_000.0, 7_000.0))
    found = [rms(limit_band(each, low_hz=300, high_hz=3_400)) / rms(each) for each in (low, middle, high)]
    assert found[1] == pytest.approx(1, abs=0.02)
    assert max(found[0], found[2]) < 0.05

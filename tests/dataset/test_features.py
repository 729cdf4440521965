import numpy as np
import pytest

from esc50.audio import synthesis
from esc50.config import LogMelSettings, StatisticsSettings
from esc50.dataset import features


@pytest.mark.slow  # importing librosa
def test_log_mel_of_a_clip_has_126_frames_of_64_bands():
    decibel = features.log_mel(synthesis.sine(440.0))
    assert decibel.shape == (126, 64)
    assert decibel.dtype == np.float32


def test_log_mel_of_silence_lies_on_the_floor():
    assert np.allclose(features.log_mel(synthesis.silence()), LogMelSettings().decibel_min)


@pytest.mark.parametrize("frequency_hz", [200.0, 1000.0, 5000.0])
def test_log_mel_of_a_sine_peaks_in_the_band_of_its_frequency(frequency_hz):
    import librosa

    settings = LogMelSettings()
    centres = librosa.mel_frequencies(settings.mel_bands + 2, fmin=settings.mel_min_hz, fmax=settings.mel_max_hz)[1:-1]
    loudest = features.log_mel(synthesis.sine(frequency_hz))[60].argmax()
    assert abs(loudest - np.abs(centres - frequency_hz).argmin()) <= 1


def test_log_mel_of_an_impulse_is_loud_only_around_it():
    waveform = np.zeros(80_000, np.float32)
    waveform[40_000] = 1.0  # 2.5 s: frame 62 or 63 of 40 ms
    level = features.log_mel(waveform).mean(axis=1)
    assert level.argmax() in (62, 63)
    assert np.allclose(level[:60], LogMelSettings().decibel_min)


def test_quantising_loses_at_most_half_a_step(rng):
    decibel = rng.uniform(-70, 57, size=(100, 64)).astype(np.float32)
    back = features.dequantise(features.quantise(decibel))
    assert np.abs(back - decibel).max() <= LogMelSettings().decibel_step / 2 + 1e-4


def test_quantising_clips_what_is_out_of_range():
    assert features.quantise(np.array([-200.0, 500.0])).tolist() == [0, 255]


def test_mfcc_statistics_tell_a_sine_from_noise():
    log_mels = np.stack([features.log_mel(w) for w in (synthesis.sine(440.0), synthesis.white_noise())])
    statistics = features.mfcc_statistics(log_mels)
    assert statistics.shape == (2, 80)
    assert np.abs(statistics[0] - statistics[1]).max() > 10


def test_mfcc_differences_of_a_steady_picture_are_zero():
    steady = np.broadcast_to(np.linspace(-60, 0, 64, dtype=np.float32), (1, 126, 64))
    assert np.allclose(features.mfcc_statistics(steady)[:, 40:], 0, atol=1e-4)


def test_statistics_of_a_sine():
    found = features.clip_statistics(0.5 * synthesis.sine(1000.0) / np.abs(synthesis.sine(1000.0)).max())
    assert found["peak"] == pytest.approx(0.5, abs=1e-3)
    assert found["rms"] == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert found["rms_decibel"] == pytest.approx(-9.03, abs=0.1)
    assert found["spectral_centroid_hz"] == pytest.approx(1000, rel=0.05)
    assert found["zero_crossing_rate"] == pytest.approx(2 * 1000 / 16_000, rel=0.05)
    assert found["silent_fraction"] == 0
    assert found["trimmed_seconds"] == pytest.approx(5.0, abs=0.03)


def test_statistics_of_silence():
    found = features.clip_statistics(synthesis.silence())
    assert (found["peak"], found["silent_fraction"], found["zero_fraction"], found["trimmed_seconds"]) == (0, 1, 1, 0)
    assert np.isnan(found["spectral_centroid_hz"])


def test_statistics_measure_the_padding():
    waveform = np.zeros(80_000, np.float32)
    waveform[:32_000] = synthesis.white_noise()[:32_000]
    found = features.clip_statistics(waveform)
    assert found["zero_fraction"] == pytest.approx(0.6, abs=0.001)
    assert found["trimmed_seconds"] == pytest.approx(2.0, abs=0.06)


def test_short_runs_of_zeros_are_not_padding():
    waveform = np.tile(np.array([0.5, 0.0, 0.0, -0.5], np.float32), 20_000)
    assert features.clip_statistics(waveform)["zero_fraction"] == 0


def test_envelope_encloses_the_waveform():
    waveform = synthesis.chirp()
    low, high = features.envelope(waveform).T
    hops = waveform.reshape(-1, 320)
    assert len(low) == len(hops) == round(5 / StatisticsSettings().hop_seconds)
    assert np.all(low <= hops.min(axis=1))
    assert np.all(high >= hops.max(axis=1))

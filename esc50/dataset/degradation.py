"""Degrade clips by noise, reverberation and band limits, seeded for each clip."""

from dataclasses import dataclass

import numpy as np

from esc50.config import AudioSettings

RATE_HZ = AudioSettings.sample_rate_hz


@dataclass(frozen=True)
class DegradationSettings:
    """Probability and range of each degradation of training clips; fixed in advance. Ranges are uniform."""

    reverberation: float = 0.5
    decay_seconds: tuple[float, float] = (0.2, 1.0)  # RT60
    direct_decibel: tuple[float, float] = (-6.0, 10.0)  # direct-to-reverberant ratio
    band: float = 0.4
    low_hz: tuple[float, float] = (50.0, 400.0)
    high_hz: tuple[float, float] = (2_500.0, 7_000.0)
    noise: float = 0.6
    noise_decibel: tuple[float, float] = (3.0, 25.0)  # signal-to-noise ratio
    seed: int = 0
    slope: tuple[float, float] = (-2.0, 0.0)  # exponent of the noise power spectrum: brown to white


def degrade(waveform, *, seed, settings=DegradationSettings()):
    """Return a randomly degraded copy of a waveform.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 at 16 kHz.
    seed : int or sequence of int
        Of the random generator.
    settings : DegradationSettings
        Probabilities and ranges.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32; peaks may exceed 1.
    """
    rng, changed = np.random.default_rng(seed), waveform
    if rng.random() < settings.reverberation:
        how = {"seconds": rng.uniform(*settings.decay_seconds), "direct_decibel": rng.uniform(*settings.direct_decibel)}
        changed = reverberate(changed, rng=rng, **how)
    if rng.random() < settings.band:
        changed = limit_band(changed, low_hz=rng.uniform(*settings.low_hz), high_hz=rng.uniform(*settings.high_hz))
    if rng.random() < settings.noise:
        how = {"decibel": rng.uniform(*settings.noise_decibel), "slope": rng.uniform(*settings.slope)}
        changed = add_noise(changed, rng=rng, **how)
    return changed


def reverberate(waveform, *, seconds, direct_decibel, rng):
    """Convolve a waveform (n_samples,) with synthetic reverberation: noise with an RT60 of `seconds`."""
    from scipy.signal import fftconvolve

    times = np.arange(1, round(seconds * RATE_HZ)) / RATE_HZ
    tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    tail /= np.sqrt(np.sum(tail**2))
    response = np.concatenate([[10 ** (direct_decibel / 20)], tail])
    return fftconvolve(waveform, response)[: len(waveform)].astype(np.float32)


def limit_band(waveform, *, low_hz, high_hz):
    """Apply a fourth-order Butterworth band-pass filter; a telephone has 300 to 3,400 Hz."""
    from scipy.signal import butter, sosfilt

    sections = butter(4, [low_hz, high_hz], "bandpass", fs=RATE_HZ, output="sos")
    return sosfilt(sections, waveform).astype(np.float32)


def add_noise(waveform, *, decibel, rng, slope=0.0):
    """Add noise at a signal-to-noise ratio of `decibel`; its power spectrum is frequency ** slope."""
    spectrum = np.fft.rfft(rng.standard_normal(len(waveform)))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (slope / 2)
    noise = np.fft.irfft(spectrum, len(waveform))
    rms = [np.sqrt(np.mean(np.square(each, dtype=np.float64))) for each in (waveform, noise)]
    return (waveform + noise * (rms[0] / rms[1] * 10 ** (-decibel / 20))).astype(np.float32)

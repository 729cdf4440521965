"""Sounds made by code: known ones for tests, and examples that the project may ship, unlike the clips of ESC-50."""

import numpy as np

from esc50.config import AudioSettings
from esc50.errors import AudioError

AUDIO = AudioSettings()
EXAMPLE_PEAK = 0.8


def silence(*, seconds=AUDIO.clip_seconds):
    """Digital silence.

    Parameters
    ----------
    seconds : float
        Length.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Zeros, float32, at 16 kHz.
    """
    return np.zeros_like(_times(seconds), dtype=np.float32)


def sine(frequency_hz, *, seconds=AUDIO.clip_seconds, amplitude=0.5):
    """Pure tone.

    Parameters
    ----------
    frequency_hz : float
        Frequency, at most half the sample rate.
    seconds : float
        Length.
    amplitude : float
        Peak, 0 to 1.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 in [-1, 1] at 16 kHz; starts at zero, rising.

    Raises
    ------
    AudioError
        If 16 kHz cannot hold the frequency.
    """
    if not 0 < frequency_hz <= AUDIO.sample_rate_hz / 2:
        raise AudioError(f"no tone of {frequency_hz} Hz at 16 kHz: choose a frequency up to 8000 Hz")
    return (amplitude * np.sin(2 * np.pi * frequency_hz * _times(seconds))).astype(np.float32)


def white_noise(*, seconds=AUDIO.clip_seconds, amplitude=0.5, seed=0):
    """Noise with equal power at all frequencies.

    Parameters
    ----------
    seconds : float
        Length.
    amplitude : float
        Highest possible sample, 0 to 1; samples are uniform between it and its negative.
    seed : int
        The same seed gives the same noise.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 in [-1, 1] at 16 kHz.
    """
    samples = np.random.default_rng(seed).uniform(-amplitude, amplitude, len(_times(seconds)))
    return samples.astype(np.float32)


def impulse(*, seconds=AUDIO.clip_seconds, at_seconds=0.0, amplitude=1.0):
    """One sample in silence.

    Parameters
    ----------
    seconds : float
        Length.
    at_seconds : float
        Where the sample stands.
    amplitude : float
        Its value, -1 to 1.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 in [-1, 1] at 16 kHz.
    """
    waveform = silence(seconds=seconds)
    waveform[round(at_seconds * AUDIO.sample_rate_hz)] = amplitude
    return waveform


def chirp(*, start_hz=100.0, end_hz=7_000.0, seconds=AUDIO.clip_seconds, amplitude=0.5):
    """Tone whose frequency moves evenly from one end to the other.

    Parameters
    ----------
    start_hz, end_hz : float
        Frequency at the start and at the end.
    seconds : float
        Length.
    amplitude : float
        Peak, 0 to 1.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 in [-1, 1] at 16 kHz.
    """
    times = _times(seconds)
    frequency_hz = start_hz + (end_hz - start_hz) * times / seconds  # (n_samples,)
    return (amplitude * np.sin(_phase(frequency_hz))).astype(np.float32)


def example(name, *, seconds=AUDIO.clip_seconds, seed=0):
    """Imitate an ESC-50 class well enough for YAMNet to name it.

    Parameters
    ----------
    name : str
        A key of `EXAMPLES`: a class name of ESC-50.
    seconds : float
        Length.
    seed : int
        The same seed gives the same sound, another a variation of it.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 in [-1, 1] at 16 kHz, peak 0.8.

    Raises
    ------
    AudioError
        If there is no example of that name.
    """
    if name not in EXAMPLES:
        raise AudioError(f"no example named {name!r}: choose from {', '.join(sorted(EXAMPLES))}")
    return EXAMPLES[name](seconds=seconds, seed=seed)


def _times(seconds):
    return np.arange(round(seconds * AUDIO.sample_rate_hz)) / AUDIO.sample_rate_hz  # (n_samples,)


def _phase(frequency_hz):
    """Phase of a tone of changing frequency (n_samples,), in radians."""
    return 2 * np.pi * np.cumsum(frequency_hz) / AUDIO.sample_rate_hz


def _scaled(waveform):
    return (EXAMPLE_PEAK * waveform / np.abs(waveform).max()).astype(np.float32)


def _band_noise(rng, seconds, low_hz, high_hz, *, slope=0.0):
    """Noise between two frequencies, falling by `slope` decibels an octave."""
    n_samples = len(_times(seconds))
    frequencies = np.fft.rfftfreq(n_samples, 1 / AUDIO.sample_rate_hz)
    gain = np.where((frequencies >= low_hz) & (frequencies <= high_hz), 1.0, 0.0)
    gain *= np.maximum(frequencies, 20.0) ** (-slope / 6.02)
    noise = np.fft.irfft(gain * np.fft.rfft(rng.standard_normal(n_samples)), n_samples)
    return noise / np.std(noise)


def _ringing(seconds, partials):
    """Sum of decaying tones, given as (frequency in Hz, decay time in seconds, amplitude)."""
    times = _times(seconds)
    return sum(
        amplitude * np.exp(-times / decay) * np.sin(2 * np.pi * frequency_hz * times)
        for frequency_hz, decay, amplitude in partials
    )


def _struck(seconds, onsets, hit):
    """Repeat a hit (n_hit,) at each onset, in seconds."""
    waveform = np.zeros(len(_times(seconds)) + len(hit))
    for onset in np.asarray(onsets)[np.asarray(onsets) < seconds]:
        start = round(onset * AUDIO.sample_rate_hz)
        waveform[start : start + len(hit)] += hit
    return waveform[: len(_times(seconds))]


EXAMPLES = {}

"""Synthesised sounds: test signals, and examples that ship in place of ESC-50's clips (not free to redistribute)."""

import numpy as np

from esc50.config import AudioError, AudioSettings

AUDIO = AudioSettings()
EXAMPLE_PEAK = 0.8


def silence(*, seconds: float = AUDIO.clip_seconds) -> np.ndarray:
    """Return digital silence.

    Parameters
    ----------
    seconds : float
        Length.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Zeros, float32 at 16 kHz.
    """
    return np.zeros_like(_times(seconds), dtype=np.float32)


def sine(frequency_hz: float, *, seconds: float = AUDIO.clip_seconds, amplitude: float = 0.5) -> np.ndarray:
    """Return a pure tone with phase zero at the start.

    Parameters
    ----------
    frequency_hz : float
        Above 0, at most 8,000 Hz.
    seconds : float
        Length.
    amplitude : float
        Peak.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 at 16 kHz.

    Raises
    ------
    AudioError
        If the frequency is out of range.
    """
    if not 0 < frequency_hz <= AUDIO.sample_rate_hz / 2:
        raise AudioError(f"no tone of {frequency_hz} Hz at 16 kHz: choose a frequency up to 8000 Hz")
    return (amplitude * np.sin(2 * np.pi * frequency_hz * _times(seconds))).astype(np.float32)


def white_noise(*, seconds: float = AUDIO.clip_seconds, amplitude: float = 0.5, seed: int = 0) -> np.ndarray:
    """Return white noise, uniform in [-amplitude, amplitude].

    Parameters
    ----------
    seconds : float
        Length.
    amplitude : float
        Largest absolute sample.
    seed : int
        Of the random generator.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 at 16 kHz.
    """
    samples = np.random.default_rng(seed).uniform(-amplitude, amplitude, len(_times(seconds)))
    return samples.astype(np.float32)


def impulse(*, seconds: float = AUDIO.clip_seconds, at_seconds: float = 0.0, amplitude: float = 1.0) -> np.ndarray:
    """Return silence with one sample at `amplitude`.

    Parameters
    ----------
    seconds : float
        Length.
    at_seconds : float
        Time of the impulse.
    amplitude : float
        Value of the sample.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 at 16 kHz.

    Raises
    ------
    AudioError
        If the time is outside the sound.
    """
    if not 0 <= at_seconds < seconds:
        raise AudioError(f"no impulse at {at_seconds} s in a sound of {seconds} s: choose a time inside it")
    waveform = silence(seconds=seconds)
    waveform[round(at_seconds * AUDIO.sample_rate_hz)] = amplitude
    return waveform


def chirp(
    *, start_hz: float = 100.0, end_hz: float = 7_000.0, seconds: float = AUDIO.clip_seconds, amplitude: float = 0.5
) -> np.ndarray:
    """Return a linear chirp.

    Parameters
    ----------
    start_hz, end_hz : float
        Frequency at the start and at the end.
    seconds : float
        Length.
    amplitude : float
        Peak.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 at 16 kHz.
    """
    frequency_hz = start_hz + (end_hz - start_hz) * _times(seconds) / seconds  # (n_samples,)
    return (amplitude * np.sin(_phase(frequency_hz))).astype(np.float32)


def example(name: str, *, seconds: float = AUDIO.clip_seconds, seed: int = 0) -> np.ndarray:
    """Synthesise a sound of an ESC-50 class that YAMNet classifies correctly.

    Parameters
    ----------
    name : str
        A key of `EXAMPLES`: a class name of ESC-50.
    seconds : float
        Length.
    seed : int
        Of the random variation.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 at 16 kHz, peak 0.8.

    Raises
    ------
    AudioError
        If the name is not in `EXAMPLES`.
    """
    if name not in EXAMPLES:
        raise AudioError(f"no example named {name!r}: choose from {', '.join(sorted(EXAMPLES))}")
    waveform = EXAMPLES[name](seconds, np.random.default_rng(seed))
    return (EXAMPLE_PEAK * waveform / np.abs(waveform).max()).astype(np.float32)


def _times(seconds):
    n_samples = round(seconds * AUDIO.sample_rate_hz)
    if n_samples < 1:
        raise AudioError(f"a sound cannot last {seconds} s: choose a length above zero")
    return np.arange(n_samples) / AUDIO.sample_rate_hz  # (n_samples,)


def _phase(frequency_hz):
    """Return the phase in radians of a tone with frequencies (n_samples,)."""
    return 2 * np.pi * np.cumsum(frequency_hz) / AUDIO.sample_rate_hz


def _harmonics(phase, n_harmonics, tilt):
    """Return a sum of harmonics; the k-th has amplitude k ** -tilt."""
    return sum(np.sin(k * phase) * k**-tilt for k in range(1, n_harmonics + 1))


def _noise(rng, seconds, low_hz=50, high_hz=7_000, slope=4.0):
    """Return band-limited noise of unit power that falls by `slope` dB per octave."""
    n_samples = len(_times(seconds))
    frequency_hz = np.fft.rfftfreq(n_samples, 1 / AUDIO.sample_rate_hz)
    gain = (frequency_hz >= low_hz) & (frequency_hz <= high_hz)
    gain = gain * np.maximum(frequency_hz, 20.0) ** (-slope / 6.02)
    noise = np.fft.irfft(gain * np.fft.rfft(rng.standard_normal(n_samples)), n_samples)
    return noise / max(np.std(noise), 1e-9)


def _ringing(seconds, partials):
    """Return a sum of decaying tones, each given as (frequency in Hz, decay in seconds, amplitude)."""
    times = _times(seconds)
    tones = [level * np.exp(-times / decay) * np.sin(2 * np.pi * hz * times) for hz, decay, level in partials]
    return np.sum(tones, axis=0)


def _burst(rng, seconds, decay, low_hz, high_hz, slope):
    """Return exponentially decaying noise, as of an impact."""
    return _noise(rng, seconds, low_hz, high_hz, slope) * np.exp(-_times(seconds) / decay)


def _at(seconds, onset, hit):
    """Return silence with `hit` (n_hit,) at an onset, truncated at the end."""
    waveform = np.zeros(len(_times(seconds)) + len(hit))
    start = min(round(onset * AUDIO.sample_rate_hz), len(waveform) - len(hit))
    waveform[start : start + len(hit)] = hit
    return waveform[: len(waveform) - len(hit)]


def _in_room(rng, waveform, decay, wet):
    """Add reverberation: noise with decay time `decay` in seconds and level `wet` relative to the sound."""
    echo = rng.standard_normal(round(3 * decay * AUDIO.sample_rate_hz))
    echo *= np.exp(-np.arange(len(echo)) / (decay * AUDIO.sample_rate_hz))
    echo *= wet / np.linalg.norm(echo)
    n_samples = len(waveform) + len(echo)
    spectrum = np.fft.rfft(waveform, n_samples) * np.fft.rfft(echo, n_samples)
    return waveform + np.fft.irfft(spectrum, n_samples)[: len(waveform)]


def _car_horn(seconds, rng):
    times = _times(seconds)
    honk = np.convolve(times % 1.26 < 0.73, np.ones(300) / 300)[: len(times)]
    chord = sum(_harmonics(2 * np.pi * hz * times + rng.uniform(0, 6), 15, 0.2) for hz in (382, 462))
    return _in_room(rng, honk * chord, 0.14, 0.36) + 0.005 * _noise(rng, seconds)


def _chirping_birds(seconds, rng):
    waveform = 0.004 * _noise(rng, seconds)
    for onset in np.arange(0.2, seconds, 0.45):
        times = _times(rng.uniform(0.08, 0.15))
        sweep_hz = rng.uniform(3_000, 4_500) + rng.uniform(-1_500, 1_500) * times / times[-1]
        trill_hz = 150 * np.sin(2 * np.pi * 40 * times)
        chirp = np.hanning(len(times)) * np.sin(_phase(sweep_hz + trill_hz))
        waveform += _at(seconds, onset, chirp)
    return waveform


CHURCH_BELL = (  # frequency relative to the strike note, decay and amplitude of each partial
    *((0.5, 1.5, 0.4), (1, 1, 1), (1.183, 0.7, 0.44), (1.506, 0.5, 0.26), (2, 0.5, 0.6), (2.01, 0.45, 0.9)),
    *((2.514, 0.3, 0.4), (2.662, 0.3, 0.7), (3.011, 0.25, 0.75), (4.166, 0.18, 0.9), (5.433, 0.12, 0.65)),
)


def _church_bells(seconds, rng):
    waveform = 0.1 * _noise(rng, seconds)
    for onset in np.arange(0.05, seconds, 1.35):
        strike_hz = 620 * rng.uniform(0.97, 1.03)
        bell = _ringing(4.0, [(strike_hz * ratio, 0.6 * decay, level) for ratio, decay, level in CHURCH_BELL])
        waveform += _at(seconds, onset, bell)
    return _in_room(rng, waveform, 0.77, 0.7)


def _clock_tick(seconds, rng):
    hit = _ringing(0.1, [(3_600, 0.0023, 1), (5_570, 0.0047, 0.5), (633, 0.0044, 0.3)])
    hit += 0.8 * _burst(rng, 0.1, 0.0025, 1_000, 7_500, 0)
    waveform = 0.01 * _noise(rng, seconds)
    for k, onset in enumerate(np.arange(0.1, seconds, 0.487)):
        waveform += _at(seconds, onset, (1, 0.75)[k % 2] * hit)  # tick, tock
    return _in_room(rng, waveform, 0.02, 0.5)


def _door_wood_knock(seconds, rng):
    waveform = 0.0004 * _noise(rng, seconds)
    partials = ((1, 1, 1), (1.72, 0.8, 0.84), (2.9, 0.5, 0.6), (4.7, 0.3, 0.4), (8.1, 0.15, 0.57))
    for onset in [start + 0.24 * k for start in np.arange(0.2, seconds, 1.32) for k in range(3)]:
        base_hz = 114 * rng.uniform(0.98, 1.02)
        hit = _ringing(0.3, [(base_hz * ratio, 0.016 * decay, level) for ratio, decay, level in partials])
        hit += 0.7 * _burst(rng, 0.3, 0.013, 100, 2_600, 3)
        waveform += _at(seconds, onset, hit * rng.uniform(0.8, 1))
    return _in_room(rng, waveform, 0.043, 0.08)


def _helicopter(seconds, rng):
    times = _times(seconds)
    since_blade = (17.5 * times) % 1
    blades = (0.16 + np.exp(-since_blade / 0.36)) * _noise(rng, seconds, 109, 4_830, 4.1)
    return blades + 0.17 * _harmonics(2 * np.pi * 885 * times, 4, 1)


def _keyboard_typing(seconds, rng):
    waveform, onset = 0.01 * _noise(rng, seconds), 0.1
    while onset < seconds:
        down, up = (_burst(rng, 0.15, 0.005, 880, 8_000, 2.5) for _ in range(2))
        key = _ringing(0.15, [(rng.uniform(200, 450), 0.01, 0.3)])
        waveform += _at(seconds, onset, rng.uniform(0.4, 1) * down + key)
        waveform += _at(seconds, onset + rng.uniform(0.05, 0.1), 0.65 * up)
        onset += rng.uniform(0.08, 0.25)
    return _in_room(rng, waveform, 0.017, 0.4)


def _rain(seconds, rng):
    drops = np.zeros(len(_times(seconds)))
    hits = rng.integers(0, len(drops), round(1_500 * seconds))
    drops[hits] = rng.exponential(1, len(hits)) * rng.choice([-1, 1], len(hits))
    splash = _ringing(0.02, [(3_000, 0.0003, 1)])
    return 2.3 * np.convolve(drops, splash)[: len(drops)] + 0.86 * _noise(rng, seconds, 300, 8_000, 1.5)


def _sea_waves(seconds, rng):
    swell = (_times(seconds) / 2.9 + rng.uniform()) % 1
    level = 0.29 + 4 * swell**1.28 * (1 - swell) ** 1.37
    hiss = level**2 * _noise(rng, seconds, 1_000, 8_000, 2.75)
    return level * _noise(rng, seconds, 140, 3_160, 3.9) + 0.47 * hiss


def _siren(seconds, rng):
    frequency_hz = 777 - 211 * np.cos(2 * np.pi * rng.uniform(2.3, 2.7) * _times(seconds))
    return _in_room(rng, _harmonics(_phase(frequency_hz), 5, 1.32), 0.22, 0.7)


_MAKERS = (_car_horn, _chirping_birds, _church_bells, _clock_tick, _door_wood_knock, _helicopter)
_MAKERS += (_keyboard_typing, _rain, _sea_waves, _siren)
EXAMPLES = {maker.__name__.removeprefix("_"): maker for maker in _MAKERS}

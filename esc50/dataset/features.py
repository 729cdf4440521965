"""Classical audio features: log-mel spectrograms, MFCC and clip statistics, envelopes."""

import numpy as np

from esc50.config import LogMelSettings, StatisticsSettings


def log_mel(waveform, *, settings=LogMelSettings()):
    """Compute the log-mel spectrogram of one waveform.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1] at ``settings.sample_rate_hz``.
    settings : LogMelSettings
        Window, hop and mel bands.

    Returns
    -------
    np.ndarray, shape (n_frames, mel_bands)
        Power in decibels, not below ``settings.decibel_min``; float32.
    """
    import librosa

    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=settings.sample_rate_hz,
        n_fft=_samples(settings.window_seconds, settings),
        hop_length=_samples(settings.hop_seconds, settings),
        n_mels=settings.mel_bands,
        fmin=settings.mel_min_hz,
        fmax=settings.mel_max_hz,
    )  # (mel_bands, n_frames)
    decibel = librosa.power_to_db(power, ref=1.0, amin=10 ** (settings.decibel_min / 10), top_db=None)
    return decibel.T.astype(np.float32)  # (n_frames, mel_bands)


def quantise(decibel, *, settings=LogMelSettings()):
    """Quantise a log-mel spectrogram to 256 levels for storage.

    Parameters
    ----------
    decibel : np.ndarray, any shape
        Decibels from `log_mel`.
    settings : LogMelSettings
        Lowest level and step, both in decibels.

    Returns
    -------
    np.ndarray, same shape
        uint8; ``decibel_min + level * decibel_step`` is within half a step of the input.
    """
    level = np.rint((decibel - settings.decibel_min) / settings.decibel_step)
    return np.clip(level, 0, 255).astype(np.uint8)


def dequantise(level, *, settings=LogMelSettings()):
    """Convert stored levels to decibels, the inverse of `quantise` up to half a step.

    Parameters
    ----------
    level : np.ndarray, any shape
        uint8 levels.
    settings : LogMelSettings
        Lowest level and step, both in decibels.

    Returns
    -------
    np.ndarray, same shape
        Decibels, float32.
    """
    return (settings.decibel_min + settings.decibel_step * level.astype(np.float32)).astype(np.float32)


def mfcc_statistics(decibel, *, settings=StatisticsSettings()):
    """Compute the mean and standard deviation over time of the MFCCs and of their first difference.

    They follow the baselines of the ESC-50 paper (Piczak 2015, section 4).

    Parameters
    ----------
    decibel : np.ndarray, shape (n_clips, n_frames, mel_bands)
        Log-mels in decibels.
    settings : StatisticsSettings
        Number of coefficients.

    Returns
    -------
    np.ndarray, shape (n_clips, 4 * mfcc_coefficients)
        Float32.
    """
    import librosa

    mfcc = librosa.feature.mfcc(S=np.swapaxes(decibel, 1, 2), n_mfcc=settings.mfcc_coefficients)
    # (n_clips, mfcc_coefficients, n_frames)
    difference = np.diff(mfcc, axis=2)
    parts = [f(x, axis=2) for x in (mfcc, difference) for f in (np.mean, np.std)]
    return np.concatenate(parts, axis=1).astype(np.float32)  # (n_clips, 4 * mfcc_coefficients)


def clip_statistics(waveform, *, settings=StatisticsSettings()):
    """Compute level, silence and spectral statistics of one clip.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1] at ``settings.sample_rate_hz``.
    settings : StatisticsSettings
        Window, hop and silence threshold.

    Returns
    -------
    dict of str to float
        ``peak`` and ``rms`` (full scale is 1), ``rms_decibel`` (dBFS), ``trimmed_seconds`` (from the first to the last
        frame that is not silent), ``silent_fraction`` (of all frames), ``zero_fraction`` (samples in runs of zeros of
        at least one window: the padding), ``spectral_centroid_hz``, ``spectral_rolloff_hz`` (85 % of the energy) and
        ``zero_crossing_rate`` (per sample). The last three are means over frames that are not silent, and NaN if all
        frames are.
    """
    import librosa

    frame, hop = (_samples(s, settings) for s in (settings.window_seconds, settings.hop_seconds))
    frame_rms = librosa.feature.rms(y=waveform, frame_length=frame, hop_length=hop)[0]  # (n_frames,)
    loud = np.flatnonzero(_decibel(frame_rms) >= settings.silence_decibel)
    rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    return {
        "peak": float(np.max(np.abs(waveform))),
        "rms": rms,
        "rms_decibel": float(_decibel(rms)),
        "trimmed_seconds": float((loud[-1] - loud[0] + 1) * settings.hop_seconds) if loud.size else 0.0,
        "silent_fraction": 1.0 - loud.size / frame_rms.size,
        "zero_fraction": _zero_run_fraction(waveform, frame),
        **_spectral_means(waveform, frame, hop, loud, settings),
    }


def envelope(waveform, *, settings=StatisticsSettings()):
    """Compute the lowest and highest sample of each hop, to plot the waveform without the audio.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1].
    settings : StatisticsSettings
        The hop in seconds.

    Returns
    -------
    np.ndarray, shape (n_hops, 2)
        Minimum and maximum, in [-1, 1].
    """
    hop = _samples(settings.hop_seconds, settings)
    n_hops = -(-waveform.size // hop)
    padded = np.pad(waveform, (0, n_hops * hop - waveform.size)).reshape(n_hops, hop)
    low_high = np.stack([padded.min(axis=1), padded.max(axis=1)], axis=1)  # (n_hops, 2)
    return np.clip(low_high, -1, 1)


def _samples(seconds, settings):
    return round(seconds * settings.sample_rate_hz)


def _decibel(amplitude):
    return 20 * np.log10(np.maximum(amplitude, 1e-10))


def _zero_run_fraction(waveform, shortest_run):
    edges = np.flatnonzero(np.diff(np.r_[0, waveform == 0, 0].astype(np.int8)))  # alternating starts and ends
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= shortest_run].sum() / waveform.size)


def _spectral_means(waveform, frame, hop, loud, settings):
    import librosa

    magnitude = np.abs(librosa.stft(waveform, n_fft=frame, hop_length=hop))[:, loud]  # (n_bins, n_loud)
    rate = settings.sample_rate_hz
    per_frame = {
        "spectral_centroid_hz": librosa.feature.spectral_centroid(S=magnitude, sr=rate),
        "spectral_rolloff_hz": librosa.feature.spectral_rolloff(S=magnitude, sr=rate),
        "zero_crossing_rate": librosa.feature.zero_crossing_rate(waveform, frame_length=frame, hop_length=hop)[:, loud],
    }
    return {name: float(values.mean()) if loud.size else float("nan") for name, values in per_frame.items()}

"""Effects on waveforms."""

from math import ceil

import numpy as np
import soxr


def change_speed(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Change the playback speed, and with it the pitch, and keep the length.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1].
    speed : float
        Values above 1 are faster and higher.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        Float32 in [-1, 1], truncated or padded with zeros at the end.
    """
    if speed == 1:
        return waveform
    n_played = min(len(waveform), ceil(len(waveform) * (1 / speed)))
    played = soxr.resample(waveform, speed, 1, quality="HQ")[:n_played]
    return np.clip(np.pad(played, (0, len(waveform) - len(played))), -1, 1)

"""Changes to waveforms."""

from math import ceil

import numpy as np
import soxr


def change_speed(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Play a waveform faster and higher, or slower and lower, as a tape would; of the same length as before.

    Parameters
    ----------
    waveform : np.ndarray, shape (n_samples,)
        Mono float32 in [-1, 1].
    speed : float
        Above 1 is faster.

    Returns
    -------
    np.ndarray, shape (n_samples,)
        The end is cut off, or zeros are put behind it.
    """
    if speed == 1:
        return waveform
    n_played = min(len(waveform), ceil(len(waveform) * (1 / speed)))
    played = soxr.resample(waveform, speed, 1, quality="HQ")[:n_played]
    return np.clip(np.pad(played, (0, len(waveform) - len(played))), -1, 1)

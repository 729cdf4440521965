"""Changes to waveforms."""

import numpy as np


def change_speed(waveform, speed):
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
    import librosa

    if speed == 1:
        return waveform
    changed = librosa.resample(waveform, orig_sr=speed, target_sr=1, res_type="soxr_hq")
    return np.clip(librosa.util.fix_length(changed, size=len(waveform)), -1, 1)

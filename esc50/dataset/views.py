"""Views of a sound, one vector each: the maximum of every YAMNet activation over the active frames."""

import numpy as np

from esc50.audio.effects import change_speed
from esc50.audio.loudness import set_level
from esc50.config import ViewSettings
from esc50.yamnet.frames import active_frames
from esc50.yamnet.runtime import load_runtime

FAINT = 1e-4  # -80 dBFS: quieter parts at both ends are not looped


def compute_views(waveforms, *, settings=ViewSettings(), progress=False):
    """Compute one view of each waveform; lengths may differ.

    Parameters
    ----------
    waveforms : sequence of np.ndarray, each of shape (n_samples,)
        Mono float32 in [-1, 1] at 16 kHz.
    settings : ViewSettings
        Layers, the last of which must be 14, speed, level and looping.
    progress : bool
        Show a progress bar.

    Returns
    -------
    np.ndarray, shape (n_waveforms, size)
        Float16 maxima over the active frames, or over all frames if none is active.
    """
    from tqdm.auto import tqdm

    bar = tqdm(waveforms, desc="views", unit="clip", disable=not progress)
    return np.stack([embed_view(make_view(waveform, settings), settings) for waveform in bar]).astype(np.float16)


def make_view(waveform, settings):
    """Return the waveform (n_samples,) of a view, level-normalised."""
    changed = loop(waveform) if settings.looped else change_speed(waveform, settings.speed)
    return set_level(changed, settings=settings.level)


def embed_view(waveform, settings):
    """Return the maxima (size,) over the active frames of a level-normalised waveform."""
    frames = load_runtime().embed(waveform, layers=settings.layers)  # (n_frames, size)
    active = active_frames(frames)
    return frames[active if active.any() else slice(None)].max(axis=0)


def loop(waveform):
    """Repeat the sound without its leading and trailing silence, to the same length (n_samples,)."""
    loud = np.flatnonzero(np.abs(waveform) > FAINT)
    return np.resize(waveform[loud[0] : loud[-1] + 1], len(waveform)) if len(loud) else waveform

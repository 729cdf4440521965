"""Views of a sound, one vector each: the largest of every activation of YAMNet over the frames with sound in them."""

import numpy as np

from esc50.audio.effects import change_speed
from esc50.audio.loudness import set_level
from esc50.config import ViewSettings
from esc50.dataset.degradation import degrade
from esc50.yamnet.frames import active_frames
from esc50.yamnet.runtime import load_runtime

FAINT = 1e-4  # -80 dB of full scale: what is below, before and behind the sound, is left out of a loop


def compute_views(waveforms, *, settings=ViewSettings(), progress=False):
    """One view of each of many waveforms, which may differ in length.

    Parameters
    ----------
    waveforms : sequence of np.ndarray, each of shape (n_samples,)
        Mono float32 in [-1, 1] at 16 kHz.
    settings : ViewSettings
        Speed, level, and whether sounds are looped or degraded.
    progress : bool
        Show a progress bar.

    Returns
    -------
    activations : np.ndarray, shape (n_waveforms, 1, size)
        Float16; maxima over the active frames, of all frames where none is active.
    embeddings : np.ndarray, shape (n_waveforms, 1, 1024)
        Float16; YAMNet's embedding averaged over the same frames.
    """
    from tqdm.auto import tqdm

    bar = tqdm(waveforms, desc="views", unit="clip", disable=not progress)
    found = [embed_view(make_view(waveform, settings, number), settings.layers) for number, waveform in enumerate(bar)]
    return tuple(np.stack(part).astype(np.float16)[:, np.newaxis] for part in zip(*found, strict=True))


def make_view(waveform, settings, number=0):
    """The waveform of a view; `number` of the clip seeds what degrades it."""
    changed = loop(waveform) if settings.looped else change_speed(waveform, settings.speed)
    if how := settings.degradation:
        changed = degrade(changed, seed=[how.seed, number], settings=how)
    return set_level(changed, settings=settings.level)


def embed_view(waveform, layers):
    """Maxima (size,) of the active frames of a levelled waveform, and their mean embedding (1024,)."""
    frames = load_runtime().embed(waveform, layers=layers)  # (n_frames, size)
    active = active_frames(frames)
    counted = frames[active] if active.any() else frames
    return counted.max(axis=0), counted[:, -1024:].mean(axis=0)


def loop(waveform):
    """Repeat the sound (n_samples,), without the silence before and behind it, until the waveform is full."""
    loud = np.flatnonzero(np.abs(waveform) > FAINT)
    return np.resize(waveform[loud[0] : loud[-1] + 1], len(waveform)) if len(loud) else waveform

"""Frames of YAMNet: padding, patches, golden values, and which frames are active. Needs numpy alone."""

import functools
import hashlib
from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path

import numpy as np

from esc50.config import AudioError, YamnetError, YamnetSettings

SETTINGS = YamnetSettings()
HOP_SAMPLES, PATCH_SAMPLES = SETTINGS.hop_samples, SETTINGS.patch_samples
MEL_FRAMES_PER_HOP = round(SETTINGS.patch_hop_seconds / SETTINGS.stft_hop_seconds)
SILENCE_LIKENESS = 0.5  # cosine to the embedding of silence above which a frame is silent: see notebook 03
GOLDEN_FILE = Path(__file__).with_name("golden.npz")  # made by tests/make_golden.py
GOLDEN_TOLERANCE = 1e-4
GOLDEN_SECONDS = 3.0
GOLDEN_AMPLITUDE = 0.5
GOLDEN_SINE_HZ = 2_000.0  # at 440 Hz YAMNet hears a telephone, at 1 kHz a beep
GOLDEN_CHIRP_HZ = (100.0, 7_000.0)
GOLDEN_NOISE = 0.01


def pad_waveform(waveform: np.ndarray) -> np.ndarray:
    """Pad with zeros at the end as YAMNet does, so that every sample is covered by a whole patch.

    The rule of ``pad_waveform`` in tensorflow/models, research/audioset/yamnet/features.py: at least one
    patch (0.975 s), then a whole number of patch hops (0.48 s).

    Parameters
    ----------
    waveform : np.ndarray, shape (..., n_samples)
        Waveform at 16 kHz, or a batch of them.

    Returns
    -------
    np.ndarray, shape (..., n_padded_samples)
        Same dtype; ``n_patches(n_samples)`` patches fit exactly.
    """
    n_samples = waveform.shape[-1]
    n_padded = PATCH_SAMPLES + (n_patches(n_samples) - 1) * HOP_SAMPLES
    widths = [(0, 0)] * (waveform.ndim - 1) + [(0, n_padded - n_samples)]
    return np.pad(waveform, widths)  # (..., n_padded_samples)


def n_patches(n_samples: int) -> int:
    """Count YAMNet's frames of a waveform before padding: 10 for a clip of 5 s, never below 1."""
    return 1 + ceil(max(0, n_samples - PATCH_SAMPLES) / HOP_SAMPLES)


def active_frames(embeddings: np.ndarray) -> np.ndarray:
    """Tell frames with sound from digital silence, whose embedding is seven times as long as others.

    Parameters
    ----------
    embeddings : np.ndarray, shape (..., 1024 or more)
        YAMNet's embeddings; of longer vectors, such as those of all layers, the last 1,024 numbers.

    Returns
    -------
    np.ndarray of bool, shape (...)
        False where the cosine to the embedding of silence is above 0.5, the valley between the two kinds of
        frames that notebook 03 shows.
    """
    silent = silent_embedding()  # (1024,)
    embeddings = embeddings[..., -len(silent) :].astype(np.float32, copy=False)  # squares overflow float16
    lengths = np.linalg.norm(embeddings, axis=-1) * np.linalg.norm(silent)
    return embeddings @ silent <= SILENCE_LIKENESS * lengths


def silent_embedding() -> np.ndarray:
    """YAMNet's embedding of digital silence, (1024,)."""
    return _golden(GOLDEN_FILE)["silence"]


def check_waveform(waveform: np.ndarray, *, name: str = "the waveform", peak: float = 1.0) -> None:
    """Refuse, by an `AudioError`, what is not mono float32 up to a peak, or is empty or not finite."""
    advice = "read sound with esc50.audio.sound.load_sound"
    if not isinstance(waveform, np.ndarray) or waveform.dtype != np.float32:
        raise AudioError(f"{name} is {getattr(waveform, 'dtype', type(waveform))}, not a float32 array: {advice}")
    if waveform.ndim != 1 or len(waveform) == 0:
        raise AudioError(f"{name} has shape {waveform.shape}, not (n_samples,): {advice}")
    found = np.abs(waveform).max()
    if not found <= peak or np.isinf(found):  # written so that NaN fails
        raise AudioError(f"{name} has the peak {found}, not within [-1, 1]: {advice}")


def equally_long(waveforms: Iterable[np.ndarray], *, peak: float = 1.0) -> Iterator[np.ndarray]:
    """Yield clips as they come; an `AudioError` for a bad one, one of another length than the first, and none."""
    first_length = None
    for index, waveform in enumerate(waveforms):
        check_waveform(waveform, name=f"clip {index}", peak=peak)
        first_length = first_length or len(waveform)
        if len(waveform) != first_length:
            raise AudioError(
                f"clip {index} has {len(waveform)} samples, the first has {first_length}: "
                "pad them to one length, or embed each alone"
            )
        yield waveform
    if first_length is None:
        raise AudioError("no clips to embed: give at least one waveform")


def overlapping_parts(waveforms: np.ndarray, *, n_frames: int) -> Iterator[np.ndarray]:
    """Cut waveforms (..., n_samples) into parts of so many patches that hold the patches of the whole."""
    n_samples = waveforms.shape[-1]
    n_all = n_patches(n_samples)
    for first in range(0, n_all, n_frames):
        last = first + n_frames - 1
        end = last * HOP_SAMPLES + PATCH_SAMPLES if last < n_all - 1 else n_samples
        yield waveforms[..., first * HOP_SAMPLES : end]


def yamnet_fingerprint() -> str:
    """First 16 hexadecimal digits of the SHA-256 of the golden embeddings, stored beside models built on YAMNet."""
    return hashlib.sha256(golden_embeddings().tobytes()).hexdigest()[:16]


def golden_embeddings() -> np.ndarray:
    """YAMNet's embeddings of `chirp`, (6, 1024), which every YAMNet that is loaded must give within 1e-4."""
    return _golden(GOLDEN_FILE)["embeddings"].copy()  # the cached array stays as it is


@functools.cache
def _golden(path):
    try:
        with np.load(path) as golden:
            return dict(golden)
    except FileNotFoundError:
        raise YamnetError(f"no golden values {path}: restore the file with git, or install esc50 again") from None


def silence() -> np.ndarray:
    """Three seconds of digital silence, (48000,)."""
    return np.zeros_like(_golden_seconds(), dtype=np.float32)


def sine() -> np.ndarray:
    """Three seconds of a sine of 2 kHz, (48000,)."""
    return (GOLDEN_AMPLITUDE * np.sin(2 * np.pi * GOLDEN_SINE_HZ * _golden_seconds())).astype(np.float32)


def chirp() -> np.ndarray:
    """Three seconds of a sine that rises linearly from 100 Hz to 7 kHz, with a little seeded noise, (48000,)."""
    seconds, (low, high) = _golden_seconds(), GOLDEN_CHIRP_HZ
    cycles = low * seconds + (high - low) * seconds**2 / (2 * GOLDEN_SECONDS)  # the integral of the frequency
    noise = GOLDEN_NOISE * np.random.default_rng(0).uniform(-1, 1, len(seconds))
    return (GOLDEN_AMPLITUDE * np.sin(2 * np.pi * cycles) + noise).astype(np.float32)


def _golden_seconds():
    return np.arange(round(GOLDEN_SECONDS * SETTINGS.sample_rate_hz)) / SETTINGS.sample_rate_hz  # (n_samples,)

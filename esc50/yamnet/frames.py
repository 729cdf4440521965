"""YAMNet's frames: padding, patches, active frames, and golden values. Depends on numpy only."""

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
STEP_SAMPLES = HOP_SAMPLES // MEL_FRAMES_PER_HOP  # from one window of the log-mel to the next
MAX_SILENCE_COSINE = 0.5  # a frame closer to the embedding of silence counts as silent: see notebook 03
GOLDEN_FILE = Path(__file__).with_name("golden.npz")  # made by tests/make_golden.py
GOLDEN_TOLERANCE = 1e-4
GOLDEN_SECONDS = 3.0
GOLDEN_AMPLITUDE = 0.5
GOLDEN_SINE_HZ = 2_000.0  # YAMNet labels 440 Hz as a telephone, 1 kHz as a beep
GOLDEN_CHIRP_HZ = (100.0, 7_000.0)
GOLDEN_NOISE = 0.01


def pad_waveform(waveform: np.ndarray) -> np.ndarray:
    """Pad with zeros at the end as YAMNet does, so that whole patches cover every sample.

    The rule of ``pad_waveform`` in tensorflow/models, research/audioset/yamnet/features.py: at least one
    patch (0.975 s), then a whole number of patch hops (0.48 s).

    Parameters
    ----------
    waveform : np.ndarray, shape (..., n_samples)
        Waveform at 16 kHz, or a batch of them.

    Returns
    -------
    np.ndarray, shape (..., n_padded_samples)
        Same dtype; exactly ``n_patches(n_samples)`` patches long.
    """
    n_samples = waveform.shape[-1]
    n_padded = PATCH_SAMPLES + (n_patches(n_samples) - 1) * HOP_SAMPLES
    widths = [(0, 0)] * (waveform.ndim - 1) + [(0, n_padded - n_samples)]
    return np.pad(waveform, widths)  # (..., n_padded_samples)


def n_patches(n_samples: int) -> int:
    """Return the number of YAMNet frames of an unpadded waveform: at least 1, and 10 for 5 s."""
    return 1 + ceil(max(0, n_samples - PATCH_SAMPLES) / HOP_SAMPLES)


def active_frames(embeddings: np.ndarray) -> np.ndarray:
    """Return which frames contain sound rather than digital silence.

    Parameters
    ----------
    embeddings : np.ndarray, shape (..., 1024 or more)
        YAMNet's embeddings, or longer vectors that end in them.

    Returns
    -------
    np.ndarray of bool, shape (...)
        False where the cosine to the embedding of silence is above 0.5, the minimum between the two modes of its
        distribution in notebook 03.
    """
    silent = silent_embedding()  # (1024,)
    embeddings = embeddings[..., -len(silent) :].astype(np.float32, copy=False)  # squares overflow float16
    lengths = np.linalg.norm(embeddings, axis=-1) * np.linalg.norm(silent)
    return embeddings @ silent <= MAX_SILENCE_COSINE * lengths


def silent_embedding() -> np.ndarray:
    """Return YAMNet's embedding of digital silence, (1024,)."""
    return _golden(GOLDEN_FILE)["silence"]


def check_waveform(waveform: np.ndarray, *, name: str = "the waveform", peak: float = 1.0) -> None:
    """Raise an `AudioError` unless the waveform is 1-D float32, not empty, finite and within the peak."""
    advice = "read sound with esc50.audio.sound.load_sound"
    if not isinstance(waveform, np.ndarray) or waveform.dtype != np.float32:
        raise AudioError(f"{name} is {getattr(waveform, 'dtype', type(waveform))}, not a float32 array: {advice}")
    if waveform.ndim != 1 or len(waveform) == 0:
        raise AudioError(f"{name} has shape {waveform.shape}, not (n_samples,): {advice}")
    found = np.abs(waveform).max()
    if not found <= peak or np.isinf(found):  # written so that NaN fails
        raise AudioError(f"{name} has the peak {found}, outside [-1, 1]: {advice}")


def equally_long(waveforms: Iterable[np.ndarray], *, peak: float = 1.0) -> Iterator[np.ndarray]:
    """Yield valid waveforms of equal length; raise an `AudioError` for any other one, or if there is none."""
    first_length = None
    for index, waveform in enumerate(waveforms):
        check_waveform(waveform, name=f"clip {index}", peak=peak)
        first_length = first_length or len(waveform)
        if len(waveform) != first_length:
            raise AudioError(
                f"clip {index} has {len(waveform)} samples, but the first has {first_length}: "
                "pad them to the same length, or embed each one separately"
            )
        yield waveform
    if first_length is None:
        raise AudioError("no clips to embed: give at least one waveform")


def overlapping_parts(waveforms: np.ndarray, *, n_frames: int) -> Iterator[np.ndarray]:
    """Cut waveforms (..., n_samples) into overlapping parts of `n_frames` patches, without losing any patch."""
    n_samples = waveforms.shape[-1]
    n_all = n_patches(n_samples)
    for first in range(0, n_all, n_frames):
        last = first + n_frames - 1
        end = last * HOP_SAMPLES + PATCH_SAMPLES if last < n_all - 1 else n_samples
        yield waveforms[..., first * HOP_SAMPLES : end]


def yamnet_fingerprint() -> str:
    """Return the first 16 hex digits of the golden embeddings' SHA-256, stored in the metadata of heads."""
    return hashlib.sha256(golden_embeddings().tobytes()).hexdigest()[:16]


def golden_embeddings() -> np.ndarray:
    """Return YAMNet's embeddings of `chirp`, (6, 1024), which every loaded YAMNet must reproduce within 1e-4."""
    return _golden(GOLDEN_FILE)["embeddings"].copy()


@functools.cache
def _golden(path):
    try:
        with np.load(path) as golden:
            return dict(golden)
    except FileNotFoundError:
        raise YamnetError(f"no file of golden values {path}: restore it with git, or reinstall esc50") from None


def silence() -> np.ndarray:
    """Return 3 s of digital silence, (48000,)."""
    return np.zeros_like(_golden_seconds(), dtype=np.float32)


def sine() -> np.ndarray:
    """Return 3 s of a 2 kHz sine, (48000,)."""
    return (GOLDEN_AMPLITUDE * np.sin(2 * np.pi * GOLDEN_SINE_HZ * _golden_seconds())).astype(np.float32)


def chirp() -> np.ndarray:
    """Return a linear chirp of 3 s from 100 Hz to 7 kHz with seeded noise at 1 % of full scale, (48000,)."""
    seconds, (low, high) = _golden_seconds(), GOLDEN_CHIRP_HZ
    cycles = low * seconds + (high - low) * seconds**2 / (2 * GOLDEN_SECONDS)  # the integral of the frequency
    noise = GOLDEN_NOISE * np.random.default_rng(0).uniform(-1, 1, len(seconds))
    return (GOLDEN_AMPLITUDE * np.sin(2 * np.pi * cycles) + noise).astype(np.float32)


def _golden_seconds():
    return np.arange(round(GOLDEN_SECONDS * SETTINGS.sample_rate_hz)) / SETTINGS.sample_rate_hz  # (n_samples,)

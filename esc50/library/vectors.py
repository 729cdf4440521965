"""Windows of a recording and what is kept of each: a small vector to find it by, and what the classifier says of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path

import numpy as np

from esc50.audio.streams import SoundStream
from esc50.classifier.pooling import frame_mask, pool_clips, temper
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.timeline import FRAME_SECONDS, HOP_SECONDS, TimelineSettings, embed_stream
from esc50.config import ALL_LAYERS, StoreError
from esc50.yamnet.architecture import SCORES, layer_sizes
from esc50.yamnet.frames import active_frames

PROJECTION_FILE = Path(__file__).with_name("projection.npz")  # made by `esc50 retrieval`
ANY_LENGTH = TimelineSettings(max_seconds=inf)
VECTOR_SIZE = 256  # numbers
JOINED = 8  # windows at least go through the head together, where there are so many
N_TOP = 3  # of YAMNet's classes, kept of each window


@dataclass(frozen=True)
class WindowSettings:
    """How recordings are cut into windows; `esc50 retrieval` compares others.

    Longer ones find clips of 5 s a little better, which they nearly fill, but blur where in a recording a sound is.
    """

    n_frames: int = 5  # of YAMNet, 0.96 s each, every 0.48 s
    hop_frames: int = 3

    @property
    def seconds(self) -> float:
        """Length of a window."""
        return FRAME_SECONDS + (self.n_frames - 1) * HOP_SECONDS

    @property
    def hop_seconds(self) -> float:
        """From one window to the next."""
        return self.hop_frames * HOP_SECONDS


@dataclass(frozen=True, eq=False)
class Windows:
    """Some windows of a recording, in order; without the silent ones."""

    start_seconds: np.ndarray  # (n,)
    end_seconds: np.ndarray  # (n,)
    vectors: np.ndarray  # (n, size) float32 of unit length
    probabilities: np.ndarray  # (n, n_classes) calibrated
    top: np.ndarray  # (n, 3) YAMNet's classes with the highest scores; (n, 0) where the model does not take the scores


def embed_windows(
    classifier: SoundClassifier, stream: SoundStream, *, settings: WindowSettings = WindowSettings()
) -> Iterator[Windows]:
    """Yield the windows of a recording of any length, block by block, in bounded memory."""
    blocks = embed_stream(classifier.embed_levelled, stream, level=classifier.is_levelled, settings=ANY_LENGTH)
    for firsts, frames in _join_windows(cut_windows(blocks, settings=settings), settings.hop_frames):
        active = active_frames(frames)  # (n, n_frames)
        has_sound = active.any(axis=1)
        if has_sound.any():
            starts = firsts[has_sound] * HOP_SECONDS
            ends = starts + (frames.shape[1] - 1) * HOP_SECONDS + FRAME_SECONDS
            ends = np.minimum(ends, stream.facts.duration_seconds)  # the stream is read further than this
            yield Windows(starts, ends, *_describe(classifier, frames[has_sound], active[has_sound]))


def cut_windows(blocks, *, settings=WindowSettings()):
    """Cut blocks of frames (n, size) into windows: yields the first one's frame and the windows (n, n_frames, size).

    If the hop does not divide the length, the last window ends where the recording does and overlaps more: one that is
    shorter would be like the ends of other recordings. Only a short recording has a shorter one.
    """
    size, hop, first, begin, waiting = settings.n_frames, settings.hop_frames, 0, 0, None  # begin: of the next window
    for block in blocks:
        waiting = block if waiting is None else np.concatenate([waiting, block])
        if (n := (len(waiting) - begin - size) // hop + 1) > 0:
            starts = begin + hop * np.arange(n)
            yield first + begin, np.stack([waiting[start : start + size] for start in starts])
            begin += n * hop
        done = max(0, min(begin, len(waiting) - size))
        waiting, first, begin = waiting[done:], first + done, begin - done
    if first + begin == 0:
        yield 0, waiting[np.newaxis]
    elif len(waiting) - begin > size - hop:
        yield first + len(waiting) - size, waiting[np.newaxis, -size:]


def _join_windows(parts, hop):
    """Join parts of `cut_windows`, whose first windows are numbered by frame: the first frame of each, and the windows.

    A head is as fast for several windows as for one.
    """
    firsts, waiting = [], []
    for first, windows in parts:
        firsts.append(first + hop * np.arange(len(windows)))
        waiting.append(windows)
        if sum(map(len, waiting)) >= JOINED:
            yield np.concatenate(firsts), np.concatenate(waiting)
            firsts, waiting = [], []
    if waiting:
        yield np.concatenate(firsts), np.concatenate(waiting)


def project(layers: np.ndarray) -> np.ndarray:
    """Reduce the means of all layers of YAMNet (n, 5984) to what tells sounds apart: (n, size), of unit length."""
    mean, matrix = load_projection()
    return normalise((np.log1p(layers) - mean) @ matrix)


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., size) at length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def fit_projection(layers: np.ndarray, *, size: int = VECTOR_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and matrix (n_numbers, size) that whitens logarithms of activations along their principal components."""
    logs = np.log1p(layers).astype(np.float64)
    mean = logs.mean(axis=0)
    _, lengths, directions = np.linalg.svd(logs - mean, full_matrices=False)
    return mean, directions[:size].T * (np.sqrt(len(logs) - 1) / lengths[:size])


@cache
def load_projection():
    """Mean (5984,) of the logarithms of all layers, and the matrix (5984, size) that whitens them."""
    with np.load(PROJECTION_FILE) as file:
        return file["mean"].astype(np.float32), file["matrix"].astype(np.float32)


def _describe(classifier, frames, active):
    pooled = pool_clips(classifier.apply_head, frames, active, pooling=classifier.metadata["pooling"])
    mask = frame_mask(active)[..., np.newaxis]  # (n, n_frames, 1)
    layers = _columns(classifier, frames, [*ALL_LAYERS]).mean(axis=1, where=mask)  # (n, 5984)
    probabilities = temper(pooled, classifier.metadata["temperature"])
    return project(layers), probabilities, _top_classes(classifier, frames, mask)


def _top_classes(classifier, frames, mask):
    if not classifier.takes_scores:
        return np.zeros((len(frames), 0), int)
    scores = _columns(classifier, frames, [SCORES]).max(axis=1, where=mask, initial=0)  # (n, 521)
    return np.argsort(-scores, axis=1)[:, :N_TOP]


def _columns(classifier, frames, layers):
    """Columns of some layers that are neighbours in the model's vectors."""
    every = list(classifier.metadata["layers"])
    first = every.index(layers[0]) if layers[0] in every else 0
    if every[first : first + len(layers)] != layers:
        raise StoreError("this model takes too few of YAMNet's layers for a store: take the one that is the default")
    start = sum(layer_sizes(every[:first]))
    return frames[..., start : start + sum(layer_sizes(layers))]

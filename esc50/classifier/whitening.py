"""Short vectors that tell sounds apart, whatever the length of those that the head takes: hashed, then whitened."""

import hashlib
import io
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from esc50.config import atomic_write
from esc50.yamnet.runtime import read_packaged

TEACHING_FILE = "teaching.npz"
STEPS = 256  # of a stored number, from 0 to 1


@dataclass(frozen=True)
class WhiteningSettings:
    """How vectors are shortened; from trials on fold 1, which is left out of what `esc50 teaching` reports."""

    n_buckets: int = 1024
    size: int = 256
    min_deviation: float = 0.05  # of a log activation
    ridge: float = 1e-3  # added to the variances, of which the mean is 1 / n_buckets
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Whitening:
    """Feature hashing (Weinberger et al. 2009, arXiv 0902.2206), then principal components of equal variance."""

    mean: np.ndarray  # (n,) of the logarithms of what a head takes
    scale: np.ndarray  # (n,) a random sign over their deviation
    matrix: np.ndarray  # (n_buckets, size)

    @classmethod
    def fit(cls, vectors: np.ndarray, *, settings: WhiteningSettings = WhiteningSettings()) -> "Whitening":
        """Learn it from vectors (n_clips, n) as a head takes them."""
        logs = np.log1p(vectors)
        signs = np.random.default_rng(settings.seed).choice(np.array([-1, 1], np.float32), logs.shape[1])
        hashing = cls(
            logs.mean(axis=0), signs / (logs.std(axis=0) + settings.min_deviation), np.eye(settings.n_buckets)
        )
        hashed = hashing.hash(vectors).astype(np.float64)  # (n_clips, n_buckets)
        values, axes = np.linalg.eigh(hashed.T @ hashed / (hashed**2).sum())
        values, axes = values[: -settings.size - 1 : -1], axes[:, : -settings.size - 1 : -1]
        matrix = axes / np.sqrt(np.maximum(values, 0) + settings.ridge)
        return cls(hashing.mean, hashing.scale, matrix.astype(np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Shorten vectors (n, size of the head's input) to unit vectors (n, size), float32."""
        whitened = self.hash(vectors) @ self.matrix
        return whitened / np.maximum(np.linalg.norm(whitened, axis=1, keepdims=True), 1e-9)

    def hash(self, vectors):
        """Sums (n, n_buckets) over every n_buckets-th number, each with its sign."""
        standard = (np.log1p(vectors) - self.mean) * self.scale
        filled = np.pad(standard, ((0, 0), (0, -standard.shape[1] % len(self.matrix))))
        return filled.reshape(len(filled), -1, len(self.matrix)).sum(axis=1)

    @cached_property
    def fingerprint(self) -> str:
        """Which model it belongs to."""
        return hashlib.sha256(b"".join(each.tobytes() for each in (self.mean, self.scale, self.matrix))).hexdigest()[
            :16
        ]


@dataclass(frozen=True, eq=False)
class KnownClips:
    """What comes with the model to teach it more: all clips of ESC-50 as short vectors."""

    whitening: Whitening
    vectors: np.ndarray  # (n_clips, size) float32, of unit length
    targets: np.ndarray  # (n_clips,)
    folds: np.ndarray  # (n_clips,)
    probabilities: np.ndarray  # (n_clips, n_classes) of heads that were not trained on the clip's fold

    @classmethod
    def load(cls) -> "KnownClips":
        """Read what comes with the package; the same object at every call."""
        return _load()

    def save(self, path):
        """Write the file that `load` reads, its vectors in a byte a number."""
        whitening: dict[str, Any] = {
            name: getattr(self.whitening, name).astype(np.float16) for name in ("mean", "scale", "matrix")
        }
        vectors = np.clip(np.round(self.vectors * STEPS), -127, 127).astype(np.int8)
        clips: dict[str, Any] = {"targets": self.targets.astype(np.uint8), "folds": self.folds.astype(np.uint8)}
        with atomic_write(path) as beside, beside.open("wb") as file:
            np.savez_compressed(
                file, vectors=vectors, probabilities=self.probabilities.astype(np.float16), **whitening, **clips
            )
        return path


@cache
def _load():
    with np.load(io.BytesIO(read_packaged(TEACHING_FILE))) as file:
        whitening = Whitening(*(file[name].astype(np.float32) for name in ("mean", "scale", "matrix")))
        vectors = file["vectors"].astype(np.float32) / STEPS  # (n_clips, size)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        targets, folds = (file[name].astype(np.int64) for name in ("targets", "folds"))
        return KnownClips(whitening, vectors, targets, folds, file["probabilities"].astype(np.float32))

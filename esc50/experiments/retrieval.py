"""Which vectors find sounds best: each class of ESC-50 is looked for by vectors that were fitted without it."""

import numpy as np

from esc50.dataset.feature_files import load_features
from esc50.library.vectors import PROJECTION_FILE

SIZE = 256  # numbers of a vector


def clip_means(levelled):
    """Mean embedding of the active frames of each clip, (n_clips, 1024)."""
    frames = levelled["activations"][..., -1024:].astype(np.float32)
    active = levelled["active"] | ~levelled["active"].any(axis=1, keepdims=True)
    return frames.mean(axis=1, where=active[..., np.newaxis])


def fit_projection(embeddings, *, size=SIZE):
    """Mean and matrix (n_numbers, size) that whiten the logarithms of embeddings by their principal components."""
    logs = np.log1p(embeddings).astype(np.float64)
    variances, directions = np.linalg.eigh(np.cov(logs.T))
    return logs.mean(axis=0), directions[:, : -size - 1 : -1] / np.sqrt(variances[: -size - 1 : -1])


def save_projection():
    """Write the projection that comes with the package, of all clips."""
    mean, matrix = fit_projection(clip_means(load_features("levelled")))
    np.savez_compressed(PROJECTION_FILE, mean=mean.astype(np.float16), matrix=matrix.astype(np.float16))

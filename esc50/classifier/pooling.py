"""Pool frames to one prediction, and calibrate its probabilities by a temperature."""

import numpy as np

TINY = 1e-7  # lower bound of probabilities before a logarithm, near the resolution of float32


def frame_mask(active):
    """Return the frames of each sound to use, bool (n_sounds, n_frames): the active ones, or all if none is."""
    return np.where(active.any(axis=1, keepdims=True), active, True)


def mean_pool(probabilities, active=None):
    """Return the mean of frame probabilities (n_clips, n_frames, n_classes) over the active frames."""
    return np.einsum("cfk,cf->ck", probabilities, _weights(probabilities, active))  # (n_clips, n_classes)


def geometric_mean_pool(probabilities, active=None):
    """Return the normalised geometric mean of frame probabilities, which is the softmax of their mean logits."""
    pooled = np.exp(mean_pool(np.log(np.maximum(probabilities, TINY)), active))  # (n_clips, n_classes)
    return pooled / pooled.sum(axis=1, keepdims=True)


def max_pool(probabilities, active=None):
    """Return the normalised maximum of frame probabilities over the active frames."""
    mask = _weights(probabilities, active) > 0  # (n_clips, n_frames)
    pooled = np.where(mask[..., np.newaxis], probabilities, 0).max(axis=1)  # (n_clips, n_classes)
    return pooled / pooled.sum(axis=1, keepdims=True)


# name in a model's metadata -> function of (probabilities, active)
POOLINGS = {
    "mean": lambda probabilities, active: mean_pool(probabilities),
    "geometric_mean": lambda probabilities, active: geometric_mean_pool(probabilities),
    "max": lambda probabilities, active: max_pool(probabilities),
    "mean_of_sound": mean_pool,
    "geometric_mean_of_sound": geometric_mean_pool,
}
MAXIMUM_OF_VECTORS = "maximum_of_vectors"  # pools the vectors, before the head
POOLING_NAMES = (*POOLINGS, MAXIMUM_OF_VECTORS)


def maximum_of_vectors(vectors, active):
    """Return the maximum of each activation over the active frames: (n_clips, size) from (n_clips, n_frames, size)."""
    return np.where(frame_mask(active)[..., np.newaxis], vectors, 0).max(axis=1)


def pool_clips(head, vectors, active, *, pooling):
    """Return the probabilities of whole clips; the pooling is applied before or after the head.

    Parameters
    ----------
    head : callable
        From vectors (n, size) to probabilities (n, n_classes).
    vectors : np.ndarray, shape (n_clips, n_frames, size)
        Of the frames.
    active : np.ndarray of bool, shape (n_clips, n_frames)
        False for silent frames.
    pooling : str
        One of `POOLING_NAMES`.

    Returns
    -------
    np.ndarray, shape (n_clips, n_classes)
        Each row sums to 1.
    """
    if pooling == MAXIMUM_OF_VECTORS:
        return head(maximum_of_vectors(vectors, active))
    n_clips, n_frames, size = vectors.shape
    frames = head(vectors.reshape(-1, size)).reshape(n_clips, n_frames, -1)
    return POOLINGS[pooling](frames, active)


def temper(probabilities, temperature):
    """Apply temperature scaling (Guo et al. 2017, arXiv 1706.04599, section 4.2).

    Parameters
    ----------
    probabilities : np.ndarray, shape (..., n_classes)
        Their logarithms serve as logits.
    temperature : float or np.ndarray
        Values above 1 lower the confidence, below 1 raise it. The order of the classes does not change.

    Returns
    -------
    np.ndarray, shape (..., n_classes)
        Of the same dtype; sums to 1.
    """
    return softmax(np.log(np.maximum(probabilities, TINY)) / temperature).astype(probabilities.dtype)


def softmax(logits):
    """Return the softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _weights(probabilities, active):
    """Return equal weights for the frames to use, (n_clips, n_frames), which sum to 1 in each clip."""
    mask = np.ones(probabilities.shape[:2], bool) if active is None else frame_mask(active)
    return mask / mask.sum(axis=1, keepdims=True, dtype=probabilities.dtype)

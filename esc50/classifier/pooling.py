"""From frames to one answer: poolings, and the temperature that calibrates it."""

import numpy as np

TINY = 1e-7  # probabilities below this count as this: float32 gives nothing better


def frame_mask(active):
    """The frames of each sound (n_sounds, n_frames) that count: the active ones, or all where none is."""
    return np.where(active.any(axis=1, keepdims=True), active, True)


def mean_pool(probabilities, active=None):
    """Mean of the frames' probabilities (n_clips, n_frames, n_classes) over the frames that count."""
    return np.einsum("cfk,cf->ck", probabilities, _weights(probabilities, active))  # (n_clips, n_classes)


def geometric_mean_pool(probabilities, active=None):
    """Normalised geometric mean of the frames' probabilities: the softmax of their mean logits."""
    pooled = np.exp(mean_pool(np.log(np.maximum(probabilities, TINY)), active))  # (n_clips, n_classes)
    return pooled / pooled.sum(axis=1, keepdims=True)


def max_pool(probabilities, active=None):
    """Normalised maximum over the frames: the most certain frame of each class decides."""
    counted = _weights(probabilities, active) > 0  # (n_clips, n_frames)
    pooled = np.where(counted[..., np.newaxis], probabilities, 0).max(axis=1)  # (n_clips, n_classes)
    return pooled / pooled.sum(axis=1, keepdims=True)


# name -> function of (probabilities, active); what a model's metadata may name
POOLINGS = {
    "mean": lambda probabilities, active: mean_pool(probabilities),
    "geometric_mean": lambda probabilities, active: geometric_mean_pool(probabilities),
    "max": lambda probabilities, active: max_pool(probabilities),
    "mean_of_sound": mean_pool,
    "geometric_mean_of_sound": geometric_mean_pool,
}
MAXIMUM_OF_VECTORS = "maximum_of_vectors"  # pools before the head, not behind it
POOLING_NAMES = (*POOLINGS, MAXIMUM_OF_VECTORS)


def maximum_of_vectors(vectors, active):
    """Largest value of each activation (n_clips, n_frames, size) over the frames that count: (n_clips, size)."""
    return np.where(frame_mask(active)[..., np.newaxis], vectors, 0).max(axis=1)


def pool_clips(head, vectors, active, *, pooling):
    """Probabilities of whole clips, whether the frames' vectors are pooled or what a head makes of them.

    Parameters
    ----------
    head : callable
        From vectors (n, size) to probabilities (n, n_classes).
    vectors : np.ndarray, shape (n_clips, n_frames, size)
        Of the frames.
    active : np.ndarray of bool, shape (n_clips, n_frames)
        Frames with sound in them.
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
    """Make probabilities less sure (temperature above 1) or surer (below 1) without changing their order.

    Guo et al. 2017, arXiv 1706.04599, section 4.2: the softmax of the logits over the temperature, for which the
    logarithms of the probabilities (..., n_classes) serve as well.
    """
    return softmax(np.log(np.maximum(probabilities, TINY)) / temperature).astype(probabilities.dtype)


def softmax(logits):
    """Softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _weights(probabilities, active):
    """Equal weights (n_clips, n_frames) of the frames that count, which sum to 1 in each clip."""
    counted = np.ones(probabilities.shape[:2], bool) if active is None else frame_mask(active)
    return counted / counted.sum(axis=1, keepdims=True, dtype=probabilities.dtype)

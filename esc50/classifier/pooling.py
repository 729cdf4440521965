"""From frames to one answer: poolings, and the temperature that calibrates it."""

import numpy as np
from scipy.special import softmax


def frame_mask(active):
    """Which frames of each sound count.

    Parameters
    ----------
    active : np.ndarray of bool, shape (n_sounds, n_frames)
        Frames with sound in them.

    Returns
    -------
    np.ndarray of bool, shape (n_sounds, n_frames)
        The active ones, or all of a sound's where it has none.
    """
    return np.where(active.any(axis=1, keepdims=True), active, True)


def mean_pool(scores, active=None):
    """Average of the frames' probabilities.

    Parameters
    ----------
    scores : np.ndarray, shape (n_clips, n_frames, 50)
        Probabilities of each frame.
    active : np.ndarray of bool, shape (n_clips, n_frames), optional
        The frames that count; all of a clip's where it has none. All by default.

    Returns
    -------
    np.ndarray, shape (n_clips, 50)
        Probabilities of each clip.
    """
    return np.einsum("cfk,cf->ck", scores, _weights(scores, active))  # (n_clips, 50)


def geometric_mean_pool(scores, active=None):
    """Normalised geometric mean of the frames' probabilities: the softmax of their mean logits.

    Parameters
    ----------
    scores : np.ndarray, shape (n_clips, n_frames, 50)
        Probabilities of each frame.
    active : np.ndarray of bool, shape (n_clips, n_frames), optional
        The frames that count; all of a clip's where it has none. All by default.

    Returns
    -------
    np.ndarray, shape (n_clips, 50)
        Probabilities of each clip.
    """
    pooled = np.exp(mean_pool(np.log(np.maximum(scores, 1e-7)), active))  # (n_clips, 50)
    return pooled / pooled.sum(axis=1, keepdims=True)


def max_pool(scores, active=None):
    """Normalised maximum over the frames: the most certain frame of each class decides.

    Parameters
    ----------
    scores : np.ndarray, shape (n_clips, n_frames, 50)
        Probabilities of each frame.
    active : np.ndarray of bool, shape (n_clips, n_frames), optional
        The frames that count; all of a clip's where it has none. All by default.

    Returns
    -------
    np.ndarray, shape (n_clips, 50)
        Probabilities of each clip.
    """
    counted = _weights(scores, active) > 0  # (n_clips, n_frames)
    pooled = np.where(counted[..., np.newaxis], scores, 0).max(axis=1)  # (n_clips, 50)
    return pooled / pooled.sum(axis=1, keepdims=True)


# name -> function of (scores, active); what a saved head's card may name
POOLINGS = {
    "mean": lambda scores, active: mean_pool(scores),
    "geometric_mean": lambda scores, active: geometric_mean_pool(scores),
    "max": lambda scores, active: max_pool(scores),
    "mean_of_sound": mean_pool,
    "geometric_mean_of_sound": geometric_mean_pool,
}
MAXIMUM_OF_VECTORS = "maximum_of_vectors"  # pools before the head, not behind it
POOLING_NAMES = (*POOLINGS, MAXIMUM_OF_VECTORS)


def maximum_of_vectors(vectors, active):
    """Largest value of each number over the frames that count.

    Parameters
    ----------
    vectors : np.ndarray, shape (n_clips, n_frames, size)
        Activations: none is below zero.
    active : np.ndarray of bool, shape (n_clips, n_frames)
        Frames with sound in them; all of a clip's count where it has none.

    Returns
    -------
    np.ndarray, shape (n_clips, size)
        One vector a clip, of the same type.
    """
    return np.where(frame_mask(active)[..., np.newaxis], vectors, 0).max(axis=1)


def pool_clips(head, vectors, active, *, pooling):
    """Probabilities of whole clips, whether it is the frames' vectors that are pooled or what a head makes of them.

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


def _weights(scores, active):
    """Equal weights (n_clips, n_frames) of the frames that count, which sum to 1 in each clip."""
    counted = np.ones(scores.shape[:2], bool) if active is None else frame_mask(active)
    return counted / counted.sum(axis=1, keepdims=True, dtype=scores.dtype)


TINY = 1e-7  # probabilities below this count as this: float32 gives nothing better


def temper(probabilities, temperature):
    """Make probabilities less sure (temperature above 1) or surer (below 1) without changing their order.

    Guo et al. 2017, arXiv 1706.04599, section 4.2: the softmax of the logits over the temperature, for which the
    logarithms of the probabilities serve as well.

    Parameters
    ----------
    probabilities : np.ndarray, shape (..., n_classes)
        They sum to 1.
    temperature : float
        Above zero; 1 changes nothing.

    Returns
    -------
    np.ndarray, shape (..., n_classes)
        Same dtype; they sum to 1.
    """
    log_probabilities = np.log(np.maximum(probabilities, TINY))
    return softmax(log_probabilities / temperature, axis=-1).astype(probabilities.dtype)

"""Is it any of the known classes at all? Scores that are higher for known sounds, and how well they tell."""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from esc50.classifier.pooling import MAXIMUM_OF_VECTORS, frame_mask, maximum_of_vectors
from esc50.config import TrustSettings, YamnetSettings
from esc50.dataset.clips import class_names
from esc50.dataset.feature_files import load_features
from esc50.yamnet.frames import active_frames


@dataclass(frozen=True, eq=False)
class TrainingClips:
    """What a head was trained on, one vector a clip.

    Attributes
    ----------
    vectors : np.ndarray, shape (n_training, 1024)
        From `clip_vectors`, float32.
    targets : np.ndarray, shape (n_training,)
        Labels.
    filenames : np.ndarray of str, shape (n_training,)
        Names of the clips.
    """

    vectors: np.ndarray
    targets: np.ndarray
    filenames: np.ndarray


@dataclass(frozen=True)
class Neighbour:
    """A training clip near a sound.

    Attributes
    ----------
    filename : str
        Its name.
    category : str
        Its class.
    similarity : float
        Cosine between the two clips' mean embeddings, at most 1.
    """

    filename: str
    category: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the scores look at, for sounds of equally many frames.

    Attributes
    ----------
    frame_logits : np.ndarray, shape (n_sounds, n_frames, n_classes)
        The head's, before the softmax; of one vector a sound where `head_vectors` gives one.
    active : np.ndarray of bool, shape (n_sounds, n_frames)
        Frames with sound in them; as many as there are logits.
    probabilities : np.ndarray, shape (n_sounds, n_classes)
        Pooled over the frames.
    similarity : np.ndarray, shape (n_sounds, n_training)
        Cosine to each training clip.
    training_targets : np.ndarray, shape (n_training,)
        The training clips' labels: columns of `probabilities`.
    """

    frame_logits: np.ndarray
    active: np.ndarray
    probabilities: np.ndarray
    similarity: np.ndarray
    training_targets: np.ndarray


def head_vectors(vectors, active, *, pooling):
    """What a head takes of sounds: all their frames, or one vector each where the vectors are pooled before the head.

    Parameters
    ----------
    vectors : np.ndarray, shape (n_sounds, n_frames, size)
        Of the frames.
    active : np.ndarray of bool, shape (n_sounds, n_frames)
        Frames with sound in them.
    pooling : str
        One of `esc50.classifier.pooling.POOLING_NAMES`.

    Returns
    -------
    vectors : np.ndarray, shape (n_sounds, n_frames or 1, size)
        Of the same type.
    active : np.ndarray of bool, shape (n_sounds, n_frames or 1)
        All true for one vector a sound: `Evidence` takes them so.
    """
    if pooling != MAXIMUM_OF_VECTORS:
        return vectors, active
    return maximum_of_vectors(vectors, active)[:, np.newaxis], np.ones((len(vectors), 1), bool)


def head_logits(head, vectors):
    """What a head computes before its softmax.

    Parameters
    ----------
    head : keras.Model
        From `esc50.experiments.networks.build_head`; its last layer is dense with a softmax.
    vectors : np.ndarray, shape (n_frames, size)
        What the head takes.

    Returns
    -------
    np.ndarray, shape (n_frames, n_classes)
        Float32; their softmax is what the head gives.
    """
    return head_activations(head, vectors)[1]


def head_activations(head, vectors):
    """What a head's last hidden layer makes of frames, and the logits that come of it.

    Parameters
    ----------
    head : keras.Model
        From `esc50.experiments.networks.build_head`; its last layer is dense with a softmax.
    vectors : np.ndarray, shape (n_frames, size)
        What the head takes.

    Returns
    -------
    activations : np.ndarray, shape (n_frames, n_units)
        Of the last hidden layer, float32.
    logits : np.ndarray, shape (n_frames, n_classes)
        As `head_logits` gives them.
    """
    from keras import Model, device

    last = head.layers[-1]
    with device("cpu"):
        activations = Model(head.input, last.input)(vectors, training=False).numpy()  # (n_frames, n_units)
    kernel, bias = last.get_weights()
    return activations, activations @ kernel + bias


def max_probability(evidence, *, k=TrustSettings.neighbours):
    """Probability of the most probable class (Hendrycks and Gimpel 2017, arXiv 1610.02136).

    Parameters
    ----------
    evidence : Evidence
        Of n_sounds.
    k : int
        Not used.

    Returns
    -------
    np.ndarray, shape (n_sounds,)
        Between 0 and 1.
    """
    return evidence.probabilities.max(axis=1)


def energy(evidence, *, k=TrustSettings.neighbours):
    """Negative free energy, the log-sum-exp of the logits (Liu et al. 2020, arXiv 2010.03759), averaged over frames.

    Parameters
    ----------
    evidence : Evidence
        Of n_sounds.
    k : int
        Not used.

    Returns
    -------
    np.ndarray, shape (n_sounds,)
        Any real number.
    """
    energies = logsumexp(evidence.frame_logits, axis=2)  # (n_sounds, n_frames)
    return np.average(energies, axis=1, weights=frame_mask(evidence.active))


def neighbours(evidence, *, k=TrustSettings.neighbours):
    """Mean cosine to the k nearest training clips (after Sun et al. 2022, arXiv 2204.06507).

    Parameters
    ----------
    evidence : Evidence
        Of n_sounds.
    k : int
        How many training clips.

    Returns
    -------
    np.ndarray, shape (n_sounds,)
        At most 1.
    """
    return _mean_of_largest(evidence.similarity, k)


def class_neighbours(evidence, *, k=TrustSettings.neighbours):
    """Mean cosine to the k nearest training clips of the class that the sound is taken for.

    Parameters
    ----------
    evidence : Evidence
        Of n_sounds.
    k : int
        How many training clips.

    Returns
    -------
    np.ndarray, shape (n_sounds,)
        At most 1.
    """
    taken_for = evidence.probabilities.argmax(axis=1)  # (n_sounds,)
    of_class = evidence.training_targets[np.newaxis] == taken_for[:, np.newaxis]  # (n_sounds, n_training)
    return _mean_of_largest(np.where(of_class, evidence.similarity, -np.inf), k)


SCORES = {
    "max_probability": max_probability,
    "energy": energy,
    "neighbours": neighbours,
    "class_neighbours": class_neighbours,
}
SCORE_NAMES = {
    "max_probability": "maximum probability",
    "energy": "energy",
    "neighbours": "similarity to the nearest training clips",
    "class_neighbours": "similarity to the named class's nearest training clips",
}


def describe(score, k):
    """Say in words what a score is.

    Parameters
    ----------
    score : str
        A key of `SCORES`.
    k : int
        How many neighbours it looks at, where it does.

    Returns
    -------
    str
        Fits after "the".
    """
    return {
        "max_probability": "probability of the likeliest class, before calibration",
        "energy": "log-sum-exp of the head's logits, averaged over the frames",
        "neighbours": f"mean cosine between its embedding and those of the {k} nearest training clips",
        "class_neighbours": (
            f"mean cosine between its embedding and those of the {k} nearest training clips of the likeliest class"
        ),
    }[score]


def clip_vectors(embeddings):
    """Mean embedding of the frames with sound in them, at unit length: the products of two are their cosine.

    Parameters
    ----------
    embeddings : np.ndarray, shape (n_clips, n_frames, 1024 or more)
        YAMNet's; of longer vectors, such as `esc50.yamnet.layers.LayerYamnet` gives, the last 1,024 numbers.

    Returns
    -------
    np.ndarray, shape (n_clips, 1024)
        Of all frames where none has sound; float32.
    """
    embeddings = embeddings[..., -YamnetSettings.embedding_size :]
    counted = frame_mask(active_frames(embeddings)).astype(np.float32)
    sums = np.einsum("cfd,cf->cd", embeddings, counted)  # (n_clips, 1024)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)


@functools.cache
def load_training_clips():
    """All clips of ESC-50, on which the shipped head was trained, from the committed embeddings.

    Returns
    -------
    TrainingClips
        2,000 clips; the same object at every call.

    Raises
    ------
    FeatureError
        The embeddings are missing or were made with other parameters.
    """
    arrays = load_features("yamnet")
    return TrainingClips(clip_vectors(arrays["embeddings"]), arrays["target"], arrays["filename"])


def nearest(similarity, training, *, names=None, n_nearest=5):
    """Training clips that are most similar to one sound.

    Parameters
    ----------
    similarity : np.ndarray, shape (n_training,)
        Cosine to each of them.
    training : TrainingClips
        The clips.
    names : sequence of str, optional
        Class names in label order; those of ESC-50 by default.
    n_nearest : int
        How many.

    Returns
    -------
    tuple of Neighbour
        The nearest first.
    """
    names = class_names() if names is None else names
    order = np.argsort(-similarity, kind="stable")[:n_nearest]
    return tuple(Neighbour(str(training.filenames[i]), names[training.targets[i]], float(similarity[i])) for i in order)


def threshold_keeping(known, *, kept=TrustSettings.kept):
    """Score that a share of the known sounds reaches.

    Parameters
    ----------
    known : np.ndarray, shape (n_known,)
        Scores of known sounds.
    kept : float
        The share.

    Returns
    -------
    float
        What reaches it is accepted.
    """
    return float(np.quantile(known, 1 - kept, method="lower"))


def auroc(known, unknown):
    """Chance that a known sound scores higher than an unknown one; 0.5 is guessing.

    Parameters
    ----------
    known, unknown : np.ndarray, shape (n_known,) and (n_unknown,)
        Scores.

    Returns
    -------
    float
        Share of 1.
    """
    from sklearn.metrics import roc_auc_score

    is_known = np.repeat([True, False], [len(known), len(unknown)])
    return float(roc_auc_score(is_known, np.concatenate([known, unknown])))


def _mean_of_largest(values, k):
    """Mean of the k largest in each row, of all that are finite where those are fewer; -1 where none is."""
    largest = np.sort(values, axis=1)[:, -k:]
    counted = np.isfinite(largest)
    means = np.where(counted, largest, 0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    return np.where(counted.any(axis=1), means, -1)

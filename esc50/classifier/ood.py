"""Out-of-distribution detection: scores that are higher for known sounds, and the nearest reference clips."""

import io
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np

from esc50.classifier.audioset import AUDIOSET
from esc50.classifier.pooling import MAXIMUM_OF_VECTORS, frame_mask, maximum_of_vectors
from esc50.config import ResultsError, YamnetSettings
from esc50.yamnet.frames import active_frames
from esc50.yamnet.runtime import read_packaged

REFERENCE_FILE = "reference.npz"
TYPICAL = 4.0  # multiple of a score's mean over ESC-50 that is no evidence against a known class
CUT = 4.0  # standard deviations
SAME_HEAD = "a head"  # who was tested on held-out classes, where no surrogate was
NEIGHBOURS = 5  # chosen by the mean over validation folds: see notebook 07


class Neighbour(NamedTuple):
    """A reference clip that is similar to a sound.

    Attributes
    ----------
    filename : str
        As in the clip table.
    category : str
        Class of the clip.
    similarity : float
        Cosine between the mean embeddings, at most 1.
    """

    filename: str
    category: str
    similarity: float


@dataclass(frozen=True, eq=False)
class ReferenceClips:
    """One vector for each training clip."""

    vectors: np.ndarray  # (n_clips, 1024) float32 of unit length: `clip_vectors`
    targets: np.ndarray  # (n_clips,) labels
    filenames: np.ndarray  # (n_clips,)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Inputs of the out-of-distribution scores, for one or more sounds."""

    frame_logits: np.ndarray | None  # (n_sounds, n_frames, n_classes) of the head; only for `energy`
    active: np.ndarray  # (n_sounds, n_frames)
    probabilities: np.ndarray  # (n_sounds, n_classes) pooled, not calibrated
    similarity: np.ndarray  # (n_sounds, n_reference) cosine to the reference clips
    reference_targets: np.ndarray  # (n_reference,) labels of the reference clips
    audioset: np.ndarray | None = None  # (n_sounds, 521) YAMNet's scores, maximum over frames
    matrix: np.ndarray | None = None  # (521, n_classes): see `esc50.classifier.audioset.audioset_matrix`
    rule: dict = field(default_factory=dict)  # the metadata's ``rejection``

    @property
    def predicted(self):
        """Label of the most probable class of each sound, (n_sounds,)."""
        return self.probabilities.argmax(axis=1)


def head_vectors(vectors, active, *, pooling):
    """Return the inputs of a head, (n_sounds, n_frames or 1, size), and which are active, for frame vectors."""
    if pooling != MAXIMUM_OF_VECTORS:
        return vectors, active
    return maximum_of_vectors(vectors, active)[:, np.newaxis], np.ones((len(vectors), 1), bool)


def max_probability(evidence, *, k=NEIGHBOURS):
    """Return the highest probability (Hendrycks and Gimpel 2017, arXiv 1610.02136)."""
    return evidence.probabilities.max(axis=1)


def energy(evidence, *, k=NEIGHBOURS):
    """Return the log-sum-exp of the logits (Liu et al. 2020, arXiv 2010.03759), averaged over active frames."""
    energies = np.logaddexp.reduce(evidence.frame_logits, axis=2)  # (n_sounds, n_frames)
    return np.average(energies, axis=1, weights=frame_mask(evidence.active))


def neighbours(evidence, *, k=NEIGHBOURS):
    """Return the mean cosine to the k nearest reference clips (after Sun et al. 2022, arXiv 2204.06507)."""
    return _mean_of_largest(evidence.similarity, k)


def class_neighbours(evidence, *, k=NEIGHBOURS):
    """Return the mean cosine to the k nearest reference clips of the predicted class."""
    of_class = evidence.reference_targets[np.newaxis] == evidence.predicted[:, np.newaxis]  # (n_sounds, n_reference)
    return _mean_of_largest(np.where(of_class, evidence.similarity, -np.inf), k)


def class_score(evidence, *, k=NEIGHBOURS):
    """Return log10 of YAMNet's summed scores for the predicted class; `AUDIOSET.unmapped` if it has none."""
    sums = evidence.audioset @ evidence.matrix + AUDIOSET.unmapped * ~evidence.matrix.any(
        axis=0
    )  # (n_sounds, n_classes)
    return np.log10(sums[np.arange(len(sums)), evidence.predicted] + AUDIOSET.offset)


def other_score(evidence, *, k=NEIGHBOURS):
    """Return minus log10 of YAMNet's highest score above typical among AudioSet classes without a counterpart."""
    return -np.log10(np.maximum(above_typical(evidence), 0).max(axis=1) + AUDIOSET.offset)


def above_typical(evidence):
    """Return YAMNet's scores minus typical ones, (n_sounds, 521); -1 for classes with a counterpart in ESC-50."""
    above = evidence.audioset - TYPICAL * np.asarray(evidence.rule["typical_scores"])
    return np.where(evidence.matrix.any(axis=1), -1, above)


COMBINED = (neighbours, energy, class_score, other_score)


def features(evidence, *, k=NEIGHBOURS):
    """Return the scores that `combined` uses, (n_sounds, 4)."""
    return np.column_stack([score(evidence, k=k) for score in COMBINED])


def expand(values, mean, deviation):
    """Standardise values (n, 4), clip them at 4 deviations, and append all squares and products: (n, 14)."""
    z = np.clip((values - np.asarray(mean)) / np.asarray(deviation), -CUT, CUT)
    first, second = np.triu_indices(z.shape[1])
    return np.concatenate([z, z[:, first] * z[:, second]], axis=1)


def combined(evidence, *, k=NEIGHBOURS):
    """Return the log-odds that a sound is known, by logistic regression on `features` and their products."""
    rule = evidence.rule
    expanded = expand(features(evidence, k=k), rule["mean"], rule["deviation"])  # (n_sounds, 14)
    return expanded @ np.asarray(rule["weights"]) + rule["intercept"]


OOD_SCORES = {
    "max_probability": max_probability,
    "energy": energy,
    "neighbours": neighbours,
    "class_neighbours": class_neighbours,
    "class_score": class_score,
    "other_score": other_score,
    "combined": combined,
}
NEED_LOGITS, NEED_AUDIOSET = ("energy", "combined"), ("class_score", "other_score", "combined")
OOD_SCORE_NAMES = {
    "max_probability": "maximum probability",
    "energy": "energy",
    "neighbours": "similarity to the nearest reference clips",
    "class_neighbours": "similarity to the predicted class's nearest reference clips",
    "class_score": "YAMNet's own score of the predicted class",
    "other_score": "YAMNet's largest score of any other sound",
    "combined": "a combination of neighbours, energy and YAMNet's own scores",
}


def describe_score(score, k):
    """Describe a score in words."""
    return {
        "max_probability": "the probability of the likeliest class, before calibration,",
        "energy": "the energy of the head's logits, averaged over the frames,",
        "neighbours": f"the mean similarity to the {k} nearest training clips",
        "class_neighbours": f"the mean similarity to the {k} nearest training clips of the likeliest class",
        "class_score": "the logarithm of YAMNet's score of the likeliest class",
        "other_score": "minus the logarithm of YAMNet's largest score of any other sound",
        "combined": (
            f"a combined score (similarity to the {k} nearest training clips, energy of the head's logits, YAMNet's "
            "scores of the likeliest class and of any other sound)"
        ),
    }[score]


def describe_rule(score, k, *, threshold, kept, accepted, who):
    """Describe a rejection rule; `accepted` is the share of held-out classes' clips that pass, by the model `who`."""
    measured = "" if who == SAME_HEAD else f", measured with {who}"
    return (
        f"A sound is rejected as “none of these” if {describe_score(score, k)} is below {threshold:.2f}. This "
        f"threshold keeps {100 * kept:.3g} % of ESC-50's clips (cross-validated). It still accepts "
        f"{100 * accepted:.0f} % of clips from classes the model was not trained on{measured}."
    )


def keep_share(rule, keep):
    """Return a rejection rule that keeps another share of the known sounds.

    The threshold is interpolated between measured ones.

    Parameters
    ----------
    rule : dict
        The metadata's ``rejection``. Its ``by_share`` lists each measured ``share`` of known sounds, in ascending
        order, the threshold in each of the ``scores``, and the share of held-out classes' clips that pass
        (``accepted``).
    keep : float
        Share of the known sounds to keep.

    Returns
    -------
    dict
        The rule with a new ``threshold``, ``kept`` and ``meaning``.

    Raises
    ------
    ResultsError
        If the share is out of the range of those measured.
    """
    if keep == rule["kept"]:
        return rule
    table = rule["by_share"]
    shares = table["share"]
    if not shares[0] <= keep <= shares[-1]:
        raise ResultsError(f"{keep:g} of the known sounds cannot be kept: choose from {shares[0]:g} to {shares[-1]:g}")
    threshold, accepted = (
        np.interp(keep, shares, each) for each in (table["scores"][rule["score"]], table["accepted"])
    )
    how = {"threshold": float(threshold), "kept": float(keep)}
    meaning = describe_rule(rule["score"], rule["neighbours"], **how, accepted=accepted, who=table["who"])
    return rule | how | {"meaning": meaning}


def scores_of(name):
    """Return the names of the scores that a score combines, followed by its own."""
    return (*(part.__name__ for part in COMBINED), name) if name == "combined" else (name,)


def most_unlike(evidence):
    """Return the score in which a sound is most unusual, and the share of known sounds with a higher value."""
    rule = evidence.rule
    shares, reached = rule["by_share"]["share"], rule["by_share"]["scores"]
    names = [*scores_of(rule["score"])]
    if "class_score" in names and not evidence.matrix[:, evidence.predicted].any():
        names.remove("class_score")
    values = {name: OOD_SCORES[name](evidence, k=rule["neighbours"])[0] for name in names}
    above = {name: float(np.interp(-values[name], -np.array(reached[name]), shares)) for name in names}
    return max(above.items(), key=lambda pair: pair[1])


def clip_vectors(vectors):
    """Return the mean embedding of the active frames, scaled to unit length.

    Parameters
    ----------
    vectors : np.ndarray, shape (n_clips, n_frames, 1024 or more)
        YAMNet's embeddings, or longer vectors that end in them.

    Returns
    -------
    np.ndarray, shape (n_clips, 1024)
        Float32; the inner product of two rows is their cosine.
    """
    embeddings = vectors[..., -YamnetSettings.embedding_size :]
    mask = frame_mask(active_frames(embeddings)).astype(np.float32)
    sums = np.einsum("cfd,cf->cd", embeddings, mask)  # (n_clips, 1024)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)


@cache
def load_reference() -> ReferenceClips:
    """Return the vectors of all ESC-50 clips, on which the packaged models were trained; loaded once."""
    with np.load(io.BytesIO(read_packaged(REFERENCE_FILE))) as arrays:
        vectors = arrays["vectors"].astype(np.float32)
        return ReferenceClips(vectors, arrays["targets"].astype(np.int64), arrays["filenames"])


def nearest_clips(similarity, reference, names, *, n_nearest=5):
    """Return the reference clips with the highest similarity (n_reference,), as `Neighbour`, the nearest first."""
    order = np.argsort(-similarity, kind="stable")[:n_nearest]
    return tuple(
        Neighbour(str(reference.filenames[i]), names[reference.targets[i]], float(similarity[i])) for i in order
    )


def _mean_of_largest(values, k):
    """Return the mean of the k largest finite values in each row; -1 if there is none."""
    largest = np.sort(values, axis=1)[:, -k:]
    is_finite = np.isfinite(largest)
    means = np.where(is_finite, largest, 0).sum(axis=1) / np.maximum(is_finite.sum(axis=1), 1)
    return np.where(is_finite.any(axis=1), means, -1)

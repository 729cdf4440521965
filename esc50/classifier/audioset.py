"""Map AudioSet's 521 classes to ESC-50's 50, to use YAMNet's own scores as a prior."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

TABLE = "audioset_classes.csv"  # category, AudioSet class, id in the ontology (Gemmeke et al. 2017)


@dataclass(frozen=True)
class AudioSetSettings:
    """What is added to the head's logits: weight * log(sum of a class's AudioSet scores + offset)."""

    weight: float = 0.1
    offset: float = 0.001
    unmapped: float = 0.1  # replaces the sum for classes without a counterpart in AudioSet


AUDIOSET = AudioSetSettings()


@cache
def audioset_table() -> dict:
    """Return the AudioSet classes that correspond to, or are a kind or part of, each ESC-50 class; two have none."""
    table = {}
    for row in csv.DictReader((files("esc50.classifier") / TABLE).read_text(encoding="utf-8").splitlines()):
        table.setdefault(row["category"], []).append(row["audioset_class"])
    return table


def audioset_matrix(class_names, audioset_classes) -> np.ndarray:
    """Return the mapping as a matrix.

    Parameters
    ----------
    class_names : sequence of str
        Classes, in label order.
    audioset_classes : sequence of str
        AudioSet display names, in the order of the scores.

    Returns
    -------
    np.ndarray, shape (n_audioset_classes, n_classes)
        Float32: 1 where an AudioSet class corresponds to a class, else 0.
    """
    matrix = np.zeros((len(audioset_classes), len(class_names)), np.float32)
    for category, names in audioset_table().items():
        if category in class_names:
            rows = [audioset_classes.index(name) for name in names]
            matrix[rows, class_names.index(category)] = 1
    return matrix


def audioset_prior(class_names, audioset_classes, settings=AUDIOSET):
    """Return the prior for `esc50.yamnet.export.head_model`.

    Parameters
    ----------
    class_names, audioset_classes : sequence of str
        As for `audioset_matrix`.
    settings : AudioSetSettings
        Weight, offset and value for unmapped classes.

    Returns
    -------
    matrix : np.ndarray, shape (n_audioset_classes, n_classes)
        From `audioset_matrix`.
    bias : np.ndarray, shape (n_classes,)
        Added to the sums before the logarithm.
    weight : float
        Factor of the logarithm.
    """
    matrix = audioset_matrix(class_names, audioset_classes)
    return matrix, settings.offset + settings.unmapped * ~matrix.any(axis=0), settings.weight

"""Which of AudioSet's 521 classes mean which of the 50: YAMNet's own scores as a second opinion."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

TABLE = "audioset_classes.csv"  # category, AudioSet class, its id in the ontology (Gemmeke et al. 2017)


@dataclass(frozen=True)
class AudioSetSettings:
    """How YAMNet's own scores join the head's logits: weight * log(sum of the scores of a class + offset)."""

    weight: float = 0.1
    offset: float = 0.001
    unmapped: float = 0.1  # in place of the sum where AudioSet has no such class


AUDIOSET = AudioSetSettings()


@cache
def audioset_table() -> dict:
    """AudioSet's classes by the class of ESC-50 that they are, or are a kind or a part of; two classes have none."""
    table = {}
    for row in csv.DictReader((files("esc50.classifier") / TABLE).read_text(encoding="utf-8").splitlines()):
        table.setdefault(row["category"], []).append(row["audioset_class"])
    return table


def audioset_matrix(class_names, audioset_classes) -> np.ndarray:
    """1 where one of AudioSet's classes means a class, (n_audioset_classes, n_classes), float32."""
    matrix = np.zeros((len(audioset_classes), len(class_names)), np.float32)
    for category, names in audioset_table().items():
        if category in class_names:
            rows = [audioset_classes.index(name) for name in names]
            matrix[rows, class_names.index(category)] = 1
    return matrix


def audioset_prior(class_names, audioset_classes, settings=AUDIOSET):
    """Matrix (n_audioset_classes, n_classes), bias (n_classes,) and weight for `esc50.yamnet.export.head_model`."""
    matrix = audioset_matrix(class_names, audioset_classes)
    return matrix, settings.offset + settings.unmapped * ~matrix.any(axis=0), settings.weight

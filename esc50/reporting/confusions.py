"""Pairs of classes that are confused with each other, and example clips."""

import numpy as np
from sklearn.metrics import confusion_matrix


def most_confused(targets, probabilities, *, most=10):
    """Return the pairs of classes that are confused most often, the worst first.

    Each is (first label, second label, clips of the first predicted as the second, and the other way round).
    """
    counts = confusion_matrix(targets, probabilities.argmax(axis=1), labels=range(probabilities.shape[1]))
    both = np.triu(counts + counts.T, k=1)
    order = np.argsort(-both, axis=None, kind="stable")[:most]
    pairs = np.column_stack(np.unravel_index(order, both.shape)).tolist()
    return [(a, b, int(counts[a, b]), int(counts[b, a])) for a, b in pairs if both[a, b]]


def confused_examples(targets, probabilities, pairs):
    """Return for each pair the most probable wrong prediction of the other class: the clip's row, and that class."""
    predicted, certainty = probabilities.argmax(axis=1), probabilities.max(axis=1)
    found = []
    for a, b, *_ in pairs:
        mistaken = ((targets == a) & (predicted == b)) | ((targets == b) & (predicted == a))
        row = np.argmax(np.where(mistaken, certainty, -1))
        found.append((int(row), int(predicted[row])))
    return found

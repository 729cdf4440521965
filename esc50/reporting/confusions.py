"""Which classes are taken for each other, and the clips that show it."""

import numpy as np
from sklearn.metrics import confusion_matrix


def most_confused(targets, probabilities, *, most=10):
    """Pairs of classes that are taken for each other most often, the worst first.

    Each is (one label, the other, clips of the one taken for the other, and the other way round).
    """
    counts = confusion_matrix(targets, probabilities.argmax(axis=1), labels=range(probabilities.shape[1]))
    both = np.triu(counts + counts.T, k=1)
    order = np.argsort(-both, axis=None, kind="stable")[:most]
    pairs = np.column_stack(np.unravel_index(order, both.shape)).tolist()
    return [(a, b, int(counts[a, b]), int(counts[b, a])) for a, b in pairs if both[a, b]]


def confused_examples(targets, probabilities, pairs):
    """For each pair the clip that was most confidently taken for the other class: its row, and that label."""
    predicted, certainty = probabilities.argmax(axis=1), probabilities.max(axis=1)
    found = []
    for a, b, *_ in pairs:
        mistaken = ((targets == a) & (predicted == b)) | ((targets == b) & (predicted == a))
        row = np.argmax(np.where(mistaken, certainty, -1))
        found.append((int(row), int(predicted[row])))
    return found

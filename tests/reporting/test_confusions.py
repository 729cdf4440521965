import numpy as np

from esc50.reporting import confusions


def test_most_confused_pairs_count_both_ways():
    targets = np.array([3, 3, 3, 7, 7, 9])
    predicted = np.array([7, 7, 3, 3, 7, 9])
    assert confusions.most_confused(targets, np.eye(50)[predicted]) == [(3, 7, 2, 1)]


def test_confused_examples_are_of_the_pair():
    targets, predicted = np.array([3, 3, 7, 9]), np.array([7, 3, 3, 9])
    probabilities = 0.5 * np.eye(50)[predicted]
    probabilities[2] *= 1.5
    assert confusions.confused_examples(targets, probabilities, [(3, 7, 1, 1)]) == [(2, 3)]

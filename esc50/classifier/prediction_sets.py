"""Prediction sets: the classes of which one is right as often as is asked for, by split conformal prediction."""

import numpy as np

from esc50.classifier.describe import GUESS_BELOW
from esc50.config import ResultsError

SURENESS = (GUESS_BELOW, 0.9)  # probabilities of the likeliest class that part three groups of sounds
COVERAGES = (0.8, 0.9, 0.95)  # that are measured; of unsure sounds there are too few for more
DEFAULT_COVERAGE = 0.9


def sureness(probabilities, edges=SURENESS):
    """Group of each sound by its likeliest class's probability: 0, 1 or 2 from (..., n_classes), calibrated."""
    return np.searchsorted(edges, probabilities.max(axis=-1), side="right")


def prediction_set(probabilities, rule, coverage=DEFAULT_COVERAGE):
    """The classes of a prediction set.

    Classes whose probability is at least the one below which, in the share of clips that is left, their true class
    lies (least ambiguous sets: Sadinle, Lei and Wasserman 2019, arXiv 1609.00451); each group of `sureness` has its
    own (Mondrian: Vovk et al. 2003), for the surest sounds alone would make up for the others.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n_classes,)
        Calibrated.
    rule : dict or None
        The metadata's ``conformal``: ``edges`` of the groups, and for each ``coverage`` their ``min_probability``.
    coverage : float
        In which share of sounds the true class is to be in the set, at least.

    Returns
    -------
    np.ndarray
        Labels, the most probable first; never none. Where that very coverage was not measured, those of the next
        higher one.

    Raises
    ------
    ResultsError
        The model has no prediction sets, or none for so high a coverage.
    """
    if not rule:
        raise ResultsError("this model has no prediction sets: measure them with `esc50 trust`, then `esc50 export`")
    measured = rule["coverage"]
    if not 0 < coverage <= measured[-1]:
        raise ResultsError(f"no prediction sets hold the class with {coverage:g}: choose up to {measured[-1]:g}")
    smallest = rule["min_probability"][np.searchsorted(measured, coverage)][sureness(probabilities, rule["edges"])]
    order = np.argsort(-probabilities, kind="stable")
    return order[: max(1, np.count_nonzero(probabilities >= smallest))]

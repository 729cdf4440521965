"""Prediction sets: classes that contain the true one with a given coverage, by split conformal prediction."""

import numpy as np

from esc50.classifier.describe import GUESS_BELOW
from esc50.config import ResultsError

SURENESS = (GUESS_BELOW, 0.9)  # top-class probabilities that separate three groups of sounds
COVERAGES = (0.8, 0.9, 0.95)  # measured; there are too few unsure sounds for higher ones
DEFAULT_COVERAGE = 0.9


def sureness(probabilities, edges=SURENESS):
    """Return the group (0, 1 or 2) of each sound by the highest of its calibrated probabilities (..., n_classes)."""
    return np.searchsorted(edges, probabilities.max(axis=-1), side="right")


def prediction_set(probabilities, rule, coverage=DEFAULT_COVERAGE):
    """Return the prediction set of one sound.

    The set holds the classes whose probability reaches a minimum (least ambiguous sets: Sadinle, Lei and Wasserman
    2019, arXiv 1609.00451). Each group of `sureness` has its own minimum (Mondrian conformal prediction: Vovk et al.
    2003), so that confident sounds do not compensate for unsure ones.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n_classes,)
        Calibrated.
    rule : dict or None
        The metadata's ``conformal``: ``edges`` of the groups, and for each ``coverage`` their ``min_probability``.
    coverage : float
        Minimum share of sounds whose set contains the true class. If it was not measured, the next higher measured
        coverage is used.

    Returns
    -------
    np.ndarray, shape (n_in_set,)
        Labels, the most probable first; at least one.

    Raises
    ------
    ResultsError
        If the model has no prediction sets, or the coverage is higher than measured.
    """
    if not rule:
        raise ResultsError("this model has no prediction sets: measure them with `esc50 trust`, then `esc50 export`")
    measured = rule["coverage"]
    if not 0 < coverage <= measured[-1]:
        raise ResultsError(
            f"no prediction sets for a coverage of {coverage:g}: choose above 0 and up to {measured[-1]:g}"
        )
    smallest = rule["min_probability"][np.searchsorted(measured, coverage)][sureness(probabilities, rule["edges"])]
    order = np.argsort(-probabilities, kind="stable")
    return order[: max(1, np.count_nonzero(probabilities >= smallest))]

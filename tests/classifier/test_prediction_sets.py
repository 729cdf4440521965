import numpy as np
import pytest

from esc50.classifier.prediction_sets import prediction_set, sureness
from esc50.config import ResultsError

RULE = {
    "coverage": [0.8, 0.9],
    "edges": [0.5, 0.9],
    "min_probability": [[0.2, 0.3, 0.9], [0.1, 0.2, 0.95]],
}


def test_sounds_are_grouped_by_their_likeliest_class():
    rows = np.array([[0.49, 0.3, 0.21], [0.5, 0.5, 0.0], [0.05, 0.899, 0.051], [0.0, 0.1, 0.9]])
    assert sureness(rows).tolist() == [0, 1, 1, 2]
    assert sureness(rows[3]) == 2


@pytest.mark.parametrize(
    ("probabilities", "coverage", "labels"),
    [
        ([0.15, 0.45, 0.4], 0.9, [1, 2, 0]),  # unsure: from 0.1 on
        ([0.15, 0.45, 0.4], 0.8, [1, 2]),  # from 0.2 on
        ([0.15, 0.45, 0.4], 0.5, [1, 2]),  # the next coverage that was measured
        ([0.15, 0.45, 0.4], 0.85, [1, 2, 0]),
        ([0.25, 0.6, 0.15], 0.9, [1, 0]),
        ([0.25, 0.6, 0.15], 0.8, [1]),
        ([0.92, 0.08, 0.0], 0.9, [0]),  # never none
    ],
)
def test_classes_that_are_probable_enough_are_in_the_set(probabilities, coverage, labels):
    assert prediction_set(np.array(probabilities), RULE, coverage).tolist() == labels


@pytest.mark.parametrize("coverage", [0, -1, 0.91, 1, float("nan")])
def test_a_coverage_that_was_not_measured_is_refused(coverage):
    with pytest.raises(ResultsError, match=r"no prediction sets for a coverage of .*: choose above 0 and up to 0\.9$"):
        prediction_set(np.array([0.5, 0.5]), RULE, coverage)


def test_a_model_without_sets_says_what_to_do():
    with pytest.raises(ResultsError, match="has no prediction sets: measure them with `esc50 trust`"):
        prediction_set(np.array([0.5, 0.5]), None)

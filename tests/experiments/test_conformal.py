"""Prediction sets: quantiles by hand, comparison with MAPIE, coverage on known distributions, committed results."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from esc50.classifier.prediction_sets import COVERAGES, DEFAULT_COVERAGE, prediction_set
from esc50.experiments import conformal, trust_report
from esc50.experiments.shipping import RECIPES


@pytest.fixture
def sounds(rng):
    """Targets and probabilities of 3,000 sounds of 50 classes that are as sure as right; five folds; recordings."""
    logits = rng.normal(0, 1, (3_000, 50)) * rng.choice([2, 6, 20], (3_000, 1))
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    targets = (probabilities.cumsum(axis=1) > rng.random((3_000, 1))).argmax(axis=1)
    return targets, probabilities, np.arange(3_000), np.tile([1, 2, 3, 4, 5], 600)


def test_each_recording_counts_as_one():
    scores, recordings = np.array([0.1, 0.2, 0.3, 0.4, 0.9]), np.array(["a", "a", "a", "b", "c"])
    for coverage, expected in ((0.25, 0.3), (0.5, 0.4), (0.75, 0.9), (0.76, np.inf)):  # and so does the new one
        assert conformal.quantile(scores, recordings, coverage) == expected
    assert conformal.quantile(scores, np.arange(5), 0.5) == 0.3
    assert conformal.quantile(scores[:0], recordings[:0], 0.5) == np.inf


def test_the_mass_of_likelier_classes():
    np.testing.assert_allclose(conformal.aps(np.array([[0.2, 0.5, 0.3]])), [[0.8, 0.0, 0.5]])


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose inputs are its probabilities."""

    def fit(self, inputs, targets):
        self.classes_ = np.arange(inputs.shape[1])
        return self

    def predict_proba(self, inputs):
        return inputs

    def predict(self, inputs):
        return inputs.argmax(axis=1)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_sets_of_clips_without_siblings_are_those_of_mapie(sounds, coverage):
    classification = pytest.importorskip("mapie.classification")
    targets, probabilities, recordings, _ = sounds
    group, found = conformal.sureness(probabilities), np.zeros_like(probabilities, bool)
    calibration = np.arange(len(targets)) < 2_000
    quantiles = conformal.thresholds(
        conformal.lac, targets[calibration], probabilities[calibration], recordings[calibration], coverage
    )
    for number in conformal.GROUPS:
        known, new = calibration & (group == number), ~calibration & (group == number)
        estimator = Given().fit(probabilities[known], targets[known])
        oracle = classification.SplitConformalClassifier(estimator, coverage, conformity_score="lac")
        oracle.conformalize(probabilities[known], targets[known])
        found[new] = oracle.predict_set(probabilities[new])[1][..., 0]
    new = np.flatnonzero(~calibration)
    found[new, probabilities[new].argmax(axis=1)] = True  # ours are never empty
    np.testing.assert_array_equal(conformal.sets_of(conformal.lac, probabilities[new], quantiles), found[new])


def test_coverage_is_what_was_asked_for_in_each_group_and_no_more_than_it_needs(sounds):
    sets = conformal.measure(*sounds)
    assert sets.groupby("coverage")["clips"].sum().tolist() == [3_000] * len(COVERAGES)
    found = conformal.summarise(sets, "sureness")
    for (coverage, group), row in found.iterrows():
        margin = 3 * np.sqrt(coverage * (1 - coverage) / row["clips"])
        assert row["covered"] > coverage - margin
        assert group == 2 or row["covered"] < coverage + margin or row["classes"] < 1.01
    sizes = conformal.summarise(sets, [])["classes"]
    assert sizes.is_monotonic_increasing and sizes.iloc[0] >= 1


def test_the_rule_of_the_metadata_gives_the_sets_that_were_measured(sounds):
    targets, probabilities, recordings, _ = sounds
    rule = conformal.fit(targets, probabilities, recordings)
    calibrated = conformal.temper(probabilities, conformal.metrics.fit_temperature(targets, probabilities))
    quantiles = conformal.thresholds(conformal.lac, targets, calibrated, recordings, 0.9)
    expected = conformal.sets_of(conformal.lac, calibrated, quantiles)
    sizes = [len(prediction_set(row, rule, 0.9)) for row in calibrated]
    assert np.mean(sizes == expected.sum(axis=1)) > 0.99  # probabilities in the rule are rounded down
    assert (sizes >= expected.sum(axis=1)).all()


def test_where_a_group_is_too_small_every_class_is_in_the_set(sounds):
    targets, probabilities, *_ = (each[:20] for each in sounds)
    rule = conformal.fit(targets, probabilities, np.zeros(20))  # one recording
    assert np.array(rule["min_probability"]).max() == 0


def test_sets_of_least_ambiguity_are_the_smaller_ones(sounds):
    sizes = conformal.compare_scores(*sounds)
    assert all(sizes["lac"][key] <= sizes["aps"][key] for key in map(str, COVERAGES))
    two = sounds[3] <= 2
    assert conformal.compare_scores(*(each[two] for each in sounds)) == {}


def test_a_table_by_hand():
    sets = np.array([[True, False, True], [True, False, False], [True, True, False]])
    found = conformal.tabulate(np.array([0, 0, 2]), sets, np.array([1, 1, 0]), coverage=0.9, fold=3)
    expected = pd.DataFrame(
        {"coverage": 0.9, "fold": 3, "target": [0, 2], "sureness": [1, 0], "clips": [2, 1]}
        | {"covered": [2, 0], "classes": [3, 2]}
    )
    pd.testing.assert_frame_equal(found, expected)
    assert conformal.summarise(found, "target")["covered"].tolist() == [1, 0]
    assert conformal.summarise(found, [])["classes"].tolist() == [pytest.approx(5 / 3)]


@pytest.mark.results
@pytest.mark.parametrize("name", RECIPES)
def test_committed_sets_hold_the_class_as_often_as_they_say(name):
    trust = trust_report.load_trust(model=name)
    sizes = trust.report["mean_set_sizes"]
    assert all(sizes["lac"][key] <= sizes["aps"][key] for key in sizes["lac"])
    whole = conformal.summarise(trust.sets, [])
    assert (whole["clips"] == 2_000).all()
    for coverage, row in whole.iterrows():
        assert row["covered"] > coverage - 0.01
    unsure = conformal.summarise(trust.sets, "sureness").loc[DEFAULT_COVERAGE]
    assert (unsure["covered"] > DEFAULT_COVERAGE - 0.06).all()

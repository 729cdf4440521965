import numpy as np
import pytest
from scipy.special import softmax

from esc50.classifier import pooling
from esc50.experiments import metrics

N_CLASSES = 5


@pytest.fixture
def overconfident(rng):
    """Labels drawn from the softmax of logits, and the softmax of three times these logits."""
    logits = rng.normal(0, 2, (20_000, N_CLASSES))
    targets = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1)
    return targets, softmax(3 * logits, axis=1)


def right_and_sure(targets, probabilities):
    return probabilities.argmax(axis=1) == targets, probabilities.max(axis=1)


def test_the_temperature_that_was_put_in_is_found(overconfident):
    assert metrics.fit_temperature(*overconfident) == pytest.approx(3, rel=0.03)


def test_calibration_mends_what_is_too_sure(overconfident):
    targets, probabilities = overconfident
    tempered = pooling.temper(probabilities, metrics.fit_temperature(targets, probabilities))
    before, after = (metrics.expected_calibration_error(*right_and_sure(targets, p)) for p in (probabilities, tempered))
    assert before > 0.1
    assert after < 0.02
    better = metrics.negative_log_likelihood(targets, tempered)
    assert better < metrics.negative_log_likelihood(targets, probabilities)


def test_tempering_keeps_the_order_the_sum_and_the_type():
    probabilities = np.array([[0.7, 0.2, 0.1, 0.0]], np.float32)
    softer = pooling.temper(probabilities, 2.0)
    assert softer.dtype == np.float32
    assert softer.sum() == pytest.approx(1)
    assert np.argsort(softer[0]).tolist() == [3, 2, 1, 0]
    assert softer[0, 0] < 0.7 < pooling.temper(probabilities, 0.5)[0, 0]
    np.testing.assert_allclose(pooling.temper(probabilities, 1.0), probabilities, atol=1e-6)


def test_each_row_can_have_its_own_temperature():
    probabilities = np.array([[0.7, 0.3], [0.7, 0.3]])
    found = pooling.temper(probabilities, np.array([[1.0], [2.0]]))
    np.testing.assert_allclose(found[0], [0.7, 0.3])
    np.testing.assert_allclose(found[1], pooling.temper(probabilities[0], 2.0))


def test_the_likelihood_of_certain_answers():
    targets = np.array([0, 1])
    assert metrics.negative_log_likelihood(targets, np.eye(2)) == 0
    assert metrics.negative_log_likelihood(targets, np.full((2, 2), 0.5)) == pytest.approx(np.log(2))
    assert np.isfinite(metrics.negative_log_likelihood(targets, 1 - np.eye(2)))


def test_reliability_by_hand():
    correct, confidence = np.array([True, False, True, True]), np.array([0.2, 0.5, 0.6, 1.0])
    table = metrics.reliability_table(correct, confidence, n_bins=2)
    assert table["clips"].tolist() == [2, 2]
    assert table["accuracy"].tolist() == [0.5, 1.0]
    assert table["confidence"].tolist() == pytest.approx([0.35, 0.8])
    assert metrics.expected_calibration_error(correct, confidence, n_bins=2) == pytest.approx(0.5 * 0.15 + 0.5 * 0.2)


def test_empty_bins_do_not_count():
    table = metrics.reliability_table(np.array([True]), np.array([0.95]))
    assert table["clips"].sum() == 1
    assert table["accuracy"].isna().sum() == len(table) - 1
    assert metrics.expected_calibration_error(np.array([True]), np.array([0.95])) == pytest.approx(0.05)


def test_risk_and_coverage_by_hand():
    coverage, risk = metrics.risk_coverage([True, False, True, False], [0.9, 0.8, 0.95, 0.1])
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 0.5])


def test_the_area_is_least_where_the_wrong_come_last():
    correct = [True, True, False]
    best, worst = (metrics.area_under_risk_coverage(correct, s) for s in ([3, 2, 1], [1, 2, 3]))
    assert best == pytest.approx(1 / 9)
    assert worst == pytest.approx((1 + 0.5 + 1 / 3) / 3)

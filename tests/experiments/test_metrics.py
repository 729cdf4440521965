import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score, roc_curve

from esc50.experiments import metrics


@pytest.fixture
def guesses(rng):
    targets = rng.integers(50, size=400)
    probabilities = rng.dirichlet(np.full(50, 0.3), size=400)
    probabilities[np.arange(300), targets[:300]] += 1
    return targets, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_perfect_scores():
    targets = np.arange(50)
    found = metrics.classification_metrics(targets, np.eye(50))
    assert found == {"n_clips": 50, "accuracy": 1, "top3_accuracy": 1, "macro_f1": 1}


def test_scores_of_a_known_case():
    """Two of four right; the third's class is second; macro-F1 by hand over classes 0, 1 and 2."""
    targets = np.array([0, 0, 1, 2])
    probabilities = np.zeros((4, 50))
    probabilities[np.arange(4), [0, 0, 0, 5]] = 0.6
    probabilities[2, 1] = 0.3
    probabilities[3, [6, 7]] = 0.2
    found = metrics.classification_metrics(targets, probabilities)
    assert (found["accuracy"], found["top3_accuracy"]) == (0.5, 0.75)
    assert found["macro_f1"] == pytest.approx((0.8 + 0 + 0 + 0) / 4)


def test_intervals_enclose_the_figure_and_narrow_with_more_clips(guesses):
    targets, probabilities = guesses
    figures = metrics.classification_metrics(targets, probabilities)
    wide = metrics.bootstrap_intervals(targets[::4], probabilities[::4], np.arange(100), n_resamples=300)
    narrow = metrics.bootstrap_intervals(targets, probabilities, np.arange(400), n_resamples=300)
    for name in ("accuracy", "top3_accuracy"):
        assert narrow[name][0] < figures[name] < narrow[name][1]
    assert np.ptp(narrow["top3_accuracy"]) < np.ptp(wide["top3_accuracy"])


def test_intervals_match_the_binomial_where_every_clip_is_a_recording(guesses):
    targets, probabilities = guesses
    low, high = metrics.bootstrap_intervals(targets, probabilities, np.arange(400))["accuracy"]
    accuracy = metrics.classification_metrics(targets, probabilities)["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(accuracy * (1 - accuracy) / 400), rel=0.1)


def test_intervals_are_wider_when_recordings_hold_several_clips(guesses):
    targets, probabilities = guesses
    alone = metrics.bootstrap_intervals(targets, probabilities, np.arange(400))
    together = metrics.bootstrap_intervals(targets, probabilities, np.arange(400) // 40)
    assert np.ptp(together["accuracy"]) > np.ptp(alone["accuracy"])


def test_the_same_seed_gives_the_same_intervals(guesses):
    one, two = (metrics.bootstrap_intervals(*guesses, np.arange(400), n_resamples=50, seed=4) for _ in range(2))
    assert one == two


def test_macro_f1_of_the_bootstrap_is_that_of_scikit_learn(guesses, rng):
    targets, probabilities = guesses
    predicted, weights = probabilities.argmax(axis=1), rng.integers(0, 4, len(targets))
    expected = f1_score(targets, predicted, average="macro", sample_weight=weights)
    assert metrics.weighted_macro_f1(targets, predicted, weights) == pytest.approx(expected)


def test_a_model_that_wins_more_clips_is_compared_with_the_other():
    targets = np.zeros(40, int)
    right, wrong = np.eye(50)[0], np.eye(50)[1]
    ours = np.array([right] * 30 + [wrong] * 10)
    others = np.array([right] * 18 + [wrong] * 20 + [right] * 2)
    found = metrics.compare(targets, ours, others, np.arange(40))
    assert (found["won"], found["lost"]) == (12, 2)
    assert found["gain"] == pytest.approx(0.25)
    assert found["p"] == pytest.approx(2 * sum(math.comb(14, k) for k in range(3)) / 2**14)
    assert 0.05 < found["gain_low"] < 0.25 < found["gain_high"] < 0.45


def test_a_model_is_no_better_than_itself():
    scores = np.random.default_rng(0).random((30, 50))
    found = metrics.compare(np.arange(30), scores, scores, np.arange(30))
    assert (found["gain"], found["gain_low"], found["gain_high"], found["p"]) == (0, 0, 0, 1)


def test_holm_is_that_of_a_worked_example():
    """p 0.01, 0.04, 0.03 and 0.005 times 3, 1, 2 and 4, then never below a smaller one's."""
    found = metrics.holm([np.nan, 0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(found, [np.nan, 0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(metrics.holm([0.9, 0.8]), [1, 1])


def test_the_weighted_roc_is_that_of_repeated_clips(rng):
    positive, scores, weights = rng.random(80) < 0.4, np.round(rng.normal(size=80), 1), rng.integers(0, 4, size=80)
    fpr, tpr = metrics.weighted_roc(positive, scores, weights)
    expected = roc_auc_score(np.repeat(positive, weights), np.repeat(scores, weights))
    assert np.trapezoid(tpr, fpr) == pytest.approx(expected)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


def test_many_weightings_give_each_its_own_figures(rng):
    positive, scores = rng.random(200) < 0.6, np.round(rng.normal(size=200), 1)
    scores[:5], scores[-5:] = -np.inf, np.inf
    weights = rng.integers(0, 4, size=(3, 200))
    found = metrics.separation(positive, scores, weights)
    for i, times in enumerate(weights):
        repeated = np.repeat(positive, times), np.repeat(np.clip(scores, -9, 9), times)
        fpr, tpr, _ = roc_curve(*repeated, drop_intermediate=False)
        assert found["auroc"][i] == pytest.approx(roc_auc_score(*repeated))
        assert found["fpr_at_95_tpr"][i] == pytest.approx(fpr[tpr >= 0.95][0])

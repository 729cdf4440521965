import math

import numpy as np
import pytest

from esc50.classifier import pooling
from esc50.experiments import metrics


@pytest.fixture
def guesses(rng):
    targets = rng.integers(50, size=400)
    probabilities = rng.dirichlet(np.full(50, 0.3), size=400)
    probabilities[np.arange(300), targets[:300]] += 1
    return targets, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_perfect_scores():
    targets = np.arange(50)
    found = metrics.scores(targets, np.eye(50))
    assert found == {"n_clips": 50, "accuracy": 1, "top3_accuracy": 1, "macro_f1": 1}


def test_scores_of_a_known_case():
    """Two of four right; the third's class is second; macro-F1 by hand over classes 0, 1 and 2."""
    targets = np.array([0, 0, 1, 2])
    probabilities = np.zeros((4, 50))
    probabilities[np.arange(4), [0, 0, 0, 5]] = 0.6
    probabilities[2, 1] = 0.3
    probabilities[3, [6, 7]] = 0.2
    found = metrics.scores(targets, probabilities)
    assert (found["accuracy"], found["top3_accuracy"]) == (0.5, 0.75)
    assert found["macro_f1"] == pytest.approx((0.8 + 0 + 0 + 0) / 4)


@pytest.mark.parametrize("pool", [pooling.mean_pool, pooling.geometric_mean_pool, pooling.max_pool])
def test_poolings_give_probabilities_and_keep_agreement(pool, rng):
    frames = rng.dirichlet(np.ones(50), size=(3, 10))
    assert np.allclose(pool(frames).sum(axis=1), 1)
    same = np.repeat(frames[:, :1], 10, axis=1)
    expected = same[:, 0] / same[:, 0].sum(axis=1, keepdims=True)
    assert np.allclose(pool(same), expected, atol=1e-6)


@pytest.mark.parametrize("pool", [pooling.mean_pool, pooling.geometric_mean_pool, pooling.max_pool])
def test_silent_frames_do_not_count_unless_there_are_no_others(pool, rng):
    frames = rng.dirichlet(np.ones(50), size=(2, 6))
    active = np.array([[True, True, False, True, False, False], [False] * 6])
    pooled = pool(frames, active)
    assert np.allclose(pooled[0], pool(frames[:1, [0, 1, 3]])[0])
    assert np.allclose(pooled[1], pool(frames[1:])[0])
    assert not np.allclose(pooled[0], pool(frames[:1])[0])


def test_audible_frames_count_or_all_where_there_is_none():
    active = np.array([[True, False], [False, False], [True, True]])
    counted = pooling.frame_mask(active)
    assert counted.dtype == bool
    assert counted.tolist() == [[True, False], [True, True], [True, True]]


def test_geometric_mean_is_vetoed_by_one_frame():
    frames = np.full((1, 2, 50), 1e-7)
    frames[0, 0, 3], frames[0, 1, 4] = 1.0, 1.0
    frames[0, :, 5] = 0.1
    assert pooling.geometric_mean_pool(frames).argmax() == 5
    assert pooling.max_pool(frames).argmax() in (3, 4)


def test_intervals_enclose_the_figure_and_narrow_with_more_clips(guesses):
    targets, probabilities = guesses
    figures = metrics.scores(targets, probabilities)
    wide = metrics.bootstrap_intervals(targets[::4], probabilities[::4], np.arange(100), n_resamples=300)
    narrow = metrics.bootstrap_intervals(targets, probabilities, np.arange(400), n_resamples=300)
    for name in ("accuracy", "top3_accuracy"):
        assert narrow[name][0] < figures[name] < narrow[name][1]
    assert np.ptp(narrow["top3_accuracy"]) < np.ptp(wide["top3_accuracy"])


def test_intervals_match_the_binomial_where_every_clip_is_a_recording(guesses):
    targets, probabilities = guesses
    low, high = metrics.bootstrap_intervals(targets, probabilities, np.arange(400))["accuracy"]
    accuracy = metrics.scores(targets, probabilities)["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(accuracy * (1 - accuracy) / 400), rel=0.1)


def test_intervals_are_wider_when_recordings_hold_several_clips(guesses):
    targets, probabilities = guesses
    alone = metrics.bootstrap_intervals(targets, probabilities, np.arange(400))
    together = metrics.bootstrap_intervals(targets, probabilities, np.arange(400) // 40)
    assert np.ptp(together["accuracy"]) > np.ptp(alone["accuracy"])


def test_the_same_seed_gives_the_same_intervals(guesses):
    one, two = (metrics.bootstrap_intervals(*guesses, np.arange(400), n_resamples=50, seed=4) for _ in range(2))
    assert one == two


def test_macro_f1_of_the_bootstrap_is_that_of_scikit_learn(guesses):
    targets, probabilities = guesses
    counts = metrics.confusion(targets, probabilities.argmax(axis=1))
    assert metrics._macro_f1(counts) == pytest.approx(metrics.scores(targets, probabilities)["macro_f1"])


def test_confusion_counts_true_classes_in_rows():
    counts = metrics.confusion(np.array([0, 0, 1]), np.array([0, 2, 1]), n_classes=3)
    assert counts.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_most_confused_pairs_count_both_ways():
    targets = np.array([3, 3, 3, 7, 7, 9])
    predicted = np.array([7, 7, 3, 3, 7, 9])
    assert metrics.most_confused(targets, np.eye(50)[predicted]) == [(3, 7, 2, 1)]


def test_confused_examples_are_of_the_pair():
    targets, predicted = np.array([3, 3, 7, 9]), np.array([7, 3, 3, 9])
    scores = 0.5 * np.eye(50)[predicted]
    scores[2] *= 1.5
    assert metrics.confused_examples(targets, scores, [(3, 7, 1, 1)]) == [(2, 3)]


def test_the_per_class_report_agrees_with_the_macro_f1(guesses):
    targets, probabilities = guesses
    report = metrics.per_class_report(targets, probabilities.argmax(axis=1), [str(i) for i in range(50)])
    assert report["f1"].mean() == pytest.approx(metrics.scores(targets, probabilities)["macro_f1"])
    assert report["clips"].sum() == 400


def test_the_nearest_neighbour_is_found_among_the_training_clips():
    features = np.array([[1.0, 0], [0, 1.0], [5.0, 0.1], [0.1, 3.0]])
    found = metrics.nearest_neighbour(features, np.array([7, 9, 7, 9]), np.array([0, 1]), np.array([2, 3]))
    assert found.tolist() == [7, 9]


def test_majority_labels_takes_the_most_frequent_and_marks_the_unseen():
    guesses, targets = np.array([0, 0, 0, 2]), np.array([4, 4, 1, 3])
    labels = metrics.majority_labels(guesses, targets, n_guesses=3, n_classes=5)
    assert labels.tolist() == [4, -1, 3]


def test_translate_guesses_never_uses_the_clips_own_fold():
    guesses, folds = np.array([0, 0, 1, 1]), np.array([1, 2, 1, 2])
    targets = np.array([3, 4, 2, 2])
    translated = metrics.translate_guesses(guesses, targets, folds, n_guesses=2, n_classes=5)
    assert translated.tolist() == [4, 3, 2, 2]


def test_nearest_neighbours_are_of_other_folds_and_sorted():
    vectors, folds = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 2.0]]), np.array([1, 1, 2, 2])
    neighbours, similarity = metrics.nearest_neighbours(vectors, folds, k=2)
    assert neighbours.tolist() == [[2, 3], [2, 3], [0, 1], [0, 1]]
    assert similarity[0, 0] == pytest.approx(1 / np.hypot(1, 0.1))
    assert np.all(np.diff(similarity, axis=1) <= 0)


def test_neighbour_votes_are_shares_weighted_by_similarity():
    votes = metrics.neighbour_votes(np.array([[0, 1, 1]]), np.array([[0.9, 0.5, 0.6]]), n_classes=3)
    assert votes == pytest.approx(np.array([[0.45, 0.55, 0.0]]))


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

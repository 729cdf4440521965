"""How good, and how sure: accuracy, intervals, confusion, calibration, rejection."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from esc50.classifier.pooling import TINY, temper
from esc50.config import N_CLASSES, TrustSettings


def scores(targets, probabilities):
    """Accuracy, top-3 accuracy and macro-F1 of some clips.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    probabilities : np.ndarray, shape (n_clips, 50)
        Scores in label order.

    Returns
    -------
    dict
        ``n_clips``, and as shares of 1 ``accuracy``, ``top3_accuracy`` and ``macro_f1``, the mean over the
        classes that occur in `targets` or among the predictions.
    """
    from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score

    predicted = probabilities.argmax(axis=1)
    labels = np.arange(N_CLASSES)
    return {
        "n_clips": len(targets),
        "accuracy": accuracy_score(targets, predicted),
        "top3_accuracy": top_k_accuracy_score(targets, probabilities, k=3, labels=labels),
        "macro_f1": f1_score(targets, predicted, average="macro"),
    }


def bootstrap_intervals(targets, probabilities, groups, *, n_resamples=2000, level=0.95, seed=0):
    """Percentile bootstrap intervals (Efron 1979), drawing whole recordings rather than clips.

    Takes of one recording rise and fall together, so drawing single clips would make the intervals too narrow.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    probabilities : np.ndarray, shape (n_clips, 50)
        Scores in label order.
    groups : np.ndarray, shape (n_clips,)
        The recording of each clip (``src_file``).
    n_resamples : int
        Number of draws.
    level : float
        Coverage, between 0 and 1.
    seed : int
        Seed of the draws.

    Returns
    -------
    dict of str to tuple of float
        Lower and upper end for ``accuracy``, ``top3_accuracy`` and ``macro_f1``.
    """
    rng = np.random.default_rng(seed)
    _, group = np.unique(groups, return_inverse=True)  # (n_clips,)
    n_groups = group.max() + 1
    predicted = probabilities.argmax(axis=1)
    hits = {"accuracy": predicted == targets, "top3_accuracy": _in_top(targets, probabilities, 3)}
    draws = {name: np.empty(n_resamples) for name in (*hits, "macro_f1")}
    for i in range(n_resamples):
        times = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        weight = times[group]  # (n_clips,) how often each clip was drawn
        for name, hit in hits.items():
            draws[name][i] = np.average(hit, weights=weight)
        draws["macro_f1"][i] = _macro_f1(confusion(targets, predicted, weights=weight))
    ends = [(1 - level) / 2, (1 + level) / 2]
    return {name: tuple(np.quantile(values, ends)) for name, values in draws.items()}


def holm(p):
    """Correct p values for their number (Holm 1979): the chance of one or more false findings stays below each.

    Parameters
    ----------
    p : array-like, shape (n_tests,)
        Of each test; NaN where there was none.

    Returns
    -------
    np.ndarray, shape (n_tests,)
        Corrected, at most 1; NaN where there was none.
    """
    corrected = np.array(p, dtype=float)
    order = np.argsort(corrected)[: np.isfinite(corrected).sum()]  # NaN comes last
    steps = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def compare(targets, probabilities, others, groups, *, n_resamples=2000, level=0.95, seed=0):
    """Is one model better than another on the same clips? Exact McNemar test, and a paired bootstrap.

    The test counts the clips that only one of the two gets right (McNemar 1947); it takes clips for independent.
    The bootstrap draws whole recordings, as `bootstrap_intervals` does.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    probabilities, others : np.ndarray, shape (n_clips, 50)
        Scores of the two models.
    groups : np.ndarray, shape (n_clips,)
        The recording of each clip (``src_file``).
    n_resamples : int
        Number of draws.
    level : float
        Coverage of the interval.
    seed : int
        Seed of the draws.

    Returns
    -------
    dict
        ``gain`` in accuracy over the other, a share of 1; ``gain_low`` and ``gain_high``, its interval; ``won`` and
        ``lost``, the clips that only the one or only the other gets right; ``p``, two-sided.
    """
    from scipy.stats import binomtest

    right, other = (scores.argmax(axis=1) == targets for scores in (probabilities, others))
    won, lost = int((right & ~other).sum()), int((other & ~right).sum())
    _, group = np.unique(groups, return_inverse=True)  # (n_clips,)
    difference = np.bincount(group, right.astype(float) - other)  # (n_groups,) clips won less clips lost
    sizes, n_groups = np.bincount(group), group.max() + 1
    draws = np.random.default_rng(seed).integers(n_groups, size=(n_resamples, n_groups))
    gains = difference[draws].sum(axis=1) / sizes[draws].sum(axis=1)  # (n_resamples,)
    low, high = np.quantile(gains, [(1 - level) / 2, (1 + level) / 2])
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    gain = (won - lost) / len(targets)
    return {"gain": gain, "gain_low": low, "gain_high": high, "won": won, "lost": lost, "p": p}


def confusion(targets, predicted, *, n_classes=N_CLASSES, weights=None):
    """Confusion counts.

    Parameters
    ----------
    targets, predicted : np.ndarray, shape (n_clips,)
        Labels.
    n_classes : int
        Number of labels.
    weights : np.ndarray, shape (n_clips,), optional
        How often each clip counts.

    Returns
    -------
    np.ndarray, shape (n_classes, n_classes)
        Row: the true class; column: the predicted one.
    """
    pair = targets * n_classes + predicted
    counts = np.bincount(pair, weights=weights, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes)


def most_confused(targets, probabilities, *, most=10):
    """Pairs of classes that are taken for each other most often, either way.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    probabilities : np.ndarray, shape (n_clips, 50)
        Scores in label order.
    most : int
        How many pairs.

    Returns
    -------
    list of tuple of int
        (one label, other label, clips of the one taken for the other, and the other way round), worst first.
    """
    counts = confusion(targets, probabilities.argmax(axis=1)).astype(int)
    both = np.triu(counts + counts.T, k=1)
    order = np.argsort(-both, axis=None, kind="stable")[:most]
    pairs = np.column_stack(np.unravel_index(order, both.shape))
    return [(int(a), int(b), int(counts[a, b]), int(counts[b, a])) for a, b in pairs if both[a, b]]


def majority_labels(guesses, targets, *, n_guesses, n_classes=N_CLASSES):
    """For each thing that another classifier may guess, the label that it most often stands for.

    Parameters
    ----------
    guesses : np.ndarray, shape (n_clips,)
        What the other classifier guessed, 0 to ``n_guesses - 1``.
    targets : np.ndarray, shape (n_clips,)
        True labels of the same clips.
    n_guesses : int
        Number of things that may be guessed.
    n_classes : int
        Number of labels.

    Returns
    -------
    np.ndarray, shape (n_guesses,)
        A label each, the lower one where two are as frequent; -1 for what was never guessed, which is always wrong.
    """
    counts = np.bincount(guesses * n_classes + targets, minlength=n_guesses * n_classes)
    counts = counts.reshape(n_guesses, n_classes)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1)


def translate_guesses(guesses, targets, folds, *, n_guesses, n_classes=N_CLASSES):
    """Put what another classifier guessed into our labels, by `majority_labels` of the other folds.

    Parameters
    ----------
    guesses : np.ndarray, shape (n_clips,)
        What the other classifier guessed, 0 to ``n_guesses - 1``.
    targets : np.ndarray, shape (n_clips,)
        True labels.
    folds : np.ndarray, shape (n_clips,)
        Fold of each clip.
    n_guesses : int
        Number of things that may be guessed.
    n_classes : int
        Number of labels.

    Returns
    -------
    np.ndarray, shape (n_clips,)
        A label for each clip, found without its own fold; -1 where no clip of the other folds had its guess.
    """
    translated = np.empty_like(targets)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        meaning = majority_labels(guesses[train], targets[train], n_guesses=n_guesses, n_classes=n_classes)
        translated[test] = meaning[guesses[test]]
    return translated


def nearest_neighbours(vectors, folds, *, k=5):
    """For each clip the clips of the other folds whose vectors point most nearly the same way.

    Takes of one recording lie in one fold, so no clip finds a sibling.

    Parameters
    ----------
    vectors : np.ndarray, shape (n_clips, size)
        One vector a clip, none of them zero.
    folds : np.ndarray, shape (n_clips,)
        Fold of each clip.
    k : int
        How many neighbours.

    Returns
    -------
    neighbours : np.ndarray, shape (n_clips, k)
        Rows of the neighbours, the nearest first.
    similarity : np.ndarray, shape (n_clips, k)
        Their cosine similarity, at most 1.
    """
    vectors = vectors.astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T  # (n_clips, n_clips)
    similarity[folds[:, None] == folds] = -np.inf
    neighbours = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return neighbours, np.take_along_axis(similarity, neighbours, axis=1)


def neighbour_votes(neighbour_targets, similarity, *, n_classes=N_CLASSES):
    """Share of each class among the neighbours, each of which counts by its similarity.

    Parameters
    ----------
    neighbour_targets : np.ndarray, shape (n_clips, k)
        Labels of the neighbours.
    similarity : np.ndarray, shape (n_clips, k)
        Their similarity, positive.
    n_classes : int
        Number of labels.

    Returns
    -------
    np.ndarray, shape (n_clips, n_classes)
        Shares of 1, to be scored as probabilities are.
    """
    votes = np.zeros((len(neighbour_targets), n_classes))
    np.add.at(votes, (np.arange(len(votes))[:, None], neighbour_targets), similarity)
    return votes / votes.sum(axis=1, keepdims=True)


def confused_examples(targets, probabilities, pairs):
    """Find for each pair of classes the clip that was taken for the other with the most certainty.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels 0 to 49.
    probabilities : np.ndarray, shape (n_clips, 50)
        Scores in label order.
    pairs : list of tuple of int
        From `most_confused`.

    Returns
    -------
    list of tuple of int
        (row of the clip, label that it was taken for), one a pair.
    """
    predicted = probabilities.argmax(axis=1)
    found = []
    for a, b, *_ in pairs:
        mistaken = ((targets == a) & (predicted == b)) | ((targets == b) & (predicted == a))
        row = np.argmax(np.where(mistaken, probabilities.max(axis=1), -1))
        found.append((int(row), int(predicted[row])))
    return found


def per_class_report(targets, predicted, names):
    """Precision, recall and F1 of each class.

    Parameters
    ----------
    targets, predicted : np.ndarray, shape (n_clips,)
        Labels.
    names : sequence of str
        Class names in label order.

    Returns
    -------
    pandas.DataFrame
        Index: class name; columns precision, recall, f1, clips.
    """
    import pandas as pd
    from sklearn.metrics import precision_recall_fscore_support

    labels = np.arange(len(names))
    columns = precision_recall_fscore_support(targets, predicted, labels=labels, zero_division=0)
    return pd.DataFrame(dict(zip(("precision", "recall", "f1", "clips"), columns, strict=True)), index=list(names))


def nearest_neighbour(features, targets, train, test):
    """Give each test clip the label of the most similar training clip, by the cosine of the angle between them.

    The plainest classifier there is: it learns nothing, so what it scores shows how close the two parts of a
    split are.

    Parameters
    ----------
    features : np.ndarray, shape (n_clips, n_features)
        One vector a clip, none of them all zero.
    targets : np.ndarray, shape (n_clips,)
        Labels.
    train, test : np.ndarray, shape (n_train,) and (n_test,)
        Rows of `features`.

    Returns
    -------
    np.ndarray, shape (n_test,)
        Predicted labels.
    """
    directions = features.astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    similarity = directions[test] @ directions[train].T  # (n_test, n_train)
    return targets[train][similarity.argmax(axis=1)]


def _in_top(targets, probabilities, k):
    own = np.take_along_axis(probabilities, targets[:, None], axis=1)
    return (probabilities > own).sum(axis=1) < k


def _macro_f1(counts):
    occurring = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    f1 = 2 * np.diag(counts)[occurring] / (counts.sum(axis=0) + counts.sum(axis=1))[occurring]
    return f1.mean()


TEMPERATURE_BOUNDS = (0.05, 20.0)


def fit_temperature(targets, probabilities):
    """Find the temperature under which the true labels are most likely.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels.
    probabilities : np.ndarray, shape (n_clips, n_classes)
        From networks that were not trained on these clips.

    Returns
    -------
    float
        Between 0.05 and 20.
    """

    def loss(log_temperature):
        return negative_log_likelihood(targets, temper(probabilities, np.exp(log_temperature)))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURE_BOUNDS), method="bounded").x))


def negative_log_likelihood(targets, probabilities):
    """Mean of minus the logarithm of the true class's probability.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels.
    probabilities : np.ndarray, shape (n_clips, n_classes)
        They sum to 1.

    Returns
    -------
    float
        In nats; 0 is perfect.
    """
    own = np.take_along_axis(probabilities, np.asarray(targets)[:, None], axis=1)
    return float(-np.log(np.maximum(own, TINY)).mean())


def reliability_table(correct, confidence, *, n_bins=TrustSettings.reliability_bins):
    """How often answers are right, by how sure they were.

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether the most probable class is the true one.
    confidence : np.ndarray, shape (n_clips,)
        Its probability.
    n_bins : int
        Bins of equal width between 0 and 1; a value on an edge belongs to the lower bin.

    Returns
    -------
    pandas.DataFrame, n_bins rows
        Columns low, high, clips, confidence and accuracy, the means in the bin: NaN where it is empty.
    """
    edges = np.linspace(0, 1, n_bins + 1)
    number = np.clip(np.searchsorted(edges, confidence) - 1, 0, n_bins - 1)  # (n_clips,)
    clips = np.bincount(number, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        means = {
            name: np.bincount(number, weights=values, minlength=n_bins) / clips
            for name, values in {"confidence": confidence, "accuracy": correct}.items()
        }
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "clips": clips, **means})


def expected_calibration_error(correct, confidence, *, n_bins=TrustSettings.reliability_bins):
    """Mean distance between how sure and how right, over bins of equal width (ECE; Guo et al. 2017, equation 3).

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether the most probable class is the true one.
    confidence : np.ndarray, shape (n_clips,)
        Its probability.
    n_bins : int
        Number of bins.

    Returns
    -------
    float
        Share of 1; bins count by their clips.
    """
    table = reliability_table(correct, confidence, n_bins=n_bins).dropna()
    return float(np.average((table["accuracy"] - table["confidence"]).abs(), weights=table["clips"]))


def risk_coverage(correct, confidence):
    """Share of wrong answers when only the surest are given (El-Yaniv and Wiener 2010).

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether each answer is right; for sounds of no known class it never is.
    confidence : np.ndarray, shape (n_clips,)
        Any score that is higher for surer answers; equal ones stay in their order.

    Returns
    -------
    coverage, risk : np.ndarray, shape (n_clips,)
        Share of the sounds that are answered, and of the answers that are wrong.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(~np.asarray(correct, bool)[order]) / answered


def area_under_risk_coverage(correct, confidence):
    """Mean risk over all coverages (AURC): the lower, the better the score tells right from wrong.

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether each answer is right.
    confidence : np.ndarray, shape (n_clips,)
        Higher for surer answers.

    Returns
    -------
    float
        Share of 1.
    """
    return float(risk_coverage(correct, confidence)[1].mean())

"""Accuracy, confidence intervals, comparisons, calibration and rejection metrics."""

import numpy as np
import pandas as pd

from esc50.classifier.pooling import TINY, temper
from esc50.config import N_CLASSES

LABELS = np.arange(N_CLASSES)
RELIABILITY_BINS = 15  # as in Guo et al. 2017, arXiv 1706.04599
TEMPERATURE_BOUNDS = (0.05, 20.0)
TPR = 0.95  # at which the false positive rate is reported


def classification_metrics(targets, probabilities):
    """Compute accuracy, top-3 accuracy and macro-F1.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels.
    probabilities : np.ndarray, shape (n_clips, 50)
        Of each class.

    Returns
    -------
    dict
        ``n_clips``; ``accuracy``, ``top3_accuracy`` and ``macro_f1``, the mean over classes that occur among the
        targets or the predictions, as shares of 1.
    """
    from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score

    predicted = probabilities.argmax(axis=1)
    return {
        "n_clips": len(targets),
        "accuracy": accuracy_score(targets, predicted),
        "top3_accuracy": top_k_accuracy_score(targets, probabilities, k=3, labels=LABELS),
        "macro_f1": f1_score(targets, predicted, average="macro"),
    }


def bootstrap_intervals(targets, probabilities, groups, *, n_resamples=2000, level=0.95, seed=0):
    """Compute percentile bootstrap intervals (Efron 1979) of each metric over whole recordings.

    Clips of one recording are correlated, so resampling single clips would make the intervals too narrow.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels.
    probabilities : np.ndarray, shape (n_clips, 50)
        Of each class.
    groups : np.ndarray, shape (n_clips,)
        Recording of each clip.
    n_resamples, seed : int
        Of the bootstrap.
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict of str to tuple of float
        Low and high end of ``accuracy``, ``top3_accuracy`` and ``macro_f1``.
    """
    rng, predicted = np.random.default_rng(seed), probabilities.argmax(axis=1)
    _, group = np.unique(groups, return_inverse=True)  # (n_clips,)
    n_groups, own = group.max() + 1, np.take_along_axis(probabilities, targets[:, None], axis=1)
    hits = {"accuracy": predicted == targets, "top3_accuracy": (probabilities > own).sum(axis=1) < 3}
    draws = {name: np.empty(n_resamples) for name in (*hits, "macro_f1")}
    for i in range(n_resamples):
        times = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        weights = times[group]  # (n_clips,) how often each clip was drawn
        for name, hit in hits.items():
            draws[name][i] = np.average(hit, weights=weights)
        draws["macro_f1"][i] = weighted_macro_f1(targets, predicted, weights)
    ends = [(1 - level) / 2, (1 + level) / 2]
    return {name: tuple(np.quantile(values, ends)) for name, values in draws.items()}


def weighted_macro_f1(targets, predicted, weights):
    """Compute the macro-F1 with integer weights of clips, thirty times as fast as scikit-learn."""
    hit, true, said = count_by_class(targets, predicted, weights)
    occurring = true + said > 0
    return (2 * hit[occurring] / (true + said)[occurring]).mean()


def count_by_class(targets, predicted, weights, *, n_classes=N_CLASSES):
    """Count the correct, actual and predicted clips of each class, with weights: three arrays (n_classes,)."""
    parts = (targets, weights * (targets == predicted)), (targets, weights), (predicted, weights)
    return tuple(np.bincount(labels, of, minlength=n_classes) for labels, of in parts)


def weighted_roc(positive, scores, weights):
    """Compute a weighted ROC curve.

    Parameters
    ----------
    positive : np.ndarray of bool, shape (n_clips,)
        True for positives.
    scores : np.ndarray, shape (n_clips,)
        Higher for positives.
    weights : np.ndarray, shape (..., n_clips)
        One or more sets of weights.

    Returns
    -------
    fpr, tpr : np.ndarray, shape (..., n_distinct_scores + 1)
        False and true positive rates from 0 to 1, for descending thresholds.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    falling = np.asarray(scores)[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # last of each run of equal scores
    passed = [np.cumsum((weights * which)[..., order], axis=-1)[..., last] for which in (~positive, positive)]
    start = np.zeros((*passed[0].shape[:-1], 1))
    return tuple(np.concatenate([start, counts / counts[..., -1:]], axis=-1) for counts in passed)


def separation(positive, scores, weights):
    """Compute the AUROC and the FPR at 95 % TPR; parameters as for `weighted_roc`, values of shape (...)."""
    fpr, tpr = weighted_roc(positive, scores, weights)
    first = (tpr >= TPR).argmax(axis=-1)[..., np.newaxis]
    return {
        "auroc": np.trapezoid(tpr, fpr, axis=-1),
        "fpr_at_95_tpr": np.take_along_axis(fpr, first, axis=-1)[..., 0][()],  # a number, of one weighting
    }


def holm(p):
    """Correct p-values for multiple testing (Holm 1979); NaN stays NaN and is not counted."""
    corrected = np.array(p, dtype=float)
    order = np.argsort(corrected)[: np.isfinite(corrected).sum()]  # NaN comes last
    steps = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def compare(targets, probabilities, others, groups, *, n_resamples=2000, level=0.95, seed=0):
    """Compare two models on the same clips by an exact McNemar test (1947) and a paired bootstrap.

    The test treats clips as independent; the bootstrap resamples whole recordings, as in `bootstrap_intervals`.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels.
    probabilities, others : np.ndarray, shape (n_clips, 50)
        Of the two models.
    groups : np.ndarray, shape (n_clips,)
        Recording of each clip.
    n_resamples, seed : int
        Of the bootstrap.
    level : float
        Coverage of the interval.

    Returns
    -------
    dict
        ``gain`` in accuracy with ``gain_low`` and ``gain_high``; ``won`` and ``lost``, the clips that only the first or
        only the second model gets right; ``p``, two-sided.
    """
    from scipy.stats import binomtest

    right, other = (each.argmax(axis=1) == targets for each in (probabilities, others))
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


def fit_temperature(targets, probabilities):
    """Return the temperature that maximises the likelihood of the labels of clips not used for training."""
    from scipy.optimize import minimize_scalar  # slow to import

    def loss(log_temperature):
        return negative_log_likelihood(targets, temper(probabilities, np.exp(log_temperature)))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURE_BOUNDS), method="bounded").x))


def negative_log_likelihood(targets, probabilities):
    """Return the mean negative log-likelihood of the true class, in nats."""
    own = np.take_along_axis(probabilities, np.asarray(targets)[:, None], axis=1)
    return float(-np.log(np.maximum(own, TINY)).mean())


def reliability_table(correct, confidence, *, n_bins=RELIABILITY_BINS):
    """Compare confidence and accuracy in bins of equal width.

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether each prediction is correct.
    confidence : np.ndarray, shape (n_clips,)
        Probability of each predicted class; a value on an edge belongs to the lower bin.
    n_bins : int
        Between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        For each bin ``low``, ``high``, the number of ``clips``, and the mean ``confidence`` and ``accuracy`` (NaN if
        empty).
    """
    edges = np.linspace(0, 1, n_bins + 1)
    answers = pd.DataFrame({"confidence": confidence, "accuracy": np.asarray(correct, float)})
    bins = answers.groupby(np.clip(np.searchsorted(edges, confidence) - 1, 0, n_bins - 1))
    means = bins.mean().reindex(range(n_bins))
    clips = bins.size().reindex(range(n_bins), fill_value=0)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "clips": clips}).join(means)


def expected_calibration_error(correct, confidence, *, n_bins=RELIABILITY_BINS):
    """Return the expected calibration error (Guo et al. 2017, equation 3); parameters as for `reliability_table`."""
    table = reliability_table(correct, confidence, n_bins=n_bins).dropna()
    return float(np.average((table["accuracy"] - table["confidence"]).abs(), weights=table["clips"]))


def risk_coverage(correct, confidence):
    """Compute the risk-coverage curve of selective prediction (El-Yaniv and Wiener 2010).

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether each prediction is correct; False for sounds of no known class.
    confidence : np.ndarray, shape (n_clips,)
        Predictions are accepted in descending order of this.

    Returns
    -------
    coverage, risk : np.ndarray, shape (n_clips,)
        Share of accepted predictions, and share of wrong ones among these.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(~np.asarray(correct, bool)[order]) / answered


def area_under_risk_coverage(correct, confidence):
    """Return the area under the risk-coverage curve (AURC): the mean risk, lower for a better score."""
    return float(risk_coverage(correct, confidence)[1].mean())

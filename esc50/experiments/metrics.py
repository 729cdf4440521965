"""How good, and how sure: accuracy, intervals, comparisons, calibration, rejection."""

import numpy as np
import pandas as pd

from esc50.classifier.pooling import TINY, temper
from esc50.config import N_CLASSES

LABELS = np.arange(N_CLASSES)
RELIABILITY_BINS = 15  # as Guo et al. 2017, arXiv 1706.04599
TEMPERATURE_BOUNDS = (0.05, 20.0)
TPR = 0.95  # at which the false positive rate is told


def classification_metrics(targets, probabilities):
    """``n_clips`` and, as shares of 1, ``accuracy``, ``top3_accuracy`` and ``macro_f1`` of some clips.

    The macro-F1 is the mean over the classes that occur among the targets (n_clips,) or the predictions.
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
    """Percentile bootstrap intervals (Efron 1979) of each metric, drawing whole recordings rather than clips.

    Takes of one recording rise and fall together, so drawing single clips would make the intervals too narrow.
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
    """Macro-F1 of clips that count several times; scikit-learn's takes thirty times as long."""
    hit, true, said = count_by_class(targets, predicted, weights)
    occurring = true + said > 0
    return (2 * hit[occurring] / (true + said)[occurring]).mean()


def count_by_class(targets, predicted, weights, *, n_classes=N_CLASSES):
    """How many clips of each class are right, how many there are, how many are predicted as it: each (n_classes,)."""
    parts = (targets, weights * (targets == predicted)), (targets, weights), (predicted, weights)
    return tuple(np.bincount(labels, of, minlength=n_classes) for labels, of in parts)


def weighted_roc(positive, scores, weights):
    """False and true positive rates from 0 to 1 at falling scores, of clips that count several times.

    Of many weightings, (..., n_clips), at once: rates of shape (..., n_different_scores + 1).
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    falling = np.asarray(scores)[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # equal scores share a place
    passed = [np.cumsum((weights * which)[..., order], axis=-1)[..., last] for which in (~positive, positive)]
    start = np.zeros((*passed[0].shape[:-1], 1))
    return tuple(np.concatenate([start, counts / counts[..., -1:]], axis=-1) for counts in passed)


def separation(positive, scores, weights):
    """AUROC, and the false positive rate at the highest threshold that 95 % of the positive reach."""
    fpr, tpr = weighted_roc(positive, scores, weights)
    first = (tpr >= TPR).argmax(axis=-1)[..., np.newaxis]
    return {
        "auroc": np.trapezoid(tpr, fpr, axis=-1),
        "fpr_at_95_tpr": np.take_along_axis(fpr, first, axis=-1)[..., 0][()],  # a number, of one weighting
    }


def holm(p):
    """Correct p values for their number (Holm 1979); NaN, where there was no test, stays."""
    corrected = np.array(p, dtype=float)
    order = np.argsort(corrected)[: np.isfinite(corrected).sum()]  # NaN comes last
    steps = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def compare(targets, probabilities, others, groups, *, n_resamples=2000, level=0.95, seed=0):
    """Is one model better than another on the same clips? Exact McNemar test, and a paired bootstrap.

    The test counts the clips that only one of the two gets right (McNemar 1947); it takes clips for independent.
    The bootstrap draws whole recordings, as `bootstrap_intervals` does. Gives ``gain`` in accuracy with ``gain_low``
    and ``gain_high``; ``won`` and ``lost``, the clips that only the one or only the other gets right; ``p``, two-sided.
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
    """The temperature under which the true labels are most likely; from networks not trained on these clips."""
    from scipy.optimize import minimize_scalar  # takes half a second, and measuring alone needs no fit

    def loss(log_temperature):
        return negative_log_likelihood(targets, temper(probabilities, np.exp(log_temperature)))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURE_BOUNDS), method="bounded").x))


def negative_log_likelihood(targets, probabilities):
    """Mean of minus the logarithm of the true class's probability, in nats; 0 is perfect."""
    own = np.take_along_axis(probabilities, np.asarray(targets)[:, None], axis=1)
    return float(-np.log(np.maximum(own, TINY)).mean())


def reliability_table(correct, confidence, *, n_bins=RELIABILITY_BINS):
    """How often answers are right, by how sure they were: low, high, clips, and the means confidence and accuracy.

    Bins are of equal width between 0 and 1; a value on an edge belongs to the lower one, and the means of an empty one
    are NaN.
    """
    edges = np.linspace(0, 1, n_bins + 1)
    answers = pd.DataFrame({"confidence": confidence, "accuracy": np.asarray(correct, float)})
    bins = answers.groupby(np.clip(np.searchsorted(edges, confidence) - 1, 0, n_bins - 1))
    means = bins.mean().reindex(range(n_bins))
    clips = bins.size().reindex(range(n_bins), fill_value=0)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "clips": clips}).join(means)


def expected_calibration_error(correct, confidence, *, n_bins=RELIABILITY_BINS):
    """Mean distance between how sure and how right, bins counting by their clips (Guo et al. 2017, equation 3)."""
    table = reliability_table(correct, confidence, n_bins=n_bins).dropna()
    return float(np.average((table["accuracy"] - table["confidence"]).abs(), weights=table["clips"]))


def risk_coverage(correct, confidence):
    """Coverage and risk (n_clips,) where only the surest are answered (El-Yaniv and Wiener 2010).

    Risk is the share of the answers that are wrong; for sounds of no known class no answer is right.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(~np.asarray(correct, bool)[order]) / answered


def area_under_risk_coverage(correct, confidence):
    """Mean risk over all coverages (AURC): the lower, the better the score tells right from wrong."""
    return float(risk_coverage(correct, confidence)[1].mean())

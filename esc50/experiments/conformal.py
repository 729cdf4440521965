"""Calibrate conformal prediction sets by recording, and measure their size and coverage."""

import numpy as np
import pandas as pd

from esc50.classifier.pooling import temper
from esc50.classifier.prediction_sets import COVERAGES, SURENESS, sureness
from esc50.experiments import metrics

DIGITS = 4  # decimals of probabilities in the metadata
GROUPS = range(len(SURENESS) + 1)
COLUMNS = ["coverage", "fold", "target", "sureness"]


def lac(probabilities):
    """Return the score of least ambiguous sets, 1 - p, (n_clips, 50) (Sadinle, Lei and Wasserman 2019)."""
    return 1 - probabilities


def aps(probabilities):
    """Return the score of adaptive sets, the mass of all likelier classes (Romano, Sesia and Candès 2020)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    mass = np.take_along_axis(probabilities, order, axis=1).cumsum(axis=1)
    before = np.empty_like(mass)
    np.put_along_axis(before, order, mass, axis=1)
    return before - probabilities


SCORES = {"lac": lac, "aps": aps}


def quantile(scores, recordings, coverage):
    """Return the conformal quantile of scores (n_clips,) that are grouped by recording.

    Each recording has the same weight, as has a new one of unknown score (Lee, Barber and Willett 2023, arXiv
    2306.06342). With one clip per recording this is the quantile of split conformal prediction.

    Parameters
    ----------
    scores : np.ndarray, shape (n_clips,)
        Of the true classes.
    recordings : np.ndarray, shape (n_clips,)
        Recording of each clip.
    coverage : float
        Minimum share of new recordings' clips whose score does not exceed the quantile.

    Returns
    -------
    float
        Infinite if there are too few recordings.
    """
    _, recording, n_clips = np.unique(recordings, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    share = np.cumsum(1 / n_clips[recording[order]]) / (len(n_clips) + 1)
    enough = np.flatnonzero(share >= coverage - 1e-9)
    return float(scores[order[enough[0]]]) if len(enough) else np.inf


def thresholds(score, targets, probabilities, recordings, coverage):
    """Return the quantile of each group of `sureness`, (3,), from calibrated probabilities (n_clips, 50)."""
    own, group = score(probabilities)[np.arange(len(targets)), targets], sureness(probabilities)
    return np.array([quantile(own[group == g], recordings[group == g], coverage) for g in GROUPS])


def sets_of(score, probabilities, quantiles):
    """Return which classes are in the set of each clip, bool (n_clips, 50); at least one."""
    found = score(probabilities) <= quantiles[sureness(probabilities)][:, np.newaxis]
    found[np.arange(len(found)), probabilities.argmax(axis=1)] = True
    return found


def fit(targets, probabilities, recordings):
    """Return the metadata's ``conformal``: the minimum probability for each coverage and group."""
    calibrated = temper(probabilities, metrics.fit_temperature(targets, probabilities))
    rows = [1 - thresholds(lac, targets, calibrated, recordings, each) for each in COVERAGES]
    smallest = np.floor(np.maximum(rows, 0) * 10**DIGITS) / 10**DIGITS  # (n_coverages, 3)
    return {"coverage": list(COVERAGES), "edges": list(SURENESS), "min_probability": smallest.tolist()}


def measure(targets, probabilities, recordings, fold):
    """Measure the sets of each fold's clips, calibrated on the other folds: see `tabulate`."""
    tables, how = [], (targets, probabilities, recordings)
    for k in np.unique(fold):
        calibration, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        for coverage in COVERAGES:
            found = _calibrate_and_test(lac, *how, calibration, test, coverage)
            tables.append(tabulate(targets[test], *found, coverage=coverage, fold=k))
    return pd.concat(tables, ignore_index=True)


def compare_scores(targets, probabilities, recordings, fold):
    """Return the mean set size for each of `SCORES` and each coverage; the score with smaller sets is preferred.

    The sets are measured inside the training folds: for each reported fold the next one is tested, with calibration on
    the rest. Empty for fewer than three folds.
    """
    folds, found = np.unique(fold), {}
    for name, score in SCORES.items() if len(folds) > 2 else ():
        sizes = []
        for aside, tested in zip(folds, np.roll(folds, -1), strict=True):
            calibration, test = np.flatnonzero(~np.isin(fold, (aside, tested))), np.flatnonzero(fold == tested)
            how = score, targets, probabilities, recordings, calibration, test
            sizes.append([_calibrate_and_test(*how, each)[0].sum(axis=1).mean() for each in COVERAGES])
        found[name] = dict(zip(map(str, COVERAGES), np.mean(sizes, axis=0).round(3).tolist(), strict=True))
    return found


def tabulate(targets, sets, group, *, coverage, fold):
    """Return for each class and group the number of ``clips``, of ``covered`` clips, and of ``classes`` in all sets."""
    covered = sets[np.arange(len(targets)), targets].astype(int)
    about = {"coverage": coverage, "fold": fold, "target": targets, "sureness": group}
    rows = pd.DataFrame(about | {"clips": 1, "covered": covered, "classes": sets.sum(axis=1)})
    return rows.groupby(COLUMNS, as_index=False).sum()


def summarise(sets, by):
    """Return the coverage and mean size of sets by nominal coverage and `by`.

    Parameters
    ----------
    sets : pandas.DataFrame
        From `measure`.
    by : str or list of str
        "target", "fold", "sureness", several of them, or an empty list for all clips together.

    Returns
    -------
    pandas.DataFrame
        Columns ``clips``, ``covered`` (a share of 1) and ``classes`` (mean set size).
    """
    by = [by] if isinstance(by, str) else by
    sums = sets.groupby(["coverage", *by])[["clips", "covered", "classes"]].sum()
    return sums.assign(covered=sums["covered"] / sums["clips"], classes=sums["classes"] / sums["clips"])


def _calibrate_and_test(score, targets, probabilities, recordings, calibration, test, coverage):
    """Return the sets (n_test, 50) and groups (n_test,) of test clips, calibrated on other clips."""
    temperature = metrics.fit_temperature(targets[calibration], probabilities[calibration])
    calibrated = temper(probabilities, temperature)
    known = targets[calibration], calibrated[calibration], recordings[calibration]
    return sets_of(score, calibrated[test], thresholds(score, *known, coverage)), sureness(calibrated[test])

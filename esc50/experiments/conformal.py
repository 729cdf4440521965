"""Prediction sets, calibrated by recordings: how many classes they hold, and how often the true one."""

import numpy as np
import pandas as pd

from esc50.classifier.pooling import temper
from esc50.classifier.prediction_sets import COVERAGES, SURENESS, sureness
from esc50.experiments import metrics

DIGITS = 4  # of probabilities in the metadata
GROUPS = range(len(SURENESS) + 1)
COLUMNS = ["coverage", "fold", "target", "sureness"]


def lac(probabilities):
    """Least ambiguous sets (Sadinle, Lei and Wasserman 2019): how improbable each class is, (n_clips, 50)."""
    return 1 - probabilities


def aps(probabilities):
    """Adaptive sets (Romano, Sesia and Candès 2020), none of them empty: the mass of the classes that are likelier."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    mass = np.take_along_axis(probabilities, order, axis=1).cumsum(axis=1)
    before = np.empty_like(mass)
    np.put_along_axis(before, order, mass, axis=1)
    return before - probabilities


SCORES = {"lac": lac, "aps": aps}


def quantile(scores, recordings, coverage):
    """Score (n_clips,) that is not exceeded by a clip of a new recording, in at least a share of such.

    Each recording counts as one, and so does the new one, whose score may be anything (Lee, Barber and Willett 2023,
    arXiv 2306.06342): infinite where there are too few recordings. Without siblings it is the split
    conformal quantile.
    """
    _, recording, n_clips = np.unique(recordings, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    share = np.cumsum(1 / n_clips[recording[order]]) / (len(n_clips) + 1)
    enough = np.flatnonzero(share >= coverage - 1e-9)
    return float(scores[order[enough[0]]]) if len(enough) else np.inf


def thresholds(score, targets, probabilities, recordings, coverage):
    """Quantile of each group of `sureness`, (3,), from calibrated probabilities (n_clips, 50)."""
    own, group = score(probabilities)[np.arange(len(targets)), targets], sureness(probabilities)
    return np.array([quantile(own[group == g], recordings[group == g], coverage) for g in GROUPS])


def sets_of(score, probabilities, quantiles):
    """Which classes are in the set of each clip, (n_clips, 50): never none."""
    found = score(probabilities) <= quantiles[sureness(probabilities)][:, np.newaxis]
    found[np.arange(len(found)), probabilities.argmax(axis=1)] = True
    return found


def fit(targets, probabilities, recordings):
    """What the metadata have: from which probability on a class is in a set, for each coverage and group."""
    calibrated = temper(probabilities, metrics.fit_temperature(targets, probabilities))
    rows = [1 - thresholds(lac, targets, calibrated, recordings, each) for each in COVERAGES]
    smallest = np.floor(np.maximum(rows, 0) * 10**DIGITS) / 10**DIGITS  # (n_coverages, 3)
    return {"coverage": list(COVERAGES), "edges": list(SURENESS), "min_probability": smallest.tolist()}


def measure(targets, probabilities, recordings, fold):
    """Sets of the clips of each fold, calibrated on the others: see `tabulate`."""
    tables, how = [], (targets, probabilities, recordings)
    for k in np.unique(fold):
        calibration, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        for coverage in COVERAGES:
            found = _calibrate_and_test(lac, *how, calibration, test, coverage)
            tables.append(tabulate(targets[test], *found, coverage=coverage, fold=k))
    return pd.concat(tables, ignore_index=True)


def compare_scores(targets, probabilities, recordings, fold):
    """Mean size of the sets of each of `SCORES`, for each coverage: the smaller ones are to be taken, `lac`'s.

    Found inside the training folds: with each fold left aside, the next is tested, calibrated on the others; nothing
    where there are fewer than three.
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
    """One row for each class and group: ``clips``, how many of them are ``covered``, ``classes`` in all their sets."""
    covered = sets[np.arange(len(targets)), targets].astype(int)
    about = {"coverage": coverage, "fold": fold, "target": targets, "sureness": group}
    rows = pd.DataFrame(about | {"clips": 1, "covered": covered, "classes": sets.sum(axis=1)})
    return rows.groupby(COLUMNS, as_index=False).sum()


def summarise(sets, by):
    """Coverage and mean size of sets: a row for each coverage asked for and each value of a column of the table.

    ``by`` is "target", "fold", "sureness", or a list of none of them for all clips together. Columns ``clips``,
    ``covered`` (a share of 1) and ``classes`` (the mean).
    """
    by = [by] if isinstance(by, str) else by
    sums = sets.groupby(["coverage", *by])[["clips", "covered", "classes"]].sum()
    return sums.assign(covered=sums["covered"] / sums["clips"], classes=sums["classes"] / sums["clips"])


def _calibrate_and_test(score, targets, probabilities, recordings, calibration, test, coverage):
    """Sets (n_test, 50) of some clips and their groups (n_test,), calibrated on others, temperature included."""
    temperature = metrics.fit_temperature(targets[calibration], probabilities[calibration])
    calibrated = temper(probabilities, temperature)
    known = targets[calibration], calibrated[calibration], recordings[calibration]
    return sets_of(score, calibrated[test], thresholds(score, *known, coverage)), sureness(calibrated[test])

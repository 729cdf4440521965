"""Measure how much common shortcuts in the evaluation protocol inflate accuracy, with the same networks."""

from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from esc50.config import FOLDS, RESULTS_DIR, SEEDS, output_path
from esc50.dataset.clips import load_clips
from esc50.dataset.splits import Split, duplicated_clip_splits, leaky_random_splits, official_splits
from esc50.experiments.base import run_splits
from esc50.experiments.results import load_history, read_csv, write_csv

FILE = "protocol_audit.csv"
HEADS = (
    "head_clip_mean",
    "head_clip_mean_max",
)  # retrained; their training curves are over clips, like their predictions
NETWORKS = ("cnn_separable", "cnn_vgg")  # from existing curves, since the CNNs take hours
TEN_SEEDS = tuple(range(10))
FIXED = "fixed epochs"
BEST_EPOCH, BEST_EPOCHS = "best epoch of the mean curve", "best epoch on each test fold"
BEST_SEED, RANDOM, DUPLICATED = "best of ten seeds", "random clips", "duplicated clips, then random"
THREE_FOLDS = "three folds to train, one to validate"
SHORTCUTS = (THREE_FOLDS, FIXED, BEST_EPOCH, BEST_EPOCHS, BEST_SEED, RANDOM, DUPLICATED)


def measure(*, progress=True):
    """Return the accuracy of each network under each protocol: model, protocol, seed, fold, accuracy."""
    curves = load_history()
    rows = [row for name in (*HEADS, *NETWORKS) for row in _from_curves(curves[curves["model"] == name], name)]
    for name in HEADS:
        rows += [*_best_seed(name, progress), *_splits(name, progress), *_hear(name, progress)]
    return pd.DataFrame(rows, columns=["model", "protocol", "seed", "fold", "accuracy"])


def save(table, *, folder=None):
    """Write the table; return its path."""
    path = (folder or output_path(RESULTS_DIR)) / FILE
    write_csv(table, path, float_format="%.6f")
    return path


def load(*, folder=RESULTS_DIR):
    """Read the committed result of `measure`."""
    return read_csv(folder / FILE)


def worth(table, *, level=0.95):
    """Return the gain in accuracy of each shortcut over fixed epochs on the official folds.

    Parameters
    ----------
    table : pandas.DataFrame
        From `measure`.
    level : float
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        ``model``, ``protocol``, ``accuracy``, ``gain`` with ``low`` and ``high``. The interval is Student's t on the
        five folds' differences, averaged over seeds, or Welch's for protocols with other splits.
    """
    means = table.pivot_table("accuracy", ["model", "protocol"], "fold")  # the mean over seeds
    rows = []
    for model, protocol in product(means.index.unique("model"), SHORTCUTS):
        if (model, protocol) in means.index:
            ours, fixed = means.loc[(model, protocol)], means.loc[(model, FIXED)]
            rows.append((model, protocol, ours.mean(), *_gain(ours, fixed, protocol, level)))
    return pd.DataFrame(rows, columns=["model", "protocol", "accuracy", "gain", "low", "high"])


def _gain(ours, fixed, protocol, level):
    if protocol in (RANDOM, DUPLICATED):  # other splits, so unpaired
        interval = stats.ttest_ind(ours, fixed, equal_var=False).confidence_interval(level)
    else:
        interval = stats.ttest_1samp(ours - fixed, 0).confidence_interval(level) if protocol != FIXED else (0.0, 0.0)
    return ours.mean() - fixed.mean(), *interval


def _from_curves(curves, name):
    for seed, runs in curves.groupby("seed"):
        curve = runs.pivot_table(index="epoch", columns="fold", values="held_out_accuracy")
        chosen = {
            FIXED: curve.iloc[-1],
            BEST_EPOCH: curve.loc[curve.mean(axis=1).idxmax()],
            BEST_EPOCHS: curve.max(),
        }
        for protocol, found in chosen.items():
            yield from ((name, protocol, seed, fold, accuracy) for fold, accuracy in found.items())


def _best_seed(name, progress):
    """Return the rows of the best seed of ten, by accuracy on the test folds."""
    runs = run_splits(name, official_splits(load_clips()), seeds=TEN_SEEDS, progress=progress)
    table = pd.DataFrame(
        [(seed, _fold(split), _accuracy(split, run, name)) for (seed, _), (split, run) in runs.items()]
    )
    table.columns = ["seed", "fold", "accuracy"]
    best = table.groupby("seed")["accuracy"].mean().idxmax()
    return [(name, BEST_SEED, best, row.fold, row.accuracy) for row in table[table["seed"] == best].itertuples()]


def _splits(name, progress):
    """Yield rows for leaky splits, for each seed."""
    for protocol, make in ((RANDOM, leaky_random_splits), (DUPLICATED, duplicated_clip_splits)):
        for seed in SEEDS:
            runs = run_splits(name, make(load_clips(), seed=seed), seeds=[seed], progress=progress)
            yield from (
                (name, protocol, seed, _fold(split), _accuracy(split, run, name)) for split, run in runs.values()
            )


def _hear(name, progress):
    """Yield rows for HEAR's protocol (Turian et al. 2022, arXiv 2203.03022): the epoch is chosen on the next fold."""
    targets = {"validation": lambda fold: fold % len(FOLDS) + 1, "test": lambda fold: fold}
    for seed in SEEDS:
        runs = {
            kind: run_splits(name, _three_folds(fold_of), seeds=[seed], progress=progress)
            for kind, fold_of in targets.items()
        }
        for fold, (_, validated), (_, tested) in zip(FOLDS, *(each.values() for each in runs.values()), strict=True):
            epoch = int(np.argmax(validated["history"]["val_accuracy"]))
            yield name, THREE_FOLDS, seed, fold, tested["history"]["val_accuracy"][epoch]


def _three_folds(fold_of):
    """Return for each fold a split that trains without it and the next one, and tests on `fold_of(fold)`."""
    folds = load_clips()["fold"].to_numpy()
    return [
        Split(
            f"three folds, {fold}",
            np.flatnonzero(~np.isin(folds, (fold, fold % len(FOLDS) + 1))),
            np.flatnonzero(folds == fold_of(fold)),
        )
        for fold in FOLDS
    ]


def _fold(split):
    return int(split.name.rsplit(maxsplit=1)[-1])


def _accuracy(split, run, name):
    targets = load_clips()["target"].to_numpy()[split.test]
    return float((run["probabilities"][name].argmax(axis=1) == targets).mean())

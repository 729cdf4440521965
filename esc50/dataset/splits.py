"""How clips are split, and the guard against leaks."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from esc50.config import FOLDS, LeakError


class Split(NamedTuple):
    """One division of the clips into a training and a test part, both rows of the clip table."""

    name: str  # for tables, such as "fold 1"
    train: np.ndarray  # (n_train,)
    test: np.ndarray  # (n_test,)


def recording_ids(clips):
    """Give each recording a number: clips with one id were cut from one recording of one class.

    The pair (src_file, target) is the recording. ``src_file`` alone is not: in the official list 131943,
    134049, 209698 and 234879 stand in two folds each, under two classes.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table, n_clips rows.

    Returns
    -------
    np.ndarray, shape (n_clips,)
        Integer id of each clip's recording.
    """
    return clips.groupby(["src_file", "target"]).ngroup().to_numpy()


def assert_no_leak(clips, train, test):
    """Refuse a split that puts a clip, or takes of one recording, on both sides.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    train, test : np.ndarray, shape (n_train,) and (n_test,)
        Rows of the clip table.

    Raises
    ------
    LeakError
        If a row or a pair (src_file, target) is on both sides; names the first.
    """
    same_clip = np.isin(test, train)  # (n_test,)
    if same_clip.any():
        filename = clips["filename"].iloc[test[same_clip][0]]
        raise LeakError(f"{same_clip.sum()} clips are in training and in test, first {filename}: split by fold")
    sibling = _has_sibling(clips, train, test)  # (n_test,)
    if sibling.any():
        src_file, target = clips[["src_file", "target"]].iloc[test[sibling][0]]
        raise LeakError(
            f"{sibling.sum()} test clips share a recording with training, "
            f"first src_file {src_file} of class {target}: split by fold"
        )


def official_splits(clips, *, folds=FOLDS):
    """Split by the official folds: each fold in turn is the test part, the other four are for training.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    folds : sequence of int
        Folds to test on; fewer make a shorter study, each still trained on the four others.

    Returns
    -------
    list of Split
        One for each of `folds`, in their order.

    Raises
    ------
    LeakError
        If a recording crosses folds.
    ValueError
        If the table has no such fold.
    """
    fold = clips["fold"].to_numpy()
    _refuse_missing_folds(folds, np.unique(fold))
    return [_guarded(clips, f"fold {k}", np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in folds]


def validation_split(clips, split, *, validation_fold=None):
    """Take a validation part out of the training part, so that nothing is chosen on the test fold.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    split : Split
        The split that is reported; its test part is left alone.
    validation_fold : int, optional
        The training fold to validate on. Default: the one after the test fold (after 5 comes 1).

    Returns
    -------
    Split
        ``test`` is the validation fold and ``train`` the rest; both lie inside ``split.train``.

    Raises
    ------
    ValueError
        If `validation_fold` is none of the training folds.
    """
    fold = clips["fold"].to_numpy()
    training_folds = np.unique(fold[split.train])
    if validation_fold is None:
        later = training_folds[training_folds > fold[split.test].max()]
        validation_fold = int(later[0] if later.size else training_folds[0])
    _refuse_missing_folds([validation_fold], training_folds)
    chosen = fold[split.train] == validation_fold  # (n_train,)
    name = f"{split.name}, validation fold {validation_fold}"
    return _guarded(clips, name, split.train[~chosen], split.train[chosen])


def held_out_split(clips, folds):
    """Split with several official folds held out at once.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    folds : sequence of int
        Official folds that make the test part.

    Returns
    -------
    Split
        The other folds are for training.

    Raises
    ------
    LeakError
        If a recording crosses the two parts.
    ValueError
        If the table has no such fold.
    """
    fold = clips["fold"].to_numpy()
    _refuse_missing_folds(folds, np.unique(fold))
    test = np.isin(fold, folds)  # (n_clips,)
    name = f"folds {' and '.join(map(str, folds))}"
    return _guarded(clips, name, np.flatnonzero(~test), np.flatnonzero(test))


def grouped_random_splits(clips, *, n_splits=5, seed):
    """Split at random, but keep all takes of a recording on one side.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table, n_clips rows.
    n_splits : int
        Number of parts; each is the test part once.
    seed : int
        The same seed gives the same splits.

    Returns
    -------
    list of Split
        Classes are balanced as far as the recordings allow.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    parts = splitter.split(clips, clips["target"], groups=recording_ids(clips))
    return [_guarded(clips, f"grouped random {k}", *part) for k, part in enumerate(parts, start=1)]


def leaky_random_splits(clips, *, n_splits=5, seed):
    """Split at random and ignore the recordings: wrong, and here only to measure what they would claim.

    They are not guarded on purpose; `assert_no_leak` refuses them. Never report a model by them.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table, n_clips rows.
    n_splits : int
        Number of parts; each is the test part once.
    seed : int
        The same seed gives the same splits.

    Returns
    -------
    list of Split
        Classes are balanced.
    """
    parts = _stratified_parts(clips["target"].to_numpy(), n_splits, seed)
    return [Split(f"random {k}", train, test) for k, (train, test) in enumerate(parts, start=1)]


def duplicated_clip_splits(clips, *, copies=2, n_splits=5, seed):
    """Split a set that holds each clip several times at random: wrong, and here only to measure its claim.

    This is what happens where clips are augmented first and split afterwards: copies of most test clips are
    in training. Not guarded on purpose; never report a model by them.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table, n_clips rows.
    copies : int
        How often each clip is in the enlarged set.
    n_splits : int
        Number of parts; each is the test part once.
    seed : int
        The same seed gives the same splits.

    Returns
    -------
    list of Split
        Rows of the original table, ``copies * n_clips`` in all: a row may be on both sides, or twice on one.
    """
    rows = np.repeat(np.arange(len(clips)), copies)  # (copies * n_clips,)
    parts = _stratified_parts(clips["target"].to_numpy()[rows], n_splits, seed)
    return [Split(f"duplicated {k}", rows[train], rows[test]) for k, (train, test) in enumerate(parts, start=1)]


def leakage_report(clips, splits):
    """Count the test clips that a model has already heard, or heard a sibling of, in training.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    splits : sequence of Split
        Splits of any kind, leaking or not.

    Returns
    -------
    pandas.DataFrame, one row for each split
        ``split`` (name), ``n_test``, ``n_sibling`` and ``sibling_share`` (test clips whose recording is in
        training too), ``n_same_clip`` (test clips that are in training themselves).
    """
    rows = []
    for split in splits:
        sibling = _has_sibling(clips, split.train, split.test)
        same_clip = np.isin(split.test, split.train)
        rows.append((split.name, len(split.test), sibling.sum(), sibling.mean(), same_clip.sum()))
    return pd.DataFrame(rows, columns=["split", "n_test", "n_sibling", "sibling_share", "n_same_clip"])


def _has_sibling(clips, train, test):
    """For each test row, whether its recording is in training; shape (n_test,)."""
    ids = recording_ids(clips)
    return np.isin(ids[test], ids[train])


def _guarded(clips, name, train, test):
    assert_no_leak(clips, train, test)
    return Split(name, train, test)


def _refuse_missing_folds(folds, available):
    missing = sorted(set(folds) - set(available.tolist()))
    if missing:
        raise ValueError(f"fold {missing[0]} is none of {available.tolist()}")


def _stratified_parts(targets, n_splits, seed):
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    return splitter.split(targets, targets)

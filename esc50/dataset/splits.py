"""Split the clips, and check splits for leaks."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from esc50.config import FOLDS, LeakError


class Split(NamedTuple):
    """A training and a test part of the clip table."""

    name: str  # such as "fold 1"
    train: np.ndarray  # (n_train,) row numbers
    test: np.ndarray  # (n_test,) row numbers


def recording_ids(clips):
    """Number the recordings that clips were cut from.

    A recording is identified by the pair (src_file, target). ``src_file`` alone is ambiguous: in the official list
    131943, 134049, 209698 and 234879 each occur in two folds under two classes.

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
    """Check that training and test share no clip and no recording.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    train, test : np.ndarray, shape (n_train,) and (n_test,)
        Rows of the clip table.

    Raises
    ------
    LeakError
        If a row or a pair (src_file, target) is in both parts; the message names the first.
    """
    same_clip = np.isin(test, train)  # (n_test,)
    if same_clip.any():
        filename = clips["filename"].iloc[test[same_clip][0]]
        raise LeakError(f"{same_clip.sum()} clips are in both training and test, first {filename}: split by fold")
    sibling = _has_sibling(clips, train, test)  # (n_test,)
    if sibling.any():
        src_file, target = clips[["src_file", "target"]].iloc[test[sibling][0]]
        raise LeakError(
            f"{sibling.sum()} test clips share a recording with training, "
            f"first src_file {src_file} of class {target}: split by fold"
        )


def official_splits(clips, *, folds=FOLDS):
    """Split by the official folds: each fold in turn is the test part, the other four are the training part.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    folds : sequence of int
        Folds to test on; each is still trained on the other four.

    Returns
    -------
    list of Split
        One for each of `folds`, in their order.

    Raises
    ------
    LeakError
        If a recording crosses folds.
    ValueError
        If the table lacks one of the folds.
    """
    fold = clips["fold"].to_numpy()
    _refuse_missing_folds(folds, np.unique(fold))
    return [_guarded(clips, f"fold {k}", np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in folds]


def validation_split(clips, split, *, validation_fold=None):
    """Split the training part into training and validation, so that nothing is chosen on the test fold.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    split : Split
        The reported split; its test part is not used.
    validation_fold : int, optional
        The training fold to validate on; by default the one after the test fold (1 after 5).

    Returns
    -------
    Split
        ``test`` is the validation fold and ``train`` the rest of ``split.train``.

    Raises
    ------
    ValueError
        If `validation_fold` is not one of the training folds.
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
    """Hold out several official folds at once.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    folds : sequence of int
        Official folds of the test part.

    Returns
    -------
    Split
        The other folds are the training part.

    Raises
    ------
    LeakError
        If a recording is in both parts.
    ValueError
        If the table lacks one of the folds.
    """
    fold = clips["fold"].to_numpy()
    _refuse_missing_folds(folds, np.unique(fold))
    test = np.isin(fold, folds)  # (n_clips,)
    name = f"folds {' and '.join(map(str, folds))}"
    return _guarded(clips, name, np.flatnonzero(~test), np.flatnonzero(test))


def grouped_random_splits(clips, *, n_splits=5, seed):
    """Split at random, with all clips of a recording in the same part.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table, n_clips rows.
    n_splits : int
        Number of splits; each clip is tested once.
    seed : int
        Of the random generator.

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
    """Split at random regardless of recordings, only to measure how much this leak inflates accuracy.

    The splits are not checked; `assert_no_leak` rejects them. Never report a model with them.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table, n_clips rows.
    n_splits : int
        Number of splits; each clip is tested once.
    seed : int
        Of the random generator.

    Returns
    -------
    list of Split
        Classes are balanced.
    """
    parts = _stratified_parts(clips["target"].to_numpy(), n_splits, seed)
    return [Split(f"random {k}", train, test) for k, (train, test) in enumerate(parts, start=1)]


def duplicated_clip_splits(clips, *, copies=2, n_splits=5, seed):
    """Split a set with several copies of each clip at random, only to measure how much this leak inflates accuracy.

    This happens if clips are augmented before the split: most test clips have copies in training. The splits are not
    checked. Never report a model with them.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table, n_clips rows.
    copies : int
        Number of copies of each clip.
    n_splits : int
        Number of splits; each copy is tested once.
    seed : int
        Of the random generator.

    Returns
    -------
    list of Split
        Rows of the original table, ``copies * n_clips`` in total; a row may occur in both parts, or twice in one.
    """
    rows = np.repeat(np.arange(len(clips)), copies)  # (copies * n_clips,)
    parts = _stratified_parts(clips["target"].to_numpy()[rows], n_splits, seed)
    return [Split(f"duplicated {k}", rows[train], rows[test]) for k, (train, test) in enumerate(parts, start=1)]


def leakage_report(clips, splits):
    """Count the test clips whose recording, or which themselves, are in training.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table.
    splits : sequence of Split
        Splits of any kind, leaking or not.

    Returns
    -------
    pandas.DataFrame, one row for each split
        ``split`` (name), ``n_test``, ``n_sibling`` and ``sibling_share`` (test clips whose recording is in training),
        ``n_same_clip`` (test clips that are in training).
    """
    rows = []
    for split in splits:
        sibling = _has_sibling(clips, split.train, split.test)
        same_clip = np.isin(split.test, split.train)
        rows.append((split.name, len(split.test), sibling.sum(), sibling.mean(), same_clip.sum()))
    return pd.DataFrame(rows, columns=["split", "n_test", "n_sibling", "sibling_share", "n_same_clip"])


def _has_sibling(clips, train, test):
    """Return for each test row whether its recording is in training, (n_test,)."""
    ids = recording_ids(clips)
    return np.isin(ids[test], ids[train])


def _guarded(clips, name, train, test):
    assert_no_leak(clips, train, test)
    return Split(name, train, test)


def _refuse_missing_folds(folds, available):
    missing = sorted(set(folds) - set(available.tolist()))
    if missing:
        raise ValueError(f"no fold {missing[0]}: choose from {available.tolist()}")


def _stratified_parts(targets, n_splits, seed):
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    return splitter.split(targets, targets)

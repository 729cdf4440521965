"""ESC-50 itself: the clip table, where the recordings lie, how they are fetched and how they are split."""

import hashlib
import io
import os
import shutil
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from esc50.config import FOLDS, META_DIR, N_CLASSES, PROJECT_DIR, RAW_DIR, AudioSettings
from esc50.errors import DatasetError, LeakError

# The data set as its author publishes it, at the commit that was the newest in November 2025. GitHub does
# not promise to pack a commit to the same bytes for ever, so the content is what is checked
# (`verify_dataset`); the archive's SHA-256 is the one that other projects have published, for
# `fetch_dataset(known_hash=...)`.
ARCHIVE_URL = "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip"  # 646 MB
ARCHIVE_SHA256 = "sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f"
LIST_MD5 = "54a0d0055a10bb7df84ad340a148722e"  # meta/esc50.csv
LICENCE = "CC BY-NC 3.0 (the ESC-10 subset: CC BY 3.0); attribution of every clip in the archive's LICENSE"
CITATION = (
    "K. J. Piczak. ESC: Dataset for Environmental Sound Classification. Proceedings of the 23rd ACM "
    "International Conference on Multimedia, pp. 1015-1018, 2015. https://doi.org/10.1145/2733373.2806390"
)

# The five major categories of the official README: label // 10 is the position here.
THEMES = (
    "Animals",
    "Natural soundscapes & water",
    "Human, non-speech",
    "Interior/domestic",
    "Exterior/urban",
)

CLIP_LIST = META_DIR / "esc50.csv"
CLIPS_PER_CLASS = 40
CLIPS_PER_CLASS_AND_FOLD = 8
CLIP_SUFFIXES = (".wav", ".flac")  # official at 44.1 kHz, mirror at 16 kHz
DURATION_TOLERANCE_SECONDS = 0.01
CHUNK_BYTES = 2**18
N_NAMED = 3  # offending files that a message names

# What a damaged zip raises (found by flipping its bytes at random), and a whole one that is not ESC-50.
ARCHIVE_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, DatasetError)

DATASET_VARIABLE = "ESC50_DATA"
FOLDER_NAME = "ESC-50"  # what `fetch_dataset` makes inside its destination
WORK_FOLDER_NAME = ".fetch"  # where it works until everything is checked
SEARCH_FOLDERS = (RAW_DIR, PROJECT_DIR.parent / "shared" / "esc50")
START_ANEW = "move that folder away and run `make data`"
BY_HAND = f"download and unzip it by hand and set {DATASET_VARIABLE} to that folder"


def load_clips():
    """Read the table of all clips from the committed copy of the official list.

    Returns
    -------
    pandas.DataFrame, 2000 rows
        In the list's order, which is the order of every feature file: ``filename``, ``fold`` (1 to 5),
        ``target`` (label, 0 to 49), ``category`` (class name), ``theme`` (one of `THEMES`), ``esc10`` (bool),
        ``src_file`` (Freesound id of the recording), ``take`` (letter of the fragment).

    Raises
    ------
    DatasetError
        If the list is missing or differs from the published one.
    """
    with _advice("restore it with `git checkout data/meta`"):
        return _read_list(CLIP_LIST)


def class_names():
    """Names of the classes in label order, derived from the list: the one place they come from.

    Returns
    -------
    tuple of str, length 50
        ``class_names()[target]`` is the clip's ``category``.
    """
    by_label = load_clips().drop_duplicates("target").sort_values("target")
    return tuple(by_label["category"])


def find_dataset(path=None):
    """Find the folder that holds ESC-50.

    Looked for in this order: `path`; the environment variable ``ESC50_DATA``; ``data/raw``; the mirror
    ``../shared/esc50`` beside the checkout. In each the data set may lie directly or one folder deeper
    (``ESC-50`` as `fetch_dataset` makes it, ``ESC-50-master`` as the official archive unzips).

    Parameters
    ----------
    path : path-like, optional
        Folder to use, before anything else.

    Returns
    -------
    Path
        The folder with ``audio/`` in it, all 2,000 clips present by name.

    Raises
    ------
    DatasetError
        If `path` or ``ESC50_DATA`` is given but holds no ESC-50, if the folder found lacks clips, or if there
        is none.
    """
    root = _named_root(path) or _default_root()
    if root is None:
        looked = " or ".join(str(folder) for folder in SEARCH_FOLDERS)
        raise DatasetError(
            f"no ESC-50 audio in {looked}: run `make data`, or set {DATASET_VARIABLE} to a folder with audio/"
        )
    with _advice(START_ANEW):
        _clip_files(root, load_clips())
    return root


def dataset_found():
    """Say whether `find_dataset` without a path has something to find.

    Returns
    -------
    bool
        False where no recordings lie in any of the usual places.

    Raises
    ------
    DatasetError
        If ``ESC50_DATA`` is set to a folder that holds no ESC-50: a mistake, not an absence.
    """
    return (_named_root(None) or _default_root()) is not None


def clip_path(filename, root):
    """Path of one clip, in the official 44.1 kHz WAV layout or the 16 kHz FLAC layout.

    Parameters
    ----------
    filename : str
        As in the clip table (``1-100032-A-0.wav``); only the stem is used.
    root : path-like
        The data set's folder, from `find_dataset`.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    DatasetError
        If the clip is in neither layout.
    """
    audio, stem = Path(root) / "audio", Path(filename).stem
    for suffix in CLIP_SUFFIXES:
        path = audio / (stem + suffix)
        if path.is_file():
            return path
    raise DatasetError(f"no clip {stem} ({' or '.join(CLIP_SUFFIXES)}) in {audio}: {START_ANEW}")


def check_balance(clips):
    """Check that the table has 50 classes, 40 clips a class and 8 a class and fold.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clip table with ``target`` and ``fold``.

    Raises
    ------
    DatasetError
        Naming the first class, or class and fold, with another number of clips.
    """
    per_class = clips["target"].value_counts().reindex(range(N_CLASSES), fill_value=0)
    _refuse_other_counts(per_class, CLIPS_PER_CLASS, "class")
    cells = pd.MultiIndex.from_product([range(N_CLASSES), FOLDS])
    per_cell = clips.value_counts(["target", "fold"]).reindex(cells, fill_value=0)
    _refuse_other_counts(per_cell, CLIPS_PER_CLASS_AND_FOLD, "(class, fold)")


def verify_dataset(root, *, decode=True, progress=True):
    """Check that a folder holds the whole of ESC-50, unaltered.

    The list must be the published one, all 2,000 clips must be there, 40 a class and 8 a class and fold, and
    every clip must decode to 5 s.

    Parameters
    ----------
    root : path-like
        The data set's folder, with ``audio/`` and ``meta/``.
    decode : bool
        Whether to decode every clip too (4 s for 16 kHz FLAC on 2 cores).
    progress : bool
        Whether to show a progress bar.

    Raises
    ------
    DatasetError
        Naming what is wrong and the first few files that are.
    """
    with _advice(START_ANEW):
        _verify(Path(root), decode, progress)


def fetch_dataset(
    destination=RAW_DIR, *, url=ARCHIVE_URL, known_hash=None, retries=3, timeout_seconds=30.0, progress=True
):
    """Download the official archive, unpack it beside its place, check it, and only then move it there.

    An interrupted call leaves nothing half-made and the next one goes on: an archive that was completely
    downloaded is used again, and a data set that is already there is checked and returned.

    Parameters
    ----------
    destination : path-like
        Folder in which ``ESC-50/`` is made; nothing else in it is touched.
    url : str
        Zip archive with one folder that holds ``audio/``, ``meta/esc50.csv`` and ``LICENSE``.
    known_hash : str, optional
        Hash of the archive as pooch takes it, such as `ARCHIVE_SHA256`. Default: the content is checked only.
    retries : int
        How often a failed download is tried again.
    timeout_seconds : float
        Longest wait for the server's next bytes.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    Path
        The data set's folder.

    Raises
    ------
    DatasetError
        If the download fails, if the archive is damaged or is not ESC-50, or if something else is in the way.
    """
    destination = Path(destination).expanduser()
    there = _root_in(destination)
    if there is not None:
        verify_dataset(there, progress=progress)
        return there
    root, work = destination / FOLDER_NAME, destination / WORK_FOLDER_NAME
    if root.exists():
        raise DatasetError(f"{root} is in the way and holds no audio/: move it away and run `make data`")
    archive = _download(url, work, known_hash, retries, timeout_seconds, progress)
    _install(archive, root, url, progress)
    shutil.rmtree(work)
    return root


@dataclass(frozen=True, eq=False)
class Split:
    """One division of the clips into a training and a test part.

    Parameters
    ----------
    name : str
        Short name for tables, such as ``fold 1``.
    train : np.ndarray, shape (n_train,)
        Rows of the clip table to train on.
    test : np.ndarray, shape (n_test,)
        Rows of the clip table to test on.
    """

    name: str
    train: np.ndarray
    test: np.ndarray


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


def left_out_split(clips, folds):
    """Split with several official folds left out of the training at once.

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


@contextmanager
def _advice(what_to_do):
    """Add to a `DatasetError` what to do next; the checks below only say what is wrong."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(f"{error}: {what_to_do}") from error


def _read_list(path):
    if not path.is_file():
        raise DatasetError(f"no clip list {path}")
    content = path.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != LIST_MD5:
        raise DatasetError(f"clip list {path} has md5 {md5}, the published one {LIST_MD5}")
    clips = pd.read_csv(io.BytesIO(content))
    theme = [THEMES[label * len(THEMES) // N_CLASSES] for label in clips["target"]]
    clips.insert(clips.columns.get_loc("esc10"), "theme", theme)
    return clips


def _root_in(folder):
    candidates = (folder, folder / FOLDER_NAME, *sorted(folder.glob(f"{FOLDER_NAME}-*")))
    return next((root for root in candidates if (root / "audio").is_dir()), None)


def _named_root(path):
    given = os.environ.get(DATASET_VARIABLE) or None if path is None else path
    if given is None:
        return None
    root = _root_in(Path(given).expanduser())
    if root is None:
        origin = DATASET_VARIABLE if path is None else "the path given"
        raise DatasetError(f"no ESC-50 audio in {given} ({origin}): name a folder that holds audio/")
    return root


def _default_root():
    return next((root for root in map(_root_in, SEARCH_FOLDERS) if root is not None), None)


def _verify(root, decode, progress):
    clips = _read_list(root / "meta" / "esc50.csv")
    check_balance(clips)
    files = _clip_files(root, clips)
    bad = _undecodable(files, progress) if decode else []
    if bad:
        named = "; ".join(f"{path.name}: {fault}" for path, fault in bad[:N_NAMED])
        raise DatasetError(f"{len(bad)} clips in {root / 'audio'} are damaged ({named})")


def _clip_files(root, clips):
    """Files of all clips in the table's order, from one listing of the folder."""
    audio = root / "audio"
    present = {p.stem: p for p in sorted(audio.glob("*")) if p.suffix in CLIP_SUFFIXES}
    missing = [name for name in clips["filename"] if Path(name).stem not in present]
    if missing:
        named = ", ".join(missing[:N_NAMED])
        raise DatasetError(f"{len(missing)} of {len(clips)} clips are missing from {audio} ({named})")
    return [present[Path(name).stem] for name in clips["filename"]]


def _refuse_other_counts(counts, expected, what):
    for label, count in counts[counts != expected].items():
        raise DatasetError(f"{count} clips in {what} {label}, expected {expected}")


def _undecodable(files, progress):
    """(path, reason) of each file that does not decode to the length of a clip."""
    from tqdm import tqdm

    checked = ((path, _clip_fault(path)) for path in tqdm(files, desc="decode", disable=not progress))
    return [(path, fault) for path, fault in checked if fault]


def _clip_fault(path):
    import soundfile

    expected = AudioSettings().clip_seconds
    try:
        samples, rate = soundfile.read(path, dtype="int16")
    except soundfile.LibsndfileError as error:
        return error.error_string
    seconds = len(samples) / rate
    whole = abs(seconds - expected) <= DURATION_TOLERANCE_SECONDS
    return "" if whole else f"{seconds:.3f} s, not {expected} s"


def _download(url, folder, known_hash, retries, timeout_seconds, progress):
    """Path of the complete archive; pooch writes to a temporary name and renames."""
    import pooch

    name = pooch.utils.unique_file_name(url)  # another address is another archive
    _clear(folder, keep=name)
    store = pooch.create(folder, "", registry={name: known_hash}, urls={name: url}, retry_if_failed=retries)
    downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK_BYTES, timeout=timeout_seconds)
    try:
        return Path(store.fetch(name, downloader=downloader))
    except (OSError, ValueError) as error:  # what requests, the disk and a wrong hash raise
        reason = " ".join(str(error).split())  # one line
        raise DatasetError(f"cannot download {url} ({reason}): run `make data` again, or {BY_HAND}") from error
    finally:
        _remove_if_empty(folder)


def _clear(folder, *, keep):
    """Remove what a killed call left in the working folder, other than its complete archive."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != keep:
            path.unlink()


def _remove_if_empty(folder):
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _install(archive, root, url, progress):
    """Unpack beside, verify, rename; an archive that is no good is deleted."""
    folder = archive.parent / "unpacked"
    try:
        _unpack(archive, folder, progress)
        _verify(folder, True, progress)
        folder.replace(root)
    except OSError as error:  # the disk's fault, not the archive's
        raise DatasetError(f"cannot unpack {archive} ({error}): make room or delete it, and run `make data`") from error
    except ARCHIVE_FAULTS as error:
        archive.unlink()
        raise DatasetError(
            f"the archive from {url} is damaged or is not ESC-50 ({error}) and was deleted: "
            f"run `make data` again, or {BY_HAND}"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_if_empty(archive.parent)


def _unpack(archive, folder, progress):
    """Copy the clips, the list and the licence, and no other member: names are compared, never followed."""
    from tqdm import tqdm

    wanted = {f"audio/{name}" for name in load_clips()["filename"]} | {"meta/esc50.csv", "LICENSE"}
    for part in ("audio", "meta"):
        (folder / part).mkdir(parents=True)
    with zipfile.ZipFile(archive) as opened:
        for member in tqdm(opened.infolist(), desc="unpack", disable=not progress):
            relative = member.filename.partition("/")[2]  # without the archive's own top folder
            if relative in wanted:
                with opened.open(member) as source, (folder / relative).open("wb") as sink:
                    shutil.copyfileobj(source, sink)


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

"""The clip table and the location of the recordings."""

import hashlib
import io
import os
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from esc50.config import META_DIR, N_CLASSES, PROJECT_DIR, RAW_DIR, AudioSettings, DatasetError

LIST_MD5 = "54a0d0055a10bb7df84ad340a148722e"  # meta/esc50.csv
LICENCE = "CC BY-NC 3.0 (the ESC-10 subset: CC BY 3.0); attribution of every clip in the archive's LICENSE"
CITATION = (
    "K. J. Piczak. ESC: Dataset for Environmental Sound Classification. Proceedings of the 23rd ACM "
    "International Conference on Multimedia, pp. 1015-1018, 2015. https://doi.org/10.1145/2733373.2806390"
)


# The five major categories of the official README, indexed by label // 10.
THEMES = ("Animals", "Natural soundscapes & water", "Human, non-speech", "Interior/domestic", "Exterior/urban")
CLIP_LIST = META_DIR / "esc50.csv"
CLIPS_PER_CLASS = 40
CLIP_SUFFIXES = (".wav", ".flac")  # 44.1 kHz originals, 16 kHz mirror
DURATION_TOLERANCE_SECONDS = 0.01
N_NAMED = 3  # files listed in an error message
DATASET_VARIABLE = "ESC50_DATA"
FOLDER_NAME = "ESC-50"  # created by `fetch_dataset` in its destination
SEARCH_FOLDERS = (RAW_DIR, PROJECT_DIR.parent / "shared" / "esc50")
START_ANEW = "move that folder away and run `make data`"


def load_clips():
    """Read the table of all clips from the committed copy of the official list.

    Returns
    -------
    pandas.DataFrame, 2000 rows
        In the list's order, which is the order of every feature file: ``filename``, ``fold`` (1 to 5),
        ``target`` (label, 0 to 49), ``category`` (class name), ``theme`` (one of `THEMES`), ``esc10`` (bool),
        ``src_file`` (Freesound id of the recording), ``take`` (letter of the clip within the recording).

    Raises
    ------
    DatasetError
        If the list is missing or differs from the published one.
    """
    with _advice("restore it with `git checkout data/meta`"):
        return _read_list(CLIP_LIST)


def class_names():
    """Return the names of the 50 classes in label order: ``class_names()[target]`` is a clip's ``category``."""
    return tuple(load_clips().drop_duplicates("target").sort_values("target")["category"])


def find_dataset(path=None):
    """Find the folder that holds ESC-50.

    It is searched for in this order: `path`; the environment variable ``ESC50_DATA``; ``data/raw``;
    ``../shared/esc50`` next to the checkout. The data set may be in the folder itself or one level below (``ESC-50`` as
    `fetch_dataset` creates it, ``ESC-50-master`` as in the official archive).

    Parameters
    ----------
    path : path-like, optional
        Folder to use.

    Returns
    -------
    Path
        The folder that contains ``audio/`` with all 2,000 clips.

    Raises
    ------
    DatasetError
        If `path` or ``ESC50_DATA`` is given but contains no ESC-50, if clips are missing, or if no folder is found.
    """
    root = _named_root(path) or _default_root()
    if root is None:
        looked = " or ".join(str(folder) for folder in SEARCH_FOLDERS)
        raise DatasetError(
            f"no ESC-50 audio in {looked}: run `make data`, or set {DATASET_VARIABLE} to a folder that contains audio/"
        )
    with _advice(START_ANEW):
        _clip_files(root, load_clips())
    return root


def dataset_found():
    """Return whether the recordings are found; raise a `DatasetError` if ``ESC50_DATA`` is wrong."""
    return (_named_root(None) or _default_root()) is not None


def clip_path(filename, root):
    """Return the path of a clip below `root`, as a 44.1 kHz WAV original or a 16 kHz FLAC copy."""
    audio, stem = Path(root) / "audio", Path(filename).stem
    for path in (audio / f"{stem}{suffix}" for suffix in CLIP_SUFFIXES):
        if path.is_file():
            return path
    raise DatasetError(f"no clip {stem} ({' or '.join(CLIP_SUFFIXES)}) in {audio}: {START_ANEW}")


def verify_dataset(root, *, decode=True, progress=True):
    """Check that a folder contains the complete, unmodified ESC-50.

    The list must be the published one, all 2,000 clips must be present, and each must decode to 5 s.

    Parameters
    ----------
    root : path-like
        The data set's folder, with ``audio/`` and ``meta/``.
    decode : bool
        Decode every clip (4 s for 16 kHz FLAC on 2 cores).
    progress : bool
        Show a progress bar.

    Raises
    ------
    DatasetError
        If a check fails; the message lists the first few files.
    """
    with _advice(START_ANEW):
        verify_root(Path(root), decode, progress)


@contextmanager
def _advice(what_to_do):
    """Append what to do next to a `DatasetError`."""
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
        raise DatasetError(f"clip list {path} has MD5 {md5}, but the published one has {LIST_MD5}")
    clips = pd.read_csv(io.BytesIO(content))
    theme = [THEMES[label * len(THEMES) // N_CLASSES] for label in clips["target"]]
    clips.insert(clips.columns.get_loc("esc10"), "theme", theme)
    return clips


def root_in(folder):
    """Return the folder in or below `folder` that holds audio/, or None."""
    candidates = (folder, folder / FOLDER_NAME, *sorted(folder.glob(f"{FOLDER_NAME}-*")))
    return next((root for root in candidates if (root / "audio").is_dir()), None)


def _named_root(path):
    given = os.environ.get(DATASET_VARIABLE) or None if path is None else path
    if given is None:
        return None
    root = root_in(Path(given).expanduser())
    if root is None:
        origin = DATASET_VARIABLE if path is None else "the path given"
        raise DatasetError(f"no ESC-50 audio in {given} ({origin}): give a folder that contains audio/")
    return root


def _default_root():
    return next((root for root in map(root_in, SEARCH_FOLDERS) if root is not None), None)


def verify_root(root, decode, progress):
    """Raise a `DatasetError` unless a folder holds every clip, undamaged if `decode`."""
    from tqdm import tqdm

    files = _clip_files(root, _read_list(root / "meta" / "esc50.csv"))
    bar = tqdm(files if decode else (), desc="decode", disable=not progress or not decode)
    bad = [f"{path.name}: {fault}" for path in bar if (fault := _find_fault(path))]
    if bad:
        raise DatasetError(f"{len(bad)} clips in {root / 'audio'} are damaged ({'; '.join(bad[:N_NAMED])})")


def _clip_files(root, clips):
    """Return the files of all clips in the order of the table."""
    audio = root / "audio"
    present = {p.stem: p for p in sorted(audio.glob("*")) if p.suffix in CLIP_SUFFIXES}
    missing = [name for name in clips["filename"] if Path(name).stem not in present]
    if missing:
        named = ", ".join(missing[:N_NAMED])
        raise DatasetError(f"{len(missing)} of {len(clips)} clips are missing from {audio} ({named})")
    return [present[Path(name).stem] for name in clips["filename"]]


def _find_fault(path):
    """Return why a file does not decode to the length of a clip; empty if it does."""
    import soundfile

    expected = AudioSettings().clip_seconds
    try:
        samples, rate = soundfile.read(path, dtype="int16")
    except soundfile.LibsndfileError as error:
        return error.error_string
    seconds = len(samples) / rate
    return "" if abs(seconds - expected) <= DURATION_TOLERANCE_SECONDS else f"{seconds:.3f} s, not {expected} s"

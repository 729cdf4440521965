"""The clip table, and where the recordings lie."""

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


# The five major categories of the official README: label // 10 is the position here.
THEMES = ("Animals", "Natural soundscapes & water", "Human, non-speech", "Interior/domestic", "Exterior/urban")
CLIP_LIST = META_DIR / "esc50.csv"
CLIPS_PER_CLASS = 40
CLIP_SUFFIXES = (".wav", ".flac")  # official at 44.1 kHz, mirror at 16 kHz
DURATION_TOLERANCE_SECONDS = 0.01
N_NAMED = 3  # offending files that a message names
DATASET_VARIABLE = "ESC50_DATA"
FOLDER_NAME = "ESC-50"  # what `fetch_dataset` makes inside its destination
SEARCH_FOLDERS = (RAW_DIR, PROJECT_DIR.parent / "shared" / "esc50")
START_ANEW = "move that folder away and run `make data`"


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
    """Names of the 50 classes in label order: ``class_names()[target]`` is the clip's ``category``."""
    return tuple(load_clips().drop_duplicates("target").sort_values("target")["category"])


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
    """Whether recordings lie in a usual place; a wrong ``ESC50_DATA`` is a mistake, not an absence: DatasetError."""
    return (_named_root(None) or _default_root()) is not None


def clip_path(filename, root):
    """Path of one clip of the table, in the official 44.1 kHz WAV layout or the 16 kHz FLAC layout of `root`."""
    audio, stem = Path(root) / "audio", Path(filename).stem
    for path in (audio / f"{stem}{suffix}" for suffix in CLIP_SUFFIXES):
        if path.is_file():
            return path
    raise DatasetError(f"no clip {stem} ({' or '.join(CLIP_SUFFIXES)}) in {audio}: {START_ANEW}")


def verify_dataset(root, *, decode=True, progress=True):
    """Check that a folder holds the whole of ESC-50, unaltered.

    The list must be the published one, all 2,000 clips must be there, and every clip must decode to 5 s.

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
    from tqdm import tqdm

    files = _clip_files(root, _read_list(root / "meta" / "esc50.csv"))
    bar = tqdm(files if decode else (), desc="decode", disable=not progress or not decode)
    bad = [f"{path.name}: {fault}" for path in bar if (fault := _find_fault(path))]
    if bad:
        raise DatasetError(f"{len(bad)} clips in {root / 'audio'} are damaged ({'; '.join(bad[:N_NAMED])})")


def _clip_files(root, clips):
    """Files of all clips in the table's order, from one listing of the folder."""
    audio = root / "audio"
    present = {p.stem: p for p in sorted(audio.glob("*")) if p.suffix in CLIP_SUFFIXES}
    missing = [name for name in clips["filename"] if Path(name).stem not in present]
    if missing:
        named = ", ".join(missing[:N_NAMED])
        raise DatasetError(f"{len(missing)} of {len(clips)} clips are missing from {audio} ({named})")
    return [present[Path(name).stem] for name in clips["filename"]]


def _find_fault(path):
    """Why a file does not decode to the length of a clip; empty where it does."""
    import soundfile

    expected = AudioSettings().clip_seconds
    try:
        samples, rate = soundfile.read(path, dtype="int16")
    except soundfile.LibsndfileError as error:
        return error.error_string
    seconds = len(samples) / rate
    return "" if abs(seconds - expected) <= DURATION_TOLERANCE_SECONDS else f"{seconds:.3f} s, not {expected} s"

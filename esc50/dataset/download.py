"""Download ESC-50."""

import shutil
import zipfile
import zlib
from pathlib import Path

from esc50.config import RAW_DIR, DatasetError
from esc50.dataset.clips import DATASET_VARIABLE, FOLDER_NAME, load_clips, root_in, verify_dataset, verify_root

# The author's repository at its newest commit of November 2025. GitHub does not guarantee that archives stay identical
# byte by byte, so `verify_dataset` checks the content; the SHA-256 is for `fetch_dataset(known_hash=...)`.
ARCHIVE_URL = "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip"  # 646 MB
ARCHIVE_SHA256 = "sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f"
CHUNK_BYTES = 2**18
# Errors from a damaged archive (found by fuzzing), and from one that is not ESC-50.
ARCHIVE_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, DatasetError)
WORK_FOLDER_NAME = ".fetch"  # inside the destination, until everything is checked
BY_HAND = f"download and unzip it by hand and set {DATASET_VARIABLE} to that folder"


def fetch_dataset(
    destination=RAW_DIR, *, url=ARCHIVE_URL, known_hash=None, retries=3, timeout_seconds=30.0, progress=True
):
    """Download, unpack and check the official archive, then move it into place.

    An interrupted call leaves no partial data set. A complete archive from an earlier call is used again, and an
    existing data set is checked and returned.

    Parameters
    ----------
    destination : path-like
        Folder in which ``ESC-50/`` is created; nothing else in it is changed.
    url : str
        Zip archive with one folder that contains ``audio/``, ``meta/esc50.csv`` and ``LICENSE``.
    known_hash : str, optional
        Hash of the archive in pooch's format, such as `ARCHIVE_SHA256`; by default only the content is checked.
    retries : int
        Number of retries of a failed download.
    timeout_seconds : float
        Timeout for the connection and for each read.
    progress : bool
        Show progress bars.

    Returns
    -------
    Path
        The data set's folder.

    Raises
    ------
    DatasetError
        If the download fails, the archive is damaged or is not ESC-50, or the target folder contains something else.
    """
    destination = Path(destination).expanduser()
    there = root_in(destination)
    if there is not None:
        verify_dataset(there, progress=progress)
        return there
    root, work = destination / FOLDER_NAME, destination / WORK_FOLDER_NAME
    if root.exists():
        raise DatasetError(f"{root} exists but contains no audio/: move it away and run `make data`")
    archive = _download(url, work, known_hash, retries, timeout_seconds, progress)
    _install(archive, root, url, progress)
    shutil.rmtree(work)
    return root


def _download(url, folder, known_hash, retries, timeout_seconds, progress):
    """Return the path of the complete archive; pooch writes to a temporary file and renames it."""
    import pooch

    name = pooch.utils.unique_file_name(url)
    _clear(folder, keep=name)
    store = pooch.create(folder, "", registry={name: known_hash}, urls={name: url}, retry_if_failed=retries)
    downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK_BYTES, timeout=timeout_seconds)
    try:
        return Path(store.fetch(name, downloader=downloader))
    except (OSError, ValueError) as error:  # from requests, the disk, or a wrong hash
        reason = " ".join(str(error).split())  # one line
        raise DatasetError(f"cannot download {url} ({reason}): run `make data` again, or {BY_HAND}") from error
    finally:
        _remove_if_empty(folder)


def _clear(folder, *, keep):
    """Remove leftovers of a killed call from the working folder, except its complete archive."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != keep:
            path.unlink()


def _remove_if_empty(folder):
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _install(archive, root, url, progress):
    """Unpack to a temporary folder, verify and rename; delete an invalid archive."""
    folder = archive.parent / "unpacked"
    try:
        _unpack(archive, folder, progress)
        verify_root(folder, True, progress)
        folder.replace(root)
    except OSError as error:  # a fault of the disk, not of the archive
        raise DatasetError(
            f"cannot unpack {archive} ({error}): free some space or delete it, and run `make data`"
        ) from error
    except ARCHIVE_FAULTS as error:
        archive.unlink()
        raise DatasetError(
            f"the archive from {url} was damaged or not ESC-50 ({error}) and has been deleted: "
            f"run `make data` again, or {BY_HAND}"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_if_empty(archive.parent)


def _unpack(archive, folder, progress):
    """Extract the clips, the list and the licence, and no other member; paths in the archive are never used."""
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

"""Index recordings: each becomes rows of a store; the work is shared by the machine's cores, or by a cluster."""

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from itertools import islice
from pathlib import Path
from threading import RLock

import numpy as np
from tqdm.auto import tqdm

from esc50.audio.files import is_sound_name, walk_sounds
from esc50.audio.sound import open_sound
from esc50.config import AudioError, StoreError
from esc50.library.store import DELETED, DONE, SEAL_PARTS, UNREADABLE, Store, absolute
from esc50.library.vectors import Windows, embed_windows
from esc50.yamnet.runtime import THREADS_VARIABLE, n_threads

BATCH_FILES, BATCH_BYTES = 16, 64_000_000  # of a task, which is what a lost worker costs
TASKS_AT_ONCE, TASKS_PER_THREAD = 64, 4  # that the scheduler holds at least, however many recordings there are
CLUSTER = {
    "distributed.scheduler.no-workers-timeout": "1 minute",  # Dask does not replace one that dies while it starts
    "distributed.scheduler.allowed-failures": 1,  # a task that has cost more workers is at fault itself
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.preload": ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],  # Ctrl-C is for us
    "distributed.worker.profile.enabled": False,  # this and the next cost 5 % of a processor in each process
    "distributed.admin.tick.interval": "1s",
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,  # gives back what the next answer needs again,
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,  # which takes a quarter more time
}
ANSWER_SECONDS = 10  # within which a scheduler must answer, and give a result
NO_WORKERS = 'no worker process can be started: a script must call it under `if __name__ == "__main__":`'
LOST = "the scheduler was lost: start it again, and run the same command to resume"
ALONE = "no worker process is left: run the same command to resume"
CRASHED = "{} ended the process that decoded it: convert it, or leave it out"
LATEST = 253_402_300_799  # seconds of the last time that Python tells, in the year 9999
SURROGATES = re.compile("[\ud800-\udfff]")  # stand for bytes that are not UTF-8
BAR = "{percentage:3.0f}%|{bar}| {remaining} left{postfix}"


@dataclass
class IndexReport:
    """What was done to a store."""

    n_done: int = 0  # recordings indexed
    n_unchanged: int = 0  # since they were indexed
    n_still_unreadable: int = 0  # unchanged since they could not be read
    n_deleted: int = 0  # recordings gone from the disk
    n_windows: int = 0  # of those indexed
    unreadable: dict = field(default_factory=dict)  # recordings that could not be read this time: why
    seconds: float = 0.0  # of sound

    def add(self, result):
        """Count what `index_recording` gave."""
        self.n_done += result["state"] == DONE
        self.n_windows += result["windows"]
        self.seconds += result["seconds"]
        if result["state"] == UNREADABLE:
            self.unreadable[result["file"]] = result["reason"]


def index(
    folders: Sequence,
    store: str | os.PathLike,
    *,
    scheduler: str | None = None,
    processes: int | None = None,
    progress=False,
) -> IndexReport:
    """Bring all recordings under some folders into a store; after a stop, the same call goes on.

    Parameters
    ----------
    folders : sequence of path-like
        Searched with all folders inside them, but for hidden ones; a recording may be named too. Of a folder that is
        gone, the recordings in the store are marked as gone.
    store : path-like
        Made where there is none. More folders may be added in later calls.
    scheduler : str, optional
        Address of a Dask scheduler, ``tcp://HOST:8786``, whose workers find folders and store under the same paths.
    processes : int, optional
        Without a scheduler: one for each core by default.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    IndexReport
        What was done.

    Raises
    ------
    StoreError
        There is no recording, no scheduler, or no room; or the store is of another model, or cannot be written.
    """
    path = absolute(store)  # workers have other folders to begin with
    target = Store.open(path) if Store.exists(path) else None
    known = target.files().to_pylist() if target else []
    report = IndexReport()
    found = find_recordings(folders, [row["file"] for row in known], report.unreadable)
    for file in [file for file in found if SURROGATES.search(file)]:
        del found[file]
        report.unreadable[file] = f"{file!r} has a name that is not UTF-8: rename it"
    target = target or Store.create(path)
    todo, gone = compare(found, known, folders)
    gone = [row for row in gone if not any(Path(row["file"]).is_relative_to(top) for top in report.unreadable)]
    kept = found.keys() - {*todo}
    report.n_still_unreadable = sum(row["state"] == UNREADABLE for row in known if row["file"] in kept)
    report.n_unchanged = len(kept) - report.n_still_unreadable
    for row in gone:
        mark(target, DELETED, row | {"sha256": None})
        report.n_deleted += 1
    if todo:
        batches = list(make_batches({file: found[file][1] for file in todo}))
        with _open_client(scheduler, processes, len(batches)) as client:
            results = _run(client, target, batches)
            for result in _show_progress(results, found, todo, report, progress):
                report.add(result)
                if (report.n_done + len(report.unreadable)) % SEAL_PARTS == 0:
                    target.seal()
    target.seal()
    target.drop_replaced()
    target.drop_leftovers()
    return report


def find_recordings(folders, known=(), unreadable=None) -> dict[str, tuple[datetime, int]]:
    """Time and bytes of all recordings under some folders, by absolute path, in order.

    A folder may be gone or empty if `known`, the files of the store, has some under it. One that cannot be listed is
    added to `unreadable`, with the reason.
    """
    found, unreadable, is_known = {}, {} if unreadable is None else unreadable, False
    for folder in map(Path, folders):
        was_here = any(Path(file).is_relative_to(absolute(folder)) for file in known)
        if not folder.exists() and not was_here:
            raise StoreError(f"no such folder: {folder}; check its name (now in {Path.cwd()})")
        is_sound, is_known = is_sound_name(folder) and folder.is_file(), is_known or was_here
        paths = [folder] if is_sound else walk_sounds(folder, on_error=partial(_note_folder, unreadable))
        found |= {absolute(path): _time_and_size(path) for path in paths}
    if not (found or unreadable or is_known):
        raise StoreError(f"no recording under {', '.join(map(str, folders))}: name a folder with wav, flac, mp3 ...")
    return dict(sorted(found.items()))


def _note_folder(unreadable, error):
    if not isinstance(error, FileNotFoundError):  # a folder that is gone
        reason = f"{error.filename} cannot be listed ({error.strerror}): what the store has of it stays as it is"
        unreadable[absolute(error.filename)] = reason


def compare(found, known, folders):
    """Recordings that are new or have changed, and rows of the store whose recordings are gone from the folders."""
    present = [row for row in known if row["state"] != DELETED]
    facts_of = {row["file"]: (row["modified"], row["n_bytes"]) for row in present}
    tops = [Path(absolute(folder)) for folder in folders]
    missing = [row for row in present if row["file"] not in found]
    gone = [row for row in missing if any(Path(row["file"]).is_relative_to(top) for top in tops)]
    return [file for file, facts in found.items() if facts_of.get(file) != facts], gone


def make_batches(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Divide recordings, with their bytes, among tasks."""
    batch, n_bytes = [], 0
    for file, size in sizes.items():
        if batch and (len(batch) == BATCH_FILES or n_bytes + size > BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
        batch.append(file)
        n_bytes += size
    yield batch


def index_batch(store: str, files: Iterable[str]) -> list[dict]:
    """What a worker does: index some recordings, each by itself."""
    return [index_recording(_open_once(store), file) for file in files]


def index_recording(store: Store, file: str) -> dict:
    """Read one recording and write its rows, or why it cannot be read; return its state."""
    facts = {"file": file}
    try:
        facts |= _describe_file(file)
        with open_sound(file) as stream:
            n_windows = store.write_recording(file, _tables(embed_windows(store.classifier, stream), store, facts))
            return {"file": file, "state": DONE, "seconds": stream.facts.duration_seconds, "windows": n_windows}
    except StoreError:
        raise
    except Exception as error:  # whatever it is, it must not stop the rest
        reason = str(error) if isinstance(error, AudioError) else f"{file}: {type(error).__name__}: {error}"
        return mark(store, UNREADABLE, facts | {"reason": reason})


def mark(store, state, facts):
    """Write a single row without a window, which says in what state a recording is; return its state."""
    store.write_recording(facts["file"], [_columns(facts | {"state": state}, 1)])
    return {"file": facts["file"], "state": state, "reason": facts.get("reason"), "seconds": 0.0, "windows": 0}


@cache
def _open_once(store):
    tqdm.set_lock(RLock())  # its own has a semaphore, of which Python warns when the process is killed
    return Store.open(store)


def _describe_file(file):
    with Path(file).open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    modified, size = _time_and_size(Path(file))
    return {"modified": modified, "n_bytes": size, "sha256": digest}


def _time_and_size(path):
    stat = path.stat()
    return datetime.fromtimestamp(min(stat.st_mtime, LATEST), UTC), stat.st_size


def _tables(found, store, facts):
    """Columns of a recording's windows; a silent one has a row without."""
    facts, n_windows = facts | {"state": DONE}, 0
    try:
        for windows in found:
            n_windows += len(windows.vectors)
            yield _columns(facts, len(windows.vectors)) | _window_columns(windows, store.classifier.yamnet.class_names)
    except OSError as error:  # of the recording, not of the store
        raise AudioError(f"{facts['file']} cannot be read ({error.strerror or error}): check the disk") from error
    if not n_windows:
        yield _columns(facts | {"reason": "silent"}, 1)


def _columns(facts, n_rows):
    names = ("file", "state", "reason", "modified", "n_bytes", "sha256")
    return {name: [facts.get(name)] * n_rows for name in names}


def _window_columns(windows: Windows, audioset_classes):
    return {
        "start_seconds": windows.start_seconds,
        "end_seconds": windows.end_seconds,
        "vector": list(windows.vectors.astype(np.float16)),
        "probabilities": list(windows.probabilities.astype(np.float16)),
        "audioset_top": [[audioset_classes[label] for label in row] for row in windows.top],
    }


@contextmanager
def _open_client(scheduler, processes, n_batches):
    """A client of the scheduler, or of processes of its own, with as many threads as there are cores in all."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.comm import parse_address, parse_host_port
    from distributed.utils import silence_logging_cmgr

    if scheduler is not None:
        try:
            scheme, place = parse_address(scheduler)
            if scheme in ("tcp", "tls"):
                parse_host_port(place)  # which a client would only do in the background
            client = Client(scheduler, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            remedy = "start one with `dask scheduler`, and give the address that it shows, tcp://HOST:8786"
            raise StoreError(f"no Dask scheduler at {scheduler}: {remedy}") from error
        with silence_logging_cmgr(logging.CRITICAL), client:  # or a scheduler that is lost is told at length
            yield client
        return
    n_processes = min(processes or n_threads(), n_batches)
    workers = {"n_workers": n_processes, "threads_per_worker": 1, "memory_limit": None, "dashboard_address": None}
    pages = {"dashboard_address": "127.0.0.1:0"}  # without it, Dask warns where another call has port 8787
    env = {THREADS_VARIABLE: str(max(1, n_threads() // n_processes))}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(CLUSTER))
        try:
            cluster = LocalCluster(**workers, scheduler_kwargs=pages, env=env, silence_logs=logging.CRITICAL)
        except RuntimeError as error:
            raise StoreError(NO_WORKERS) from error
        yield stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))


def _run(client, store, batches):
    """Yield what became of each recording, as soon as it is known."""
    from distributed import CancelledError, KilledWorker, as_completed
    from distributed.scheduler import NoWorkerError

    waiting, files_of, completed = iter(batches), {}, as_completed(loop=client.loop)

    def submit(files):
        future = client.submit(index_batch, os.fspath(store.path), files, pure=False)
        files_of[future.key] = files
        completed.add(future)

    def submit_more():
        n_at_once = max(TASKS_AT_ONCE, TASKS_PER_THREAD * sum(client.nthreads().values()))  # workers come and go
        for files in islice(waiting, max(0, n_at_once - len(files_of))):
            submit(files)

    submit_more()
    for future in completed:
        files = files_of.pop(future.key)
        try:
            error = future.exception()
            results = None if error else future.result(timeout=ANSWER_SECONDS)
        except (TimeoutError, KilledWorker):  # it was lost with its worker
            submit(files)
            continue
        except CancelledError as error:
            raise StoreError(LOST) from error
        if isinstance(error, NoWorkerError):
            raise StoreError(ALONE) from error
        if results is not None:
            yield from results
        elif not isinstance(error, KilledWorker):
            raise error
        elif len(files) > 1:  # one of them is at fault
            for file in files:
                submit([file])
        else:
            yield mark(store, UNREADABLE, _describe_crashed(files[0]))
        submit_more()


def _describe_crashed(file):
    return {"file": file, "reason": CRASHED.format(file)} | _describe_file(file)


def _show_progress(results, found, todo, report, progress):
    """Pass results on; the bar counts bytes, by which the time left is told."""
    total = sum(found[file][1] for file in todo)
    with tqdm(total=total, bar_format=BAR, disable=not progress) as bar:
        for number, result in enumerate(results, start=1):
            yield result
            speed = report.seconds / max(1e-9, bar.format_dict["elapsed"])
            so_far = f"{number:,}/{len(todo):,} files, {report.seconds / 3600:.1f} h, {speed:,.0f}x real time"
            bar.set_postfix_str(so_far, refresh=False)
            bar.update(found[result["file"]][1])

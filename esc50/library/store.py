"""The store: a folder of Parquet files with a row for each window of each recording, on a disk or an object store."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property, partial
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from esc50.classifier.model_io import load_model
from esc50.classifier.predict import SoundClassifier
from esc50.config import StoreError
from esc50.library.find import Hit, combine, embed_example, find_class, merge_windows, search, sign_codes
from esc50.library.vectors import WindowSettings, load_projection

WORDS = ["file", "state", "reason", "sha256", "audioset_top.list.element"]  # columns that say the same again and again
FORM = {"compression": "zstd", "use_dictionary": WORDS, "write_statistics": False}
ANEW = "make another with `esc50 index FOLDER --store NEW`"
GROUP_ROWS = 2_000  # of a long recording are written at once: fewer take more room, more take more memory
VERSION = 1  # of the form of stores
SETTINGS_FILE = "_esc50.json"  # readers of Parquet pass over names that begin so
PARTS, SEALED = "part", "sealed"  # how names of files begin: of one recording, or of many
HALF_WRITTEN = tuple(f".{name}-" for name in (PARTS, SEALED, SETTINGS_FILE))
LEFTOVER_SECONDS = 86_400.0  # after which whoever was writing must have been killed
BLOCK_ROWS = 50_000  # of vectors are unpacked at once
SEAL_PARTS, SEAL_ROWS = 500, 50_000  # parts of single recordings that are joined at once, or their rows
N_CANDIDATES, WINDOWS_PER_HIT = 2_000, 50  # compared in full at least, and for each hit that is asked for
CLASS_ALONE = "which is looked for alone: leave out --also, --unlike, --from and --to, or give a recording"
DONE, UNREADABLE, DELETED = "done", "unreadable", "deleted"  # states of recordings
PLACE = {"file": object, "start_seconds": float, "end_seconds": float}  # columns that tell where a window is
STATE = ["file", "state", "reason", "modified", "n_bytes"]  # columns that tell whether a recording is to be read


class Store:
    """What ``esc50 index`` has made of recordings: see `open`.

    A recording's rows lie in a part of its own, which appears whole or not at all, under a name that follows from the
    recording's path: written twice, it is there once. From time to time such parts are joined, or "sealed". Where
    several hold rows of one recording, its own part counts, else what was sealed last.

    Attributes
    ----------
    settings : dict
        Version, model, class names, and how windows were made.
    """

    def __init__(self, path, settings, *, filesystem, folder, classifier=None):
        self.path, self.settings, self.filesystem, self.folder = path, settings, filesystem, folder
        self._given = classifier

    @classmethod
    def open(cls, path: str | os.PathLike, *, classifier: SoundClassifier | None = None) -> "Store":
        """Open a store to read.

        Parameters
        ----------
        path : str or path-like
            The folder, or the address of one in an object store that pyarrow knows: ``s3://…``, ``gs://…``.
        classifier : SoundClassifier, optional
            The model that made the store, where it is loaded already.

        Returns
        -------
        Store
            What is indexed from now on shows when it is opened anew.

        Raises
        ------
        StoreError
            There is none, or it is of another version or another model.
        """
        filesystem, folder = _locate(absolute(path))
        with _reading(path):
            try:
                with filesystem.open_input_stream(f"{folder}/{SETTINGS_FILE}") as file:
                    content = file.read()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise StoreError(f"no store in {path}: make one with `esc50 index FOLDER --store {path}`") from error
        try:
            settings = dict(json.loads(content))
            settings["version"], settings["model"]
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{path}/{SETTINGS_FILE} is damaged: {ANEW}") from error
        store = cls(path, settings, filesystem=filesystem, folder=folder, classifier=classifier)
        store._compare_model()
        return store

    @classmethod
    def create(cls, path: str | os.PathLike, *, classifier: SoundClassifier | None = None) -> "Store":
        """Open a store, or make it in a folder that is new or empty; otherwise as `open`."""
        if not cls.exists(path):
            filesystem, folder = _locate(absolute(path))
            _refuse_full(path, filesystem, folder)
            store = cls(path, {}, filesystem=filesystem, folder=folder, classifier=classifier)
            with store._write(SETTINGS_FILE) as file:
                file.write(json.dumps(describe_model(store.classifier.metadata), indent=1).encode())
        return cls.open(path, classifier=classifier)

    @staticmethod
    def exists(path: str | os.PathLike) -> bool:
        """Whether there is a store."""
        filesystem, folder = _locate(absolute(path))
        with _reading(path):
            return filesystem.get_file_info(f"{folder}/{SETTINGS_FILE}").type != fs.FileType.NotFound

    def find(
        self,
        query,
        *,
        start: float | None = None,
        end: float | None = None,
        positives: Sequence = (),
        negatives: Sequence = (),
        top: int = 20,
    ) -> list[Hit]:
        """Find the places that are most like a sound.

        Parameters
        ----------
        query : str, path-like, Hit, np.ndarray of shape (size,), or None
            A recording, also ``example:siren`` and the like; a place that was found; a vector as `vectors` gives them;
            or the name of a class, in any case and with spaces or hyphens, whose most probable places are found.
            None where `positives` say it all.
        start, end : float, optional
            Seconds of the recording between which the query is.
        positives, negatives : sequence
            Further examples and counter-examples, of the same kinds but for classes.
        top : int
            How many places.

        Returns
        -------
        list of Hit
            The most alike first. Overlapping windows of a recording that are at least half as similar are merged.

        Raises
        ------
        StoreError
            The store is empty or cannot be read, there is nothing to look for, or a class is looked for with examples.
        AudioError
            An example cannot be read.
        """
        places, vectors, probabilities = self._loaded
        if not len(places):
            raise StoreError(f"{self.path} holds no sound: fill it with `esc50 index FOLDER --store {self.path}`")
        n = max(N_CANDIDATES, WINDOWS_PER_HIT * top)
        if name := find_class(query, self.settings["class_names"]):
            if len(positives) or len(negatives) or start is not None or end is not None:
                raise StoreError(f"{query} is a class, {CLASS_ALONE}")
            values = probabilities[:, self.settings["class_names"].index(name)].astype(np.float32)
            rows = np.argsort(-values, kind="stable")[:n]
            return merge_windows(places[rows], values[rows], top=top)
        embed = partial(embed_example, self.classifier)
        examples = [*([] if query is None else [embed(query, start, end)]), *map(embed, positives)]
        rows, values = search(vectors, self._codes, combine(examples, [*map(embed, negatives)]), n=n)
        return merge_windows(places[rows], values, top=top)

    def rows(self) -> np.ndarray:
        """All windows, a structured array of ``file``, ``start`` and ``end`` (in seconds), shape (n,)."""
        return self._loaded[0]

    def vectors(self, numbers=slice(None)) -> np.ndarray:
        """Vectors of all windows in the order of `rows`, or of some, (n, size), float32, of unit length."""
        return self._loaded[1][numbers].astype(np.float32)

    def project(self, direction: np.ndarray) -> np.ndarray:
        """Inner products of all windows with a direction (size,), (n,), float32, in little memory."""
        vectors = self._loaded[1]
        parts = np.split(vectors, range(BLOCK_ROWS, len(vectors), BLOCK_ROWS))
        return np.concatenate([part.astype(np.float32) @ direction.astype(np.float32) for part in parts])

    def probabilities(self) -> np.ndarray:
        """Calibrated probabilities of the classes in `settings`, (n, n_classes), float16, in the order of `rows`."""
        return self._loaded[2]

    def files(self) -> pa.Table:
        """All recordings: ``file``, ``state`` (done, unreadable or deleted), ``reason``, ``modified``, ``n_bytes``."""
        table = self._read_all(STATE)
        first = dict(zip(reversed(table["file"].to_pylist()), reversed(range(len(table))), strict=True))
        return table.take(pa.array([first[file] for file in sorted(first)], pa.int64()))

    @cached_property
    def classifier(self) -> SoundClassifier:
        """The model that makes the vectors."""
        return self._given or SoundClassifier.load()

    def write_recording(self, file: str, batches) -> int:
        """Replace a recording's rows by those of some tables, whole or not at all; gives how many windows."""
        n_windows = 0
        with self._write(_part_name(file)) as sink, pq.ParquetWriter(sink, self._schema, **FORM) as writer:
            for table in _join_rows(map(self._as_table, batches)):
                writer.write_table(table)
                n_windows += len(table) - table["start_seconds"].null_count
        return n_windows

    def seal(self, *, at_least: int = SEAL_PARTS) -> None:
        """Join parts of single recordings, where there are so many."""
        names = [name for name in self._list() if name.startswith(PARTS)]
        with suppress(FileNotFoundError):  # another call is joining them
            while len(names) >= at_least:
                batch, n_rows = [], 0
                while names and len(batch) < SEAL_PARTS and n_rows < SEAL_ROWS:
                    batch.append(names.pop())
                    n_rows += self._read_part(batch[-1], ["file"]).num_rows
                table = pa.concat_tables(map(self._read_part, batch))
                self._write_table(f"{SEALED}-{time.time_ns():020d}-{uuid4().hex[:8]}.parquet", table)
                self._remove(batch)

    def drop_replaced(self) -> None:
        """Drop rows of which a recording's later part has others."""
        names = self._list()
        with suppress(FileNotFoundError):  # another call is dropping them
            for name, counts in zip(names, _find_counting(self._read_parts(names, ["file"])), strict=True):
                if not pc.all(counts).as_py():
                    self._write_table(name, self._read_part(name).filter(counts))

    def drop_leftovers(self) -> None:
        """Drop what killed writers left half-written, once it is a day old."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.folder))
        oldest = time.time() - LEFTOVER_SECONDS
        begun = (each for each in found if each.is_file and each.base_name.startswith(HALF_WRITTEN))
        self._remove(each.base_name for each in begun if each.mtime.timestamp() < oldest)

    @cached_property
    def _loaded(self):
        """Places, vectors and probabilities of all windows, read at one time so that they belong together."""
        table = self._read_all([*PLACE, "vector", "probabilities"])
        table = table.filter(pc.is_valid(table["start_seconds"]))
        places = np.empty(len(table), [(name.removesuffix("_seconds"), kind) for name, kind in PLACE.items()])
        for name, column in zip(places.dtype.names, PLACE, strict=True):
            places[name] = table[column].to_numpy()
        return places, _as_matrix(table["vector"]), _as_matrix(table["probabilities"])

    @cached_property
    def _codes(self):
        return sign_codes(self._loaded[1])

    def _as_table(self, columns):
        missing = [None] * len(columns["file"])
        return pa.table({name: columns.get(name, missing) for name in self._schema.names}, self._schema)

    @cached_property
    def _schema(self):
        half, name = pa.float16(), pa.dictionary(pa.int32(), pa.string())
        return pa.schema({
            "file": name,
            "start_seconds": pa.float64(),
            "end_seconds": pa.float64(),
            "vector": pa.list_(half, self.settings["vector_size"]),
            "probabilities": pa.list_(half, len(self.settings["class_names"])),
            "audioset_top": pa.list_(pa.string()),  # no dictionary: nested ones cannot be read of several row groups
            "state": name,
            "reason": name,
            "modified": pa.timestamp("us", "UTC"),
            "n_bytes": pa.int64(),
            "sha256": name,
        })  # fmt: skip

    def _compare_model(self):
        if (version := self.settings["version"]) != VERSION:
            raise StoreError(f"{self.path} is a store of version {version}, not {VERSION}: {ANEW}")
        expected = describe_model(self._given.metadata if self._given else load_model()[1])
        if self.settings["model"] != expected["model"]:
            raise StoreError(f"{self.path} was made with another model, whose vectors cannot be compared: {ANEW}")
        if self.settings != expected:
            raise StoreError(f"{self.path}/{SETTINGS_FILE} is damaged: {ANEW}")

    def _read_all(self, columns):
        """Columns of the rows that count."""
        columns = list(dict.fromkeys([*columns, "file"]))
        with _reading(self.path):
            try:
                tables = self._read_parts(self._list(), columns)
            except FileNotFoundError:  # it was sealed meanwhile
                tables = self._read_parts(self._list(), columns)
        tables = [table.filter(counts) for table, counts in zip(tables, _find_counting(tables), strict=True)]
        return pa.concat_tables([self._schema.empty_table().select(columns), *tables]).unify_dictionaries()

    def _read_parts(self, names, columns):
        return [self._read_part(name, columns) for name in names]

    def _read_part(self, name, columns=None):
        schema = pa.schema([self._schema.field(column) for column in columns]) if columns else self._schema
        with self.filesystem.open_input_file(f"{self.folder}/{name}") as file:
            try:
                return pq.ParquetFile(file).read(schema.names).select(schema.names).cast(schema)
            except (pa.ArrowException, OSError, KeyError) as error:
                raise StoreError(f"{self.path}/{name} is damaged: delete it and call `esc50 index` again") from error

    def _list(self):
        """Names of what holds rows; where several hold some of one recording, the last counts."""
        found = self.filesystem.get_file_info(fs.FileSelector(self.folder))
        names = (each.base_name for each in found if each.base_name.startswith((f"{PARTS}-", f"{SEALED}-")))
        return sorted(names, key=lambda name: (name.startswith(PARTS), name))

    def _write_table(self, name, table):
        with self._write(name) as sink:
            pq.write_table(table.unify_dictionaries(), sink, **FORM)

    @contextmanager
    def _write(self, name):
        """Open a file that appears under its name when all is well."""
        beside = f".{name}-{uuid4().hex[:8]}"
        try:
            self.filesystem.create_dir(self.folder)
            with self.filesystem.open_output_stream(f"{self.folder}/{beside}") as sink:
                yield sink
            self.filesystem.move(f"{self.folder}/{beside}", f"{self.folder}/{name}")
        except BaseException as error:
            self._remove([beside])
            if isinstance(error, OSError):
                fault = f"{self.path} cannot be written ({_reason(error)}): make room, or choose another place"
                raise StoreError(fault) from error
            raise

    def _remove(self, names):
        for name in names:
            with suppress(OSError):
                self.filesystem.delete_file(f"{self.folder}/{name}")


def describe_model(metadata):
    """What a store says of itself: its version, and what made its rows."""
    about = {key: value for key, value in metadata.items() if key != "rejection"}  # which may be set by the user
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    for array in load_projection():
        digest.update(array.tobytes())
    digest.update(repr(WindowSettings()).encode())
    return {
        "version": VERSION,
        "model": digest.hexdigest()[:16],
        "class_names": list(metadata["class_names"]),
        "vector_size": load_projection()[1].shape[1],
        "windows": asdict(WindowSettings()),
    }


def _part_name(file):
    return f"{PARTS}-{hashlib.sha256(file.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.parquet"


def absolute(path):
    """A path from the root on, where it is no address; links stay as they are."""
    path = os.fspath(path)
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100  (resolve follows links)


def _locate(path):
    """File system and folder in it."""
    try:
        with _reading(path):
            filesystem, folder = fs.FileSystem.from_uri(path) if "://" in path else (fs.LocalFileSystem(), path)
    except pa.ArrowInvalid as error:
        raise StoreError(f"{path} is no address of an object store: {_reason(error)}") from error
    return filesystem, folder


@contextmanager
def _reading(path):
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({_reason(error)}): check its address and permissions") from error


def _refuse_full(path, filesystem, folder):
    with _reading(path):
        found = filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    if any(not each.base_name.startswith(".") for each in found):
        raise StoreError(f"{path} holds other files and is no store: name a new or an empty folder")


def _join_rows(tables):
    """Larger tables of the same rows."""
    waiting, n_rows = [], 0
    for table in tables:
        waiting.append(table)
        n_rows += len(table)
        if n_rows >= GROUP_ROWS:
            yield pa.concat_tables(waiting).unify_dictionaries()
            waiting, n_rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting).unify_dictionaries()


def _find_counting(tables):
    """Of each part, which rows count: those of recordings that no later part holds."""
    columns = [table["file"].cast(pa.string()) for table in tables]
    files = [column.unique() for column in columns]
    last = {file: number for number, column in enumerate(files) for file in column.to_pylist()}
    for number, (column, held) in enumerate(zip(columns, files, strict=True)):
        counting = [file for file in held.to_pylist() if last[file] == number]
        yield pc.is_in(column, value_set=pa.array(counting, pa.string()))


def _as_matrix(column):
    """Rows of a column of vectors, (n, size), float16."""
    size = column.type.list_size
    return np.concatenate(
        [np.zeros((0, size), np.float16)] + [c.flatten().to_numpy().reshape(-1, size) for c in column.chunks]
    )


def _reason(error):
    return getattr(error, "strerror", None) or str(error).splitlines()[0]

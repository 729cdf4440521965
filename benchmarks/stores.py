"""Which store: build, disk, query and recall on a million vectors, and what is left of a write that is killed.

``python -m benchmarks.stores`` writes data/results/stores.csv, a row for each store as soon as it is measured. It needs
``pip install lancedb duckdb usearch`` beside the project. Seconds and milliseconds are of this machine; those of the
processor (``cpu``) say what the work costs where other programs run beside it, and ``load`` how many there were.
"""

import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from esc50.config import ALL_LAYERS, RESULTS_DIR
from esc50.dataset.feature_files import load_features
from esc50.experiments.results import write_csv
from esc50.experiments.retrieval import window_means
from esc50.library.find import N_CANDIDATES, search, sign_codes
from esc50.library.vectors import WindowSettings, normalise, project

FILE = RESULTS_DIR / "stores.csv"
N_VECTORS, N_QUERIES, N_FOUND, N_PARTS = 1_000_000, 100, 10, 20
PART = 50_000  # made at once
PART_ROWS = 5_000  # written at once by a process that is then killed
PARTITIONS, SUB_VECTORS, PROBES, REFINE = 1_000, 64, 20, 10  # of LanceDB


def make_vectors(n, *, seed=0):
    """Vectors as a store holds them, (n, size) float16, and queries: each a mixture of two windows of ESC-50."""
    means, _ = window_means(list(load_features("levelled")["activations"]), ALL_LAYERS, WindowSettings(1, 1))
    real, rng = project(means), np.random.default_rng(seed)
    every = np.empty((n + N_QUERIES, real.shape[1]), np.float16)
    for start in range(0, len(every), PART):
        part = every[start : start + PART]
        first, second = real[rng.integers(len(real), size=(2, len(part)))]
        share = rng.uniform(size=(len(part), 1)).astype(np.float32)
        part[:] = normalise(share * first + (1 - share) * second)
    return every[:n], every[n:].astype(np.float32)


class SignCodes:
    """Parquet, searched by the signs of the numbers and then in full: what the project does."""

    def build(self, folder, vectors):
        """Write the files."""
        write_parquet(folder, vectors)

    def open(self, folder):
        """Read them."""
        tables = [pq.read_table(path)["vector"] for path in sorted(folder.glob("*.parquet"))]
        chunks = [chunk for column in tables for chunk in column.chunks]
        self.vectors = np.concatenate([c.flatten().to_numpy().reshape(-1, c.type.list_size) for c in chunks])
        self.codes = sign_codes(self.vectors)

    def query(self, vector):
        """Rows of the nearest."""
        return search(self.vectors, self.codes, vector, n=N_CANDIDATES)[0][:N_FOUND]

    def count(self, folder):
        """Rows that are left."""
        return sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))

    def write_part(self, folder, number, vectors):
        """Add some rows."""
        write_parquet(folder, vectors, first=number)


class Usearch(SignCodes):
    """Parquet, and an index of usearch beside it (HNSW)."""

    def build(self, folder, vectors):
        """Write the files and the index."""
        from usearch.index import Index

        write_parquet(folder, vectors)
        index = Index(ndim=vectors.shape[1], metric="cos", dtype="f16")
        index.add(np.arange(len(vectors)), vectors, threads=os.cpu_count())
        index.save(folder / "index.usearch")

    def open(self, folder):
        """Map the index into memory."""
        from usearch.index import Index

        self.index = Index.restore(folder / "index.usearch", view=True)

    def query(self, vector):
        """Rows of the nearest."""
        return self.index.search(vector, N_FOUND).keys


class Database:
    """What adds rows to a table part by part."""

    def build(self, folder, vectors):
        """Write the table."""
        for number, part in enumerate(np.array_split(vectors, N_PARTS)):
            self.write_part(folder, number, part)


class Lance(Database):
    """LanceDB without an index."""

    def open(self, folder):
        """Open the table."""
        self.table = self._table(folder)

    def query(self, vector):
        """Rows of the nearest."""
        found = self.table.search(vector).metric("cosine").nprobes(PROBES).refine_factor(REFINE).limit(N_FOUND)
        return found.select(["row"]).to_arrow()["row"].to_numpy()

    def count(self, folder):
        """Rows that are left."""
        return self._table(folder).count_rows()

    def write_part(self, folder, number, vectors):
        """Add some rows."""
        import lancedb

        database, rows = lancedb.connect(folder), as_table(vectors, number * len(vectors))
        if "windows" in database.table_names():
            database.open_table("windows").add(rows)
        else:
            database.create_table("windows", rows)

    def _table(self, folder):
        import lancedb

        return lancedb.connect(folder).open_table("windows")


class LanceIndex(Lance):
    """LanceDB with an index IVF-PQ."""

    def build(self, folder, vectors):
        """Write the table and its index."""
        super().build(folder, vectors)
        size = {"num_partitions": PARTITIONS, "num_sub_vectors": SUB_VECTORS}
        self._table(folder).create_index(metric="cosine", vector_column_name="vector", **size)


class DuckDB(Database):
    """DuckDB, which compares with every row."""

    def open(self, folder):
        """Open it."""
        self.connection = self._connect(folder)

    def query(self, vector):
        """Rows of the nearest."""
        distance = f"array_cosine_distance(vector, ?::float[{len(vector)}])"
        query = f"select row from windows order by {distance} limit {N_FOUND}"
        return self.connection.execute(query, [vector.tolist()]).fetchnumpy()["row"]

    def count(self, folder):
        """Rows that are left."""
        return self._connect(folder).execute("select count(*) from windows").fetchone()[0]

    def write_part(self, folder, number, vectors):
        """Add some rows."""
        size = vectors.shape[1]
        with self._connect(folder) as connection:
            connection.execute(f"create table if not exists windows (row bigint, vector float[{size}])")
            rows = as_table(vectors.astype(np.float32), number * len(vectors))  # noqa: F841  (DuckDB finds it by name)
            connection.execute(f"insert into windows select row, vector::float[{size}] from rows")

    def _connect(self, folder):
        import duckdb

        return duckdb.connect(folder / "store.duckdb")


class DuckIndex(DuckDB):
    """DuckDB with the index of its extension vss (HNSW), which is experimental where it lies on a disk."""

    def build(self, folder, vectors):
        """Write the database and its index."""
        super().build(folder, vectors)
        with self._connect(folder) as connection:
            connection.execute("create index by_vector on windows using hnsw (vector) with (metric = 'cosine')")

    def _connect(self, folder):
        connection = super()._connect(folder)
        connection.install_extension("vss")
        connection.load_extension("vss")
        connection.execute("set hnsw_enable_experimental_persistence = true")
        return connection


STORES = {
    "Parquet, signs then exact": SignCodes,
    "Parquet and usearch": Usearch,
    "LanceDB, IVF-PQ": LanceIndex,
    "LanceDB, no index": Lance,
    "DuckDB, no index": DuckDB,
    "DuckDB, HNSW": DuckIndex,
}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--vectors", "n_vectors", default=N_VECTORS)
@click.option("--output", type=click.Path(path_type=Path), default=FILE)
def main(names, n_vectors, output):
    """Measure stores, all by default, and write the table."""
    vectors, queries = make_vectors(n_vectors)
    exact = find_exactly(vectors, queries)
    table = pd.read_csv(output) if output.exists() else pd.DataFrame(columns=["store", "vectors"])
    for name in names or STORES:
        row = {"store": name, "vectors": n_vectors, **measure(STORES[name](), vectors, queries, exact)}
        is_old = (table["store"] == name) & (table["vectors"] == n_vectors)
        table = pd.concat([table[~is_old], pd.DataFrame([row])], ignore_index=True)
        write_csv(table, output, float_format="%.4g")
    click.echo(table.to_string(index=False))


def measure(store, vectors, queries, exact):
    """What a store costs and gives."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build, build_cpu, _ = timed(store.build, folder, vectors)
        opening, *_ = timed(store.open, folder)
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        store.query(queries[0])
        times, recalls = [], []
        for query, nearest in zip(queries, exact, strict=True):
            *spent, found = timed(store.query, query)
            times.append(spent)
            recalls.append(len({*found.tolist()} & {*nearest.tolist()}) / N_FOUND)
    wall, cpu = 1000 * np.array(times).T
    killed = write_and_kill(type(store))
    return {
        "build_seconds": build,
        "build_cpu_seconds": build_cpu,
        "open_seconds": opening,
        "p50_ms": np.median(wall),
        "p99_ms": np.quantile(wall, 0.99),
        "cpu_ms": np.median(cpu),
        "load": os.getloadavg()[0],
        "recall_at_10": np.mean(recalls),
        "disk_mb": disk / 1e6,
        "after_kill": killed,
    }


def write_and_kill(kind):
    """Kill a process that adds part after part, and say what is left."""
    rng, context = np.random.default_rng(0), multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        writer = context.Process(target=keep_writing, args=(kind, name), daemon=True)
        writer.start()
        while not any(Path(name).iterdir()):
            time.sleep(0.01)
        time.sleep(rng.uniform(3, 5))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        try:
            n_rows = kind().count(Path(name))
        except Exception as error:  # what kinds there are is what is asked
            return f"cannot be read: {type(error).__name__}"
    return "whole parts" if n_rows % PART_ROWS == 0 else f"{n_rows % PART_ROWS} rows of a part"


def keep_writing(kind, folder):
    """Add part after part."""
    vectors = np.zeros((PART_ROWS, 256), np.float16)
    for number in range(1_000_000):
        kind().write_part(Path(folder), number, vectors + np.float16(number % 7))


def find_exactly(vectors, queries):
    """Rows of the nearest of all, in any order, (n_queries, n_found)."""
    parts = [queries @ part.astype(np.float32).T for part in np.array_split(vectors, N_PARTS)]
    return np.argpartition(-np.concatenate(parts, axis=1), N_FOUND, axis=1)[:, :N_FOUND]


def write_parquet(folder, vectors, first=0):
    """Write files, each under its name when it is whole."""
    for number, part in enumerate(np.array_split(vectors, N_PARTS if len(vectors) > PART_ROWS else 1), start=first):
        beside = folder / f".{number}"
        pq.write_table(as_table(part, 0), beside, compression="zstd")
        beside.rename(folder / f"{number:08d}.parquet")


def as_table(vectors, first):
    """A table of row numbers and vectors."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    return pa.table({"row": np.arange(first, first + len(vectors)), "vector": column})


def timed(function, *arguments):
    """Seconds that passed, those of the processor, and the result."""
    start = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return time.perf_counter() - start[0], time.process_time() - start[1], result


if __name__ == "__main__":
    main()

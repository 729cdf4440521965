"""The store by itself: whole or not at all, each recording once, readable by others, refused where it does not fit."""

import errno
import hashlib
import json
import os
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import pytest

from esc50.config import StoreError
from esc50.library import store as module
from esc50.library.index import index, mark
from esc50.library.store import SETTINGS_FILE, UNREADABLE, Store


def note(store, file, reason):
    mark(store, UNREADABLE, {"file": file, "reason": reason})


def reasons(path):
    return {row["file"]: row["reason"] for row in Store.open(path).files().to_pylist()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store"


def test_a_recording_that_is_written_twice_is_there_once(path):
    store = Store.create(path)
    note(store, "a.wav", "first")
    note(store, "a.wav", "second")
    assert reasons(path) == {"a.wav": "second"}


def test_sealing_keeps_what_counts_and_drops_the_rest(path):
    store = Store.create(path)
    for name in "abc":
        note(store, name, "first")
    store.seal(at_least=3)
    note(store, "b", "second")
    assert reasons(path) == {"a": "first", "b": "second", "c": "first"}
    assert len(pd.read_parquet(path)) == 4
    store.drop_replaced()
    parts = pd.read_parquet(path)  # as others read it
    assert sorted(zip(parts["file"], parts["reason"], strict=True)) == [("a", "first"), ("b", "second"), ("c", "first")]


@pytest.mark.parametrize("group_rows", [2, 3, 9])
def test_a_recording_that_was_written_in_pieces_is_sealed_whole(path, group_rows, monkeypatch):
    monkeypatch.setattr(module, "GROUP_ROWS", group_rows)
    store, zeros = Store.create(path), np.zeros
    size, n_classes = store.settings["vector_size"], len(store.settings["class_names"])
    for name in "ab":
        pieces = [
            {
                "file": [name] * 2,
                "start_seconds": [start, start + 1.0],
                "end_seconds": [start + 2.0, start + 3.0],
                "vector": list(zeros((2, size), np.float16)),
                "probabilities": list(zeros((2, n_classes), np.float16)),
                "audioset_top": [[label], [label, "Silence"]],
            }
            for start, label in ((0.0, "Siren"), (10.0, "Rain"))
        ]
        assert store.write_recording(name, pieces) == 4
    store.seal(at_least=2)
    assert Store.open(path).vectors().shape == (8, size)
    tops = pd.read_parquet(path).sort_values(["file", "start_seconds"])["audioset_top"]
    assert [list(each) for each in tops[:4]] == [["Siren"], ["Siren", "Silence"], ["Rain"], ["Rain", "Silence"]]


def test_parts_that_were_sealed_and_not_yet_removed_count_once(path, monkeypatch):
    store = Store.create(path)
    for name in "abc":
        note(store, name, "why")
    monkeypatch.setattr(Store, "_remove", lambda *_: None)  # as if it ended here
    store.seal(at_least=3)
    assert len(Store.open(path)._read_all(["file"])) == 3


def test_a_write_that_fails_leaves_the_old_rows_and_no_file(path, monkeypatch):
    store = Store.create(path)
    note(store, "a.wav", "first")
    before = sorted(path.iterdir())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.pq.ParquetWriter, "write_table", full)
    with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\): make room"):
        note(store, "a.wav", "second")
    assert sorted(path.iterdir()) == before
    assert reasons(path) == {"a.wav": "first"}


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        Store.create(tmp_path / "file" / "store")


def test_a_folder_that_holds_other_files_is_refused(path):
    path.mkdir()
    (path / ".DS_Store").touch()
    Store.create(path)
    (path / SETTINGS_FILE).rename(path / "dog.wav")
    before = sorted(path.iterdir())
    with pytest.raises(StoreError, match="holds other files and is no store: name a new or an empty folder"):
        Store.create(path)
    assert sorted(path.iterdir()) == before


def test_what_killed_writers_left_is_dropped_after_a_day(path):
    store = Store.create(path)
    for name in (".part-0.parquet-1", ".sealed-0.parquet-1", f".{SETTINGS_FILE}-1", ".other"):
        for age in ("young", "old"):
            (path / f"{name}{age}").touch()
        os.utime(path / f"{name}old", (0, 0))
    before = {*path.iterdir()}
    store.drop_leftovers()
    assert {each.name for each in before - {*path.iterdir()}} == {
        ".part-0.parquet-1old",
        ".sealed-0.parquet-1old",
        f".{SETTINGS_FILE}-1old",
    }


@pytest.mark.parametrize("call", [Store.open, Store.create])
def test_an_object_store_that_cannot_be_reached_is_named(call, monkeypatch):
    def fail(_):
        raise OSError("When resolving region for bucket 'nope': no network\nmore")

    monkeypatch.setattr(module, "fs", SimpleNamespace(FileSystem=SimpleNamespace(from_uri=fail)))
    with pytest.raises(
        StoreError, match=r"s3://nope/x cannot be read \(When resolving .*: no network\): check its addr"
    ):
        call("s3://nope/x")


def test_no_store(path):
    with pytest.raises(StoreError, match=r"no store in .*: make one with `esc50 index FOLDER --store"):
        Store.open(path)
    assert not path.exists()


@pytest.mark.parametrize(("key", "value", "fault"), [("version", 0, "version 0, not"), ("model", "x", "another model")])
def test_a_store_of_another_version_or_model_says_which_command_makes_one_anew(path, key, value, fault):
    Store.create(path)
    settings = json.loads((path / SETTINGS_FILE).read_text())
    (path / SETTINGS_FILE).write_text(json.dumps(settings | {key: value}))
    with pytest.raises(StoreError, match=f"{fault}.*esc50 index FOLDER --store NEW"):
        Store.open(path)


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 1}', ""])
def test_damaged_settings_are_named(path, content):
    Store.create(path)
    (path / SETTINGS_FILE).write_text(content)
    with pytest.raises(StoreError, match=f"{SETTINGS_FILE} is damaged: make another with `esc50 index FOLDER"):
        Store.open(path)


def test_settings_that_lack_something_are_named(path):
    Store.create(path)
    settings = json.loads((path / SETTINGS_FILE).read_text())
    for changed in (settings | {"vector_size": "a"}, {key: settings[key] for key in ("version", "model")}):
        (path / SETTINGS_FILE).write_text(json.dumps(changed))
        with pytest.raises(StoreError, match=f"{SETTINGS_FILE} is damaged: make another"):
            Store.open(path)


def test_parts_that_another_call_joins_meanwhile_are_left_to_it(path, monkeypatch):
    store = Store.create(path)
    for name in "abc":
        note(store, name, "why")
    names = store._list()
    monkeypatch.setattr(Store, "_list", lambda _: ["part-gone.parquet", *names])
    store.seal(at_least=2)
    store.drop_replaced()
    assert sorted(each.name for each in path.glob("*.parquet")) == sorted(names)


def test_a_damaged_part_is_named(path):
    note(Store.create(path), "a.wav", "why")
    [part] = path.glob("*.parquet")
    whole = part.read_bytes()
    for damaged in (whole[:-20], whole[:4] + bytes(len(whole) - 600) + whole[-596:]):
        part.write_bytes(damaged)
        with pytest.raises(StoreError, match=f"{part.name} is damaged: delete it"):
            Store.open(path).files()
    pd.DataFrame({"x": [1]}).to_parquet(part)  # of another program
    with pytest.raises(StoreError, match=f"{part.name} is damaged: delete it"):
        Store.open(path).files()


def test_other_parquet_files_in_the_folder_are_passed_over(path):
    note(Store.create(path), "a.wav", "why")
    pd.DataFrame({"x": [1]}).to_parquet(path / "export.parquet")
    assert Store.open(path).files()["file"].to_pylist() == ["a.wav"]


def test_rows_vectors_and_probabilities_belong_together(filled):
    store = Store.open(filled)
    rows, vectors, probabilities = store.rows(), store.vectors(), store.probabilities()
    assert len(rows) == len(vectors) == len(probabilities) > 4
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    names = np.array(store.settings["class_names"])[probabilities.argmax(axis=1)]
    assert {*names[[file.endswith("bells.wav") for file in rows["file"]]]} == {"church_bells"}


@pytest.mark.parametrize("block_rows", [1, 2, 9_999])
def test_products_are_the_same_whatever_is_unpacked_at_once(filled, block_rows, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", block_rows)
    store = Store.open(filled)
    np.testing.assert_array_equal(store.vectors([3, 1]), store.vectors()[[3, 1]])
    np.testing.assert_allclose(store.project(store.vectors()[1]), store.vectors() @ store.vectors()[1], atol=1e-6)


def test_duckdb_reads_it(filled):
    query = f"select audioset_top[1], len(vector), sha256 from '{filled}/*.parquet' where file like '%/siren.wav'"
    rows = duckdb.sql(query).fetchall()
    assert {row[0] for row in rows} <= {"Siren", "Civil defense siren", "Emergency vehicle", "Vehicle"}
    digest = hashlib.sha256((filled.parent / "recordings/siren.wav").read_bytes()).hexdigest()
    assert {row[1:] for row in rows} == {(Store.open(filled).settings["vector_size"], digest)}


def test_two_writers_at_once_lose_nothing(folder, path, cluster):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(index, [folder], path, scheduler=cluster) for _ in range(2))
        assert first.result().n_done + second.result().n_done >= 4
    found = pd.read_parquet(path)
    assert not found.duplicated(["file", "start_seconds"]).any()
    assert found["file"].nunique() == 4

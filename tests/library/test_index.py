"""Indexing: new, changed, deleted and unreadable recordings; lost workers; one line where something is missing."""

import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from distributed import Client, LocalCluster, WorkerPlugin
from helpers import refuse_to_list

from esc50.apps.cli import cli
from esc50.audio import synthesis
from esc50.classifier.predict import SoundClassifier
from esc50.config import StoreError
from esc50.library import index as module
from esc50.library.index import CLUSTER, compare, find_recordings, index, make_batches
from esc50.library.store import Store
from esc50.library.vectors import WindowSettings, cut_windows

RATE = 16_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store"


def states(path):
    return {Path(row["file"]).name: row["state"] for row in Store.open(path).files().to_pylist()}


def assert_each_once(path, n_files):
    found = pd.read_parquet(path)
    assert found["file"].nunique() == n_files
    assert not found.duplicated(["file", "start_seconds"]).any()


def test_new_changed_deleted_and_unreadable_recordings(folder, path, cluster):
    (folder / "text.wav").write_text("not a sound\n" * 100)
    soundfile.write(folder / "silence.flac", np.zeros(RATE), RATE)
    first = index([folder], path, scheduler=cluster)
    assert (first.n_done, first.n_unchanged, list(first.unreadable)) == (5, 0, [str(folder / "text.wav")])
    assert "is not sound" in first.unreadable[str(folder / "text.wav")]

    rain, facts = (folder / "rain.wav").read_bytes(), (folder / "rain.wav").stat()
    (folder / "rain.wav").unlink()
    soundfile.write(folder / "bells.wav", synthesis.example("siren"), RATE)
    soundfile.write(folder / "new.wav", synthesis.example("rain"), RATE)
    second = index([folder], path, scheduler=cluster)
    assert (second.n_done, second.n_unchanged, second.n_deleted, second.unreadable) == (2, 3, 1, {})
    assert second.n_still_unreadable == 1
    expected = dict.fromkeys(["siren.wav", "other siren.wav", "bells.wav", "new.wav", "silence.flac"], "done")
    assert states(path) == expected | {"rain.wav": "deleted", "text.wav": "unreadable"}
    assert_each_once(path, 7)
    assert {Path(file).name for file in Store.open(path).rows()["file"]} == {*expected} - {"silence.flac"}

    third = index([folder], path, scheduler=cluster)
    assert (third.n_done, third.n_unchanged, third.n_deleted) == (0, 5, 0)

    (folder / "rain.wav").write_bytes(rain)
    os.utime(folder / "rain.wav", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    (folder / "text.wav").write_bytes(rain)
    fourth = index([folder], path, scheduler=cluster)
    assert (fourth.n_done, fourth.n_unchanged, fourth.n_still_unreadable) == (2, 5, 0)


def test_a_long_recording_has_windows_to_its_end_and_the_same_ones_as_its_parts(tmp_path, path, cluster):
    soundfile.write(tmp_path / "long.wav", np.tile(synthesis.example("siren"), 10), RATE)
    index([tmp_path], path, scheduler=cluster)
    rows, step = Store.open(path).rows(), WindowSettings().hop_frames * 0.48
    np.testing.assert_allclose(rows["start"][:-1], step * np.arange(len(rows) - 1), atol=1e-6)
    assert rows["end"].max() == pytest.approx(50.0)


@pytest.mark.parametrize("n_frames", [1, 4, 5, 6, 7, 8, 33])
def test_windows_cover_all_frames_however_they_come(n_frames):
    frames = np.arange(n_frames)[:, np.newaxis]
    whole = [(first, windows.tolist()) for first, windows in cut_windows([frames])]
    assert len({len(window) for _, windows in whole for window in windows}) == 1
    held = {int(frame) for _, windows in cut_windows(np.array_split(frames, 3)) for frame in np.ravel(windows)}
    together = [window.tolist() for _, windows in cut_windows(np.array_split(frames, 3)) for window in windows]
    assert together == [window for _, windows in whole for window in windows]
    assert held == {frame for _, windows in whole for window in windows for [frame] in window} == {*range(n_frames)}


def test_batches_hold_every_recording_once_and_not_too_much():
    sizes = {f"{number}.wav": 30_000_000 if number == 3 else 1 for number in range(40)} | {"long.wav": 1 << 40}
    batches = list(make_batches(sizes))
    assert [file for batch in batches for file in batch] == list(sizes)
    assert max(map(len, batches)) == module.BATCH_FILES
    assert ["long.wav"] in batches


def test_recordings_under_other_folders_are_not_gone():
    known = [{"file": f"/{name}/x.wav", "state": "done", "modified": 0, "n_bytes": 1} for name in ("here", "there")]
    assert compare({"/here/y.wav": (0, 1)}, known, ["/here"]) == (["/here/y.wav"], [known[0]])


def test_no_recording_and_no_folder(tmp_path, path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(StoreError, match="no recording under"):
        index([tmp_path], path)
    with pytest.raises(StoreError, match="no such folder"):
        index([tmp_path / "other"], path)
    assert not path.exists()


def test_a_renamed_folder_is_marked_as_gone_when_it_is_named_once_more(folder, path, cluster, monkeypatch):
    index([folder], path, scheduler=cluster)
    monkeypatch.chdir(new := folder.rename(folder.with_name("new")).parent)
    arguments = ["index", "recordings", "new", "--store", str(path), "--scheduler", cluster]
    assert CliRunner().invoke(cli, arguments).stdout.endswith("0 unchanged, 4 gone, 0 unreadable\n")
    assert {Path(file).parent for file in Store.open(path).rows()["file"]} == {new / "new"}
    assert index(["recordings"], path, scheduler=cluster).n_deleted == 0
    with pytest.raises(StoreError, match="no such folder: other"):
        index(["other"], path)


def test_a_folder_that_cannot_be_listed_is_named_and_nothing_in_it_is_gone(folder, path, cluster, monkeypatch):
    (inner := folder / "inner").mkdir()
    (folder / "rain.wav").rename(inner / "rain.wav")
    index([folder], path, scheduler=cluster)
    refuse_to_list(monkeypatch, inner)
    report = index([folder], path, scheduler=cluster)
    assert (report.n_deleted, report.n_unchanged) == (0, 3)
    assert report.unreadable == {
        str(inner): f"{inner} cannot be listed (Permission denied): what the store has of it stays as it is"
    }
    assert str(inner / "rain.wav") in {*Store.open(path).rows()["file"]}


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_to_folders_are_followed_once(folder, tmp_path):
    (folder / "round").symlink_to(folder)
    (other := tmp_path / "other").mkdir()
    (other / "new.wav").write_bytes(b"")
    (folder / "link").symlink_to(other)
    found = [str(Path(file).relative_to(folder)) for file in find_recordings([folder])]
    assert found == ["bells.wav", "link/new.wav", "other siren.wav", "rain.wav", "siren.wav"]


def test_when_all_recordings_of_a_folder_are_gone_they_are_marked(folder, path, cluster):
    index([folder], path, scheduler=cluster)
    for file in folder.iterdir():
        file.unlink()
    assert index([folder], path, scheduler=cluster).n_deleted == 4


def test_a_time_beyond_the_year_9999_is_the_last_of_it(folder, monkeypatch):
    monkeypatch.setattr(module, "LATEST", 1e9)
    assert {facts[0].year for facts in find_recordings([folder]).values()} == {2001}


def test_hidden_files_are_left_out_unless_they_are_named(folder):
    (folder / ".hid").mkdir()
    (folder / "sub" / ".hid" / "deep").mkdir(parents=True)
    for name in (".siren.wav", ".hid/a.wav", "sub/.hid/deep/b.wav", "sub/c.wav"):
        (folder / name).write_bytes((folder / "siren.wav").read_bytes())
    shown = ["bells.wav", "other siren.wav", "rain.wav", "siren.wav", "sub/c.wav"]
    assert [str(Path(file).relative_to(folder)) for file in find_recordings([folder])] == shown
    assert [*find_recordings([folder / ".hid", folder / ".siren.wav"])] == [
        str(folder / name) for name in (".hid/a.wav", ".siren.wav")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_does_not_stop_the_rest(folder, path, cluster):
    (folder / "rain.wav").rename(os.fsdecode(os.fsencode(folder) + b"/\xff.wav"))
    report = index([folder], path, scheduler=cluster)
    assert report.n_done == 3
    assert [*report.unreadable.values()] == [f"'{folder}/\\udcff.wav' has a name that is not UTF-8: rename it"]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1", "tcp://", "head node"])
def test_a_scheduler_that_is_not_there(address, folder, path, monkeypatch, capfd):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.5)
    with pytest.raises(StoreError, match=f"no Dask scheduler at {address}: start one with `dask scheduler`"):
        index([folder], path, scheduler=address)
    gc.collect()  # a client that was left half made would complain
    assert capfd.readouterr().err == ""


def test_the_command_says_what_was_done(folder, path, cluster):
    (folder / "text.wav").write_text("not a sound\n" * 100)
    arguments = ["index", str(folder), "--store", str(path), "--scheduler", cluster]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert result.stdout.startswith("4 recordings indexed (0.01 hours, ")
    assert result.stdout.endswith("0 unchanged, 0 gone, 1 unreadable\n")
    assert "text.wav is not sound" in result.stderr
    soundfile.write(folder / "rain.wav", np.zeros(RATE), RATE)
    again = CliRunner().invoke(cli, arguments)
    assert again.stdout.startswith("1 recording indexed (0.00 hours, 0 windows), 3 unchanged, ")
    assert again.stdout.endswith("0 gone, 0 unreadable, 1 still unreadable\n")
    assert again.exit_code == 0


def test_processes_of_ones_own_need_no_port_that_another_call_may_have(recwarn):
    with socket.socket() as other:
        with suppress(OSError):  # another program has it: as good
            other.bind(("127.0.0.1", 8787))
            other.listen()
        with module._open_client(None, 1, 1):
            assert not [each for each in recwarn if "8787" in str(each.message)]


def test_a_worker_takes_no_semaphore_of_which_python_warns_when_it_is_killed(folder, path):
    Store.create(path)
    program = (
        "from esc50.library.index import index_batch; from tqdm.std import TqdmDefaultWriteLock as Lock\n"
        f"print(index_batch({str(path)!r}, [{str(folder / 'siren.wav')!r}])[0]['state'], hasattr(Lock, 'mp_lock'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "done False\n"


class CrashingDecoder(WorkerPlugin):
    """Ends the process at one recording, as a fault in a library would."""

    def setup(self, worker):
        open_sound = module.open_sound

        def crash(file):
            if Path(file).name == "crash.wav":
                SoundClassifier.load().predict("example:rain")  # a process that ends as it starts is not replaced
                os.kill(os.getpid(), signal.SIGKILL)
            return open_sound(file)

        module.open_sound = crash


class LostOnce:
    """A client, its completed futures and its only future, whose first result was lost with its worker."""

    key, loop, n_lost, waiting = "task", None, 0, 0

    def submit(self, *_, **__):
        return self

    def nthreads(self):
        return {"worker": 1}

    def add(self, future):
        self.waiting += 1

    def __iter__(self):
        while self.waiting:
            self.waiting -= 1
            yield self

    def exception(self):
        return None

    def result(self, timeout):
        self.n_lost += 1
        if self.n_lost == 1:
            raise TimeoutError
        return ["done"]


def test_a_result_that_was_lost_with_its_worker_is_made_again(monkeypatch, path):
    client = LostOnce()
    monkeypatch.setattr("distributed.as_completed", lambda loop: client)
    assert [*module._run(client, Store.create(path), [["a.wav"]])] == ["done"]
    assert client.n_lost == 2


@pytest.mark.slow
def test_it_does_not_wait_for_ever_where_no_worker_is_left(folder, path):
    how = {"n_workers": 0, "dashboard_address": None, "silence_logs": 50}
    with (
        dask.config.set({**CLUSTER, "distributed.scheduler.no-workers-timeout": "0.5s"}),
        LocalCluster(**how) as cluster,
        pytest.raises(StoreError, match="no worker process is left: run the same command"),
    ):
        index([folder], path, scheduler=cluster.scheduler_address)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="ends processes by signals")
def test_a_killed_worker_and_a_recording_that_crashes_the_decoder_lose_nothing(folder, path):
    sound = (folder / "siren.wav").read_bytes()
    for number in range(20):
        (folder / f"{number}.wav").write_bytes(sound)
    (folder / "crash.wav").write_bytes(sound)
    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.scheduler.worker-saturation": 1.0}
    how = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with dask.config.set(settings), LocalCluster(**how) as cluster, Client(cluster) as client:
        client.register_plugin(CrashingDecoder())
        victim, killed = next(iter(client.run(os.getpid).values())), threading.Event()

        def kill():
            while len([*path.glob("*.parquet")]) < 5:
                time.sleep(0.05)
            os.kill(victim, signal.SIGKILL)
            killed.set()

        threading.Thread(target=kill, daemon=True).start()
        report = index([folder], path, scheduler=cluster.scheduler_address)
        assert killed.is_set()
    assert report.n_done == 24
    assert list(report.unreadable) == [str(folder / "crash.wav")]
    assert "ended the process that decoded it" in report.unreadable[str(folder / "crash.wav")]
    assert_each_once(path, 25)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="ends processes by signals")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_a_call_that_was_stopped_goes_on(folder, path, name):
    number = getattr(signal, name)
    if signal.getsignal(number) is signal.SIG_IGN:  # as a shell's background jobs have it, and their children
        pytest.skip(f"{name} is ignored here")
    sound = (folder / "siren.wav").read_bytes()
    for copy in range(60):
        (folder / f"{copy}.wav").write_bytes(sound)
    command = [sys.executable, "-m", "esc50", "index", str(folder), "--store", str(path)]
    with subprocess.Popen(
        [*command, "--processes", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while process.poll() is None and len([*path.glob("*.parquet")]) < 8:
            time.sleep(0.05)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: the workers get it too
        else:
            process.kill()
        errors = process.communicate()[1].splitlines()
    if number == signal.SIGINT:
        assert errors[-2:] == ["Stopped by SIGINT.", "Run the same command again to resume."]
    n_before = len(Store.open(path).files())
    assert 8 <= n_before < 64
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    n_done, n_unchanged = map(int, re.match(r"(\d+) recordings? indexed .*, (\d+) unchanged", done.stdout).groups())
    assert n_done + n_unchanged == 64 and n_unchanged >= n_before
    assert_each_once(path, 64)

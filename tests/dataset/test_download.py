"""Download ESC-50 from a local server that works, fails, is slow or does not respond."""

import http.server
import io
import threading
import zipfile
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from esc50 import dataset
from esc50.apps.cli import cli
from esc50.config import DatasetError
from esc50.dataset import clips as clips_module
from esc50.dataset import download

TOP = "ESC-50-master/"
QUICK = {"retries": 0, "timeout_seconds": 5.0, "progress": False}


def wav(seconds):
    """Silence at 1 kHz, 8 bits: small, but a clip like any other to the checks."""
    sink = io.BytesIO()
    soundfile.write(sink, np.zeros(round(1000 * seconds)), 1000, format="WAV", subtype="PCM_U8")
    return sink.getvalue()


def archive(members):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for name, content in members.items():
            out.writestr(name, content)
    return sink.getvalue()


@pytest.fixture(scope="module")
def members(clips):
    """What the official archive holds, and a little that it must never write."""
    clip = wav(5)
    return {
        f"{TOP}README.md": b"not kept",
        f"{TOP}LICENSE": b"CC BY-NC 3.0",
        f"{TOP}meta/esc50.csv": clips_module.CLIP_LIST.read_bytes(),
        **{f"{TOP}audio/{name}": clip for name in clips["filename"]},
        f"{TOP}audio/../../../evil.txt": b"outside",
        "../evil.txt": b"outside",
        "/evil.txt": b"outside",
    }


@pytest.fixture(scope="module")
def good_archive(members):
    return archive(members)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by ``server.plan``: one (behaviour, content) for each request, the last for all further ones."""

    def do_GET(self):
        plan = self.server.plan
        behaviour, content = plan.pop(0) if len(plan) > 1 else plan[0]
        self.server.requests += 1
        if isinstance(behaviour, int):
            return self.send_error(behaviour)
        if behaviour == "slow":
            return self.server.released.wait(10)
        self.send_response(200)
        if behaviour != "no length":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if behaviour in ("cut", "no length") else content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.requests, running.released = 0, threading.Event()
    running.url = f"http://127.0.0.1:{running.server_port}/archive/master.zip"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.released.set()
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def place(tmp_path, server):
    """A destination with a user's file in it, and functions to inspect it."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")

    def fetch(plan, **changes):
        server.plan = list(plan)
        return dataset.fetch_dataset(folder, **{"url": server.url, **QUICK, **changes})

    def names():
        assert (folder / "notes.txt").read_text() == "mine"
        assert not list(tmp_path.rglob("evil.txt"))
        return {path.name for path in folder.iterdir()} - {"notes.txt"}

    return SimpleNamespace(folder=folder, fetch=fetch, names=names)


def files_under(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_good_archive_becomes_a_complete_data_set(place, server, good_archive, clips):
    root = place.fetch([("good", good_archive)])
    assert root == place.folder / "ESC-50"
    assert place.names() == {"ESC-50"}  # no archive, no working folder
    assert files_under(root) == {f"audio/{n}" for n in clips["filename"]} | {"meta/esc50.csv", "LICENSE"}
    assert dataset.find_dataset(place.folder) == root
    assert place.fetch([(500, b"")]) == root  # the second call only checks
    assert server.requests == 1


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (403, "403"),
        (404, "404"),
        (500, "500"),
        ("cut", "bytes"),
        ("slow", "[Tt]imed out"),
    ],
)
def test_a_failed_download_says_what_and_where_and_leaves_nothing(place, server, good_archive, behaviour, message):
    with pytest.raises(DatasetError, match=message) as caught:
        place.fetch([(behaviour, good_archive)], timeout_seconds=0.3 if behaviour == "slow" else 60)
    assert f"cannot download {server.url}" in str(caught.value)
    assert "run `make data` again" in str(caught.value)
    assert dataset.DATASET_VARIABLE in str(caught.value)
    assert "\n" not in str(caught.value)
    assert place.names() == set()


def test_no_server_at_all_and_the_litter_of_a_killed_call(place, server):
    litter = place.folder / download.WORK_FOLDER_NAME / "tmp0123"
    litter.parent.mkdir()
    litter.write_bytes(b"half an archive")
    with pytest.raises(DatasetError, match=r"cannot download http://127\.0\.0\.1:1/"):
        place.fetch([], url="http://127.0.0.1:1/master.zip")
    assert place.names() == set()


def test_a_download_is_tried_again(place, server, good_archive, monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    with pytest.raises(DatasetError, match="not a zip file"):  # the third answer was taken
        place.fetch([(503, b""), ("cut", good_archive), ("good", b"no archive")], retries=2)
    assert server.requests == 3


def with_damaged_clips(members, clips):
    damaged = {3: b"noise", 5: wav(4.9), 7: wav(5)[:2500], 9: b""}
    names = clips["filename"]
    return archive(members | {f"{TOP}audio/{names[row]}": content for row, content in damaged.items()})


BAD_ARCHIVES = {
    "not a zip": (lambda m, c: b"<html>rate limit</html>", "not a zip file"),
    "missing clips": (
        lambda m, c: archive(dict(islice(m.items(), 12))),
        r"1991 of 2000 clips are missing from .* \(1-103995-A-30\.wav, ",
    ),
    "damaged clips": (
        with_damaged_clips,
        r"4 clips in .* are damaged \(1-100210-B-36\.wav: Format not recognised.*; "
        r"1-101296-B-19\.wav: 4\.900 s, not 5\.0 s; 1-101404-A-34\.wav: 2\.456 s, not 5\.0 s\)",
    ),
    "altered list": (lambda m, c: archive({f"{TOP}meta/esc50.csv": b"filename,fold\n"}), "esc50.csv has MD5"),
    "no list": (lambda m, c: archive({f"{TOP}LICENSE": b""}), "no clip list"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_a_bad_archive_is_deleted_and_reported(place, server, members, clips, case):
    make, message = BAD_ARCHIVES[case]
    with pytest.raises(DatasetError, match=message) as caught:
        place.fetch([("good", make(members, clips))])
    assert f"the archive from {server.url} was damaged or not ESC-50" in str(caught.value)
    assert "has been deleted: run `make data` again" in str(caught.value)
    assert place.names() == set()


def test_a_flipped_byte_is_noticed_by_the_zip_checksum(place, good_archive):
    start = len(good_archive) // 20
    corrupted = good_archive[:start] + bytes(64) + good_archive[start + 64 :]
    with pytest.raises(DatasetError, match="was damaged or not ESC-50"):
        place.fetch([("good", corrupted)])
    assert place.names() == set()


def test_a_cut_that_the_server_does_not_admit_is_noticed(place, good_archive):
    with pytest.raises(DatasetError, match="not a zip file"):
        place.fetch([("no length", good_archive)])
    assert place.names() == set()


def test_a_known_hash_is_compared(place, good_archive):
    with pytest.raises(DatasetError, match="hash"):
        place.fetch([("good", good_archive)], known_hash=download.ARCHIVE_SHA256)
    assert place.names() == set()


def test_an_interrupted_call_keeps_the_archive_and_the_next_goes_on(place, server, good_archive, monkeypatch):
    def interrupt(source, sink):
        sink.write(b"half a clip")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download.shutil, "copyfileobj", interrupt)
        place.fetch([("good", good_archive)])
    work = place.folder / download.WORK_FOLDER_NAME
    (kept,) = files_under(work)
    assert kept.endswith("master.zip")
    (work / "unpacked" / "audio").mkdir(parents=True)  # as a killed call would leave it
    (work / "unpacked" / "audio" / "half-written.wav").write_bytes(b"RIFF")
    root = place.fetch([(500, b"")])  # no second download
    assert (place.names(), server.requests) == ({root.name}, 1)
    assert len(files_under(root / "audio")) == 2000


def test_a_full_disk_keeps_the_archive(place, good_archive, monkeypatch):
    def no_room(source, sink):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.shutil, "copyfileobj", no_room)
    with pytest.raises(DatasetError, match=r"cannot unpack .*No space left"):
        place.fetch([("good", good_archive)])
    (kept,) = files_under(place.folder / download.WORK_FOLDER_NAME)
    assert kept.endswith("master.zip")
    assert place.names() == {download.WORK_FOLDER_NAME}


@pytest.mark.parametrize("inner", ["ESC-50", "ESC-50/audio"])
def test_existing_user_files_are_not_deleted(place, server, inner):
    mine = place.folder / inner / "mine.wav"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"ESC-50.*move (it|that folder) away and run `make data`"):
        place.fetch([(500, b"")])
    assert mine.read_bytes() == b"mine"
    assert server.requests == 0


# --- the command


def test_the_command_reports_the_place_the_licence_and_the_citation(place, monkeypatch):
    monkeypatch.setattr(dataset, "fetch_dataset", lambda destination: destination / "ESC-50")
    result = CliRunner().invoke(cli, ["fetch", "--destination", str(place.folder)])
    assert result.exit_code == 0
    assert f"ESC-50 is complete in {place.folder / 'ESC-50'}" in result.stdout
    assert "CC BY-NC 3.0" in result.stdout
    assert "10.1145/2733373.2806390" in result.stdout


def test_the_command_fails_with_one_line_and_no_traceback(place):
    (place.folder / "ESC-50").mkdir()
    result = CliRunner().invoke(cli, ["fetch", "--destination", str(place.folder)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {place.folder / 'ESC-50'} exists but contains no audio/")
    assert len(result.stderr.splitlines()) == 1

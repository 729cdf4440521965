"""`esc50.config.atomic_write` and what refuses an output: files are replaced whole, streams are written to."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile

from esc50.classifier.formats import KEPT_ENDINGS, check_output
from esc50.config import OutputError, atomic_write, find_stream

posix = pytest.mark.skipif(os.name != "posix", reason="links, modes and pipes as Unix has them")


def write(path, text="new"):
    with atomic_write(path) as beside:
        beside.write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.sin(np.arange(16_000) / 10), 16_000)
    return path


def test_a_file_and_its_folder_are_made(tmp_path):
    write(tmp_path / "a" / "b" / "made.txt")
    assert names(tmp_path / "a" / "b") == ["made.txt"]
    assert (tmp_path / "a" / "b" / "made.txt").read_text() == "new"


def test_libraries_see_the_name(tmp_path):
    with atomic_write(tmp_path / "arrays.npz") as beside:
        assert beside.name == "arrays.npz"
        np.savez(beside, a=np.arange(3))
    assert names(tmp_path) == ["arrays.npz"]
    assert np.load(tmp_path / "arrays.npz")["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("old", [None, "old"])
def test_what_is_not_finished_leaves_nothing(tmp_path, error, old):
    path = tmp_path / "file.txt"
    if old:
        path.write_text(old)
    with pytest.raises(type(error)), atomic_write(path) as beside:
        beside.write_text("half")
        raise error
    assert names(tmp_path) == (["file.txt"] if old else [])
    assert not old or path.read_text() == old


@posix
def test_a_new_file_has_the_mode_that_others_have(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "new.txt")
        (tmp_path / "other.txt").touch()
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "new.txt") == mode_of(tmp_path / "other.txt") == 0o640


@posix
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o755])
def test_an_old_file_keeps_its_mode_and_nobody_else_reads_the_new_one_meanwhile(tmp_path, mode):
    path = tmp_path / "file.txt"
    path.write_text("old")
    path.chmod(mode)
    with atomic_write(path) as beside:
        assert (mode_of(beside), mode_of(beside.parent)) == (mode, 0o700)
        beside.write_text("new")
    assert (mode_of(path), path.read_text()) == (mode, "new")


@posix
@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, is_there):
    target = tmp_path / "elsewhere" / "target.csv"
    target.parent.mkdir()
    if is_there:
        target.write_text("old")
    (tmp_path / "link.csv").symlink_to("second.csv")
    (tmp_path / "second.csv").symlink_to(Path("elsewhere") / "target.csv")
    write(tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "second.csv").is_symlink()
    assert target.read_text() == "new"
    assert names(tmp_path) == ["elsewhere", "link.csv", "second.csv"]
    assert names(target.parent) == ["target.csv"]


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written_is_left_alone(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        write(path)
    assert (path.read_text(), names(tmp_path)) == ("old", ["file.txt"])


@posix
def test_a_device_is_written_to_and_stays_one():
    write("/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_reported():
    with pytest.raises(OSError, match="No space left"):
        write("/dev/full")


@posix
def test_a_pipe_gets_all_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(ValueError, match="half"), atomic_write(tmp_path / "pipe") as beside:
        beside.write_text("half")
        raise ValueError("half")
    write(tmp_path / "pipe")
    assert os.read(reader, 100) == b"new"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@posix
@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "link"])
def test_an_open_file_is_written_from_where_it_stands(tmp_path, name, monkeypatch):
    if name.startswith("/proc") and not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc here")
    monkeypatch.chdir(tmp_path)
    with Path("log").open("w") as file:
        file.write("first ")
        file.flush()
        Path("link").symlink_to(f"/dev/fd/{file.fileno()}")
        path = Path(name.format(file.fileno()))
        assert find_stream(path) == file.fileno()
        write(path)
        file.seek(0, os.SEEK_END)
        file.write(" last")
    assert Path("log").read_text() == "first new last"
    assert names(tmp_path) == ["link", "log"]


def test_a_plain_file_is_no_stream(tmp_path, sound):
    assert find_stream(sound) is None
    assert find_stream(tmp_path) is None
    assert find_stream(tmp_path / "new") is None


@posix
def test_a_link_to_itself_cannot_be_written(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        write(tmp_path / "loop")
    assert (tmp_path / "loop").is_symlink()


@pytest.mark.parametrize("ending", KEPT_ENDINGS)
def test_a_file_with_a_sound_suffix_is_not_overwritten(tmp_path, ending):
    for path in (tmp_path / f"damaged{ending}", tmp_path / f"UPPER{ending.upper()}"):
        check_output(path)  # a new file
        path.write_bytes(b"")
        with pytest.raises(OutputError, match="is a recording and would be overwritten: name another"):
            check_output(path)


@pytest.mark.parametrize("name", ["recording", "notes.txt", "answers.csv"])
@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_a_sound_with_another_suffix_is_not_overwritten(tmp_path, name, form):
    soundfile.write(tmp_path / name, np.sin(np.arange(16_000) / 10), 16_000, format=form)
    with pytest.raises(OutputError, match="is a recording"):
        check_output(tmp_path / name)


@posix
def test_nor_is_it_through_a_link(tmp_path, sound):
    (tmp_path / "soft.csv").symlink_to(sound)
    (tmp_path / "hard.csv").hardlink_to(sound)
    for name in ("soft.csv", "hard.csv"):
        with pytest.raises(OutputError, match=f"{name} is a recording"):
            check_output(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"siren.wav (0:05.0): This sounds like a siren (100 %).\n  siren              99.9 %\n",
        b"file,rank,class_name,probability,is_known\nsiren.wav,1,siren,0.9994,True\n",
        b'[\n{"file": "siren.wav", "verdict": "This sounds like a siren (100 %)."}\n]\n',
        b"0.000000\t5.000000\tsiren\n",
        bytes(range(256)) * 40,
    ],
)
def test_earlier_answers_are_replaced(tmp_path, content):
    for name in ("answers.csv", "answers"):
        (tmp_path / name).write_bytes(content)
        check_output(tmp_path / name)


def test_earlier_embeddings_are_replaced(tmp_path):
    rng = np.random.default_rng(2015)
    np.savez_compressed(tmp_path / "e.npz", embeddings=np.maximum(rng.normal(size=(500, 1024)), 0).astype(np.float32))
    check_output(tmp_path / "e.npz")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(OutputError, match="is a folder: name a file in it"):
        check_output(tmp_path)


def test_a_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_block_device", lambda _: True)
    with pytest.raises(OutputError, match="is a disk"):
        check_output(tmp_path / "sda")

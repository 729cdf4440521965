"""What commands write, and how they end: full disks, closed pipes, odd encodings, signals; run as people run them."""

import csv
import json
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers import at_a_terminal

from esc50.apps.cli import cli
from esc50.audio import synthesis
from esc50.config import PROJECT_DIR

if sys.platform != "linux":
    pytest.skip("needs /dev/full, /proc and bash", allow_module_level=True)

RATE = 16_000
COMMAND = (sys.executable, "-m", "esc50")
NOTE = "Running `esc50"
BYTES_NAME = os.fsdecode(b"b\xff.wav")
LONG_SECONDS = 600


def slowly(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


pytestmark = pytest.mark.usefixtures("default_signals", "folder")


@pytest.fixture
def default_signals():
    """Commands take the signals that they get also where these tests run in the background, with some ignored."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    ignored = [number for number in numbers if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="module")
def siren(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "siren.wav"
    soundfile.write(path, synthesis.example("siren"), RATE)
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "long.wav"
    siren = synthesis.example("siren")
    soundfile.write(path, np.tile(siren, LONG_SECONDS * RATE // len(siren)), RATE)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, siren):
    """The folder to work in, with a siren, a text and earlier answers; nothing else may be left in it."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "siren.wav").write_bytes(siren.read_bytes())
    (place / "text").write_text("not a sound\n")
    (place / "old.csv").write_text("old")
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT_DIR))
    return place


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The temporary folder and the caches of a process."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)  # which this process has set for itself
    for name in ("TMPDIR", "XDG_CACHE_HOME", "HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def call(*arguments):
    """In this process, with the classifier that is loaded."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def bash(script, **options):
    """In a process of its own; without the line that it is running."""
    script = f'esc50() {{ "{sys.executable}" -m esc50 "$@"; }}\n{script}'
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=60, **options)
    errors = [line for line in done.stderr.decode().splitlines() if NOTE not in line]
    return done.returncode, done.stdout.decode(), errors


def is_one_line(errors):
    return len(errors) == 1 and errors[0].startswith("Error: ")


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("command", [("predict",), ("predict", "--timeline"), ("embed",)])
@pytest.mark.parametrize("output", ["siren.wav", "hard", "soft", "copy", "text", "./siren.wav"])
def test_neither_an_input_nor_a_recording_is_overwritten(folder, command, output):
    (folder / "hard").hardlink_to("siren.wav")
    (folder / "soft").symlink_to("siren.wav")
    (folder / "copy").write_bytes((folder / "siren.wav").read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = call(*command, "--output", output, "siren.wav", "text")
    assert result.exit_code == 1
    assert is_one_line(result.stderr.splitlines())
    assert "overwritten: name another file for what is written, as in `--output answers.csv *.wav`" in result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_name_forgotten_before_the_sounds(folder):
    (folder / "a.wav").write_bytes((folder / "siren.wav").read_bytes())
    code, stdout, errors = bash("esc50 predict --output *.wav")
    assert (code, stdout) == (1, "")
    assert is_one_line(errors) and "a.wav is a recording" in errors[0]


@pytest.mark.parametrize("script", ["esc50 predict --output in - < in", "esc50 predict in >> in"])
def test_what_the_shell_opened_is_not_overwritten_either(folder, script):
    (folder / "in").write_bytes((folder / "siren.wav").read_bytes())
    code, _, errors = bash(script)
    assert code == 1 and is_one_line(errors) and "is one of the files to read" in errors[0]
    assert (folder / "in").read_bytes() == (folder / "siren.wav").read_bytes()


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("options", [("--format", "csv"), ("--format", "json"), ("--timeline",)])
def test_without_any_answer_an_old_file_stays(folder, options):
    assert call("predict", *options, "--output", "old.csv", "text", "gone.wav").exit_code == 1
    assert call("predict", *options, "--output", "new.csv", "text").exit_code == 1
    assert (folder / "old.csv").read_text() == "old"
    assert names(folder) == {"siren.wav", "text", "old.csv"}


@pytest.mark.usefixtures("loaded")
def test_an_old_file_is_replaced_with_its_mode_and_through_a_link(folder):
    (folder / "old.csv").chmod(0o640)
    (folder / "link.csv").symlink_to("old.csv")
    assert call("predict", "--format", "csv", "--output", "link.csv", "siren.wav").exit_code == 0
    assert (folder / "link.csv").is_symlink()
    assert stat.S_IMODE((folder / "old.csv").stat().st_mode) == 0o640
    assert next(csv.DictReader((folder / "old.csv").open()))["class_name"] == "siren"


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_answers_are_replaced_by_newer_ones(folder, form):
    for _ in range(2):
        assert call("predict", "--format", form, "--output", "answers", "siren.wav").exit_code == 0
    assert names(folder) == {"siren.wav", "text", "old.csv", "answers"}


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("command", ["predict", "embed"])
@pytest.mark.parametrize("output", ["gone/answers", "text/answers", "/proc/answers", "/dev/full", "loop", "."])
def test_a_place_that_cannot_be_written_ends_in_one_line(folder, command, output):
    (folder / "loop").symlink_to("loop")
    before = names(folder)
    result = call(command, "--output", output, "siren.wav")
    assert (result.exit_code, result.stdout) == (1, "")
    assert is_one_line(result.stderr.splitlines())
    assert "cannot be written (" in result.stderr or "is a folder" in result.stderr
    assert names(folder) == before


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_the_standard_output(monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    for script in ("predict siren.wav", "--help"):
        code, _, errors = bash(f"esc50 {script} > /dev/full")
        assert code == 1 and is_one_line(errors) and "No space left on device" in errors[0]


@pytest.mark.parametrize("command", ["predict --format json", "embed"])
def test_a_disk_that_fills_up_leaves_the_old_file(folder, command):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    code, _, errors = bash(f"esc50 {command} --output old.csv siren.wav siren.wav", preexec_fn=limit)
    assert code == 1 and is_one_line(errors) and "old.csv cannot be written (File too large)" in errors[0]
    assert (folder / "old.csv").read_text() == "old"
    assert names(folder) == {"siren.wav", "text", "old.csv"}


def test_a_reader_that_has_enough():
    sounds = 40 * "siren.wav "
    code, stdout, errors = bash(f"esc50 predict {sounds} | head -1; exit ${{PIPESTATUS[0]}}")
    assert (code, errors) == (1, []) and stdout.startswith("siren.wav")
    code, stdout, errors = bash(f"esc50 predict --output >(head -1) {sounds}")
    assert (code, errors) == (1, []) and len(stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("esc50 predict siren.wav >&-", "Error: the standard output is closed: give --output"),
        ("esc50 predict - <&-", "Error: standard input is closed: give the name of a file"),
        ("esc50 embed --output e.npz - <&-", "Error: standard input is closed: give the name of a file"),
    ],
)
def test_a_closed_stream(script, line):
    assert bash(script) == (1, "", [line])


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_answers_come_where_errors_cannot_be_told(closed):
    code, stdout, _ = bash(f"esc50 predict text siren.wav {closed}")
    assert code == 1 and stdout.startswith("siren.wav (0:05.0)")


def test_devices_pipes_and_the_standard_output_are_written_to(folder):
    script = """
    { echo head; esc50 predict --top 1 --output /dev/stdout siren.wav; echo tail; } > together
    esc50 predict --top 1 --output - siren.wav
    esc50 predict --top 1 --output /dev/null siren.wav
    mkfifo pipe; cat pipe & esc50 predict --top 1 --output pipe siren.wav; wait
    esc50 embed --output >(cat > e.npz) siren.wav; wait $!
    """
    code, stdout, errors = bash(script)
    assert (code, errors, stdout.count("siren.wav (0:05.0)")) == (0, [], 2)
    first, second, *_, last = (folder / "together").read_text().splitlines()
    assert (first, last) == ("head", "tail") and second.startswith("siren.wav")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode) and (folder / "pipe").is_fifo()
    assert np.load("e.npz")["embeddings"].shape == (10, 1024)


@pytest.mark.parametrize(
    "encoding", ["cp1252", *(pytest.param(e, marks=pytest.mark.slow) for e in ("ascii", "utf-16"))]
)
def test_an_output_that_lacks_bars_gets_other_ones(folder, encoding):
    (folder / "siren.wav").rename("h\xe9 漢.wav")
    with Path("out").open("wb") as out:
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        for options in ([], ["--timeline"], ["--format", "csv"]):
            subprocess.run([*COMMAND, "predict", *options, "h\xe9 漢.wav"], stdout=out, env=environment, check=True)
    text = Path("out").read_bytes().decode(encoding)
    if encoding == "utf-16":
        assert "████" in text and "h\xe9 漢.wav,1," in text
    else:
        assert "####" in text and " - " in text and r"\u6f22.wav,1," in text
        assert ("h\xe9" in text) == (encoding == "cp1252")


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
@pytest.mark.parametrize("name", ["h\xe9 漢 🐕.wav", BYTES_NAME], ids=ascii)
def test_json_means_the_same_in_every_encoding(folder, encoding, name):
    (folder / "siren.wav").rename(name)
    result = CliRunner(charset=encoding).invoke(cli, ["predict", "--format", "json", name])
    assert result.exit_code == 0
    assert json.loads(result.stdout_bytes.decode(encoding))[0]["file"] == name


@pytest.mark.parametrize("form", ["table", *slowly("csv", "json")])
def test_bytes_of_a_name_that_are_no_text_are_escaped(folder, form):
    (folder / "siren.wav").rename(BYTES_NAME)
    predict = f"esc50 predict --top 1 --format {form}"
    script = f"{predict} $'b\\xff.wav'; LC_ALL=C {predict} $'b\\xff.wav' $'gone\\xff.wav'"
    code, stdout, errors = bash(script)
    assert code == 1 and stdout.count("b\\udcff.wav") == 2
    assert is_one_line(errors) and "gone\\udcff.wav" in errors[0]
    assert bash(f"{predict} --output out $'b\\xff.wav'") == (0, "", [])
    assert "b\\udcff.wav" in Path("out").read_text(encoding="utf-8")


def test_help_can_be_written_in_every_encoding(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    code, stdout, errors = bash("esc50 predict --help")
    assert (code, errors) == (0, []) and "FILES\\u2026" in stdout


def test_nothing_is_left_in_the_temporary_folder_and_in_caches(elsewhere):
    assert bash("esc50 predict --timeline --output out - < siren.wav")[0] == 0
    assert [path for name in ("TMPDIR", "XDG_CACHE_HOME", "HOME") for path in (elsewhere / name).rglob("*")] == []


def stop(arguments, number, *, after, again=None, command=COMMAND, stdin=None):
    """Exit code of a command that gets a signal, and what it says."""
    streams = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *arguments], **streams) as program:
        wait_for(lambda: takes_signals(program.pid))  # before that, Python itself is starting
        if callable(after):
            wait_for(after)
        else:
            time.sleep(after)
        program.send_signal(number)
        if again is not None:
            time.sleep(again)
            program.send_signal(number)
        _, errors = program.communicate(timeout=30)
    return program.returncode, [line for line in errors.splitlines() if line and NOTE not in line]


def wait_for(condition):
    for _ in range(3_000):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError


def takes_signals(pid):
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


def assert_stopped(found, number):
    assert found == (128 + number, [f"Stopped by {signal.Signals(number).name}."])


@pytest.mark.parametrize("command", ["predict --timeline", *slowly("embed", "predict --format csv")])
@pytest.mark.parametrize("number", [signal.SIGINT, *slowly(signal.SIGTERM, signal.SIGHUP)])
def test_a_signal_ends_in_one_line_and_leaves_nothing(folder, elsewhere, long, command, number):
    sounds = 40 * ["siren.wav"] if "csv" in command else [str(long), str(long)]
    arguments = [*command.split(), "--output", "old.csv", *sounds]
    assert_stopped(stop(arguments, number, after=1.2), number)
    assert (folder / "old.csv").read_text() == "old"
    assert names(folder) == {"siren.wav", "text", "old.csv"}
    assert list((elsewhere / "TMPDIR").rglob("*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("after", np.linspace(0, 1.1, 6).round(2).tolist())
@pytest.mark.parametrize("again", [None, 0.02])
def test_a_signal_at_any_moment_of_the_loading(folder, elsewhere, long, after, again):
    assert_stopped(stop(["predict", "--output", "new", *(9 * [str(long)])], signal.SIGINT, after=after, again=again), 2)
    assert names(folder) == {"siren.wav", "text", "old.csv"}
    assert list((elsewhere / "TMPDIR").rglob("*")) == []


def test_a_signal_while_nobody_reads_the_pipe(folder):
    os.mkfifo("pipe")
    assert_stopped(stop(["predict", "--output", "pipe", "siren.wav"], signal.SIGTERM, after=1.2), signal.SIGTERM)


@pytest.mark.parametrize("command", [["predict"], *slowly(["embed", "--output", "new"])])
def test_a_signal_while_standard_input_is_awaited(folder, command):
    awaited, nothing = os.pipe()
    try:
        assert_stopped(stop([*command, "-"], signal.SIGINT, after=1.2, stdin=awaited), signal.SIGINT)
    finally:
        os.close(awaited)
        os.close(nothing)
    assert names(folder) == {"siren.wav", "text", "old.csv"}


class Endless(BaseHTTPRequestHandler):
    """Sends an archive that never ends."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(bytes(300_000))
                time.sleep(0.01)

    def log_message(self, *_):
        pass


FETCH = """
import sys
from esc50 import dataset
from esc50.apps.start import main

fetch = dataset.fetch_dataset
dataset.fetch_dataset = lambda destination: fetch(destination, url=sys.argv[1])
main(["fetch", "--destination", "raw"])
"""


def test_a_signal_during_a_download_leaves_nothing(folder, elsewhere):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-c", FETCH, f"http://127.0.0.1:{server.server_port}/archive.zip"]
    try:
        code, errors = stop([], signal.SIGTERM, after=lambda: files_in("raw"), command=command)
    finally:
        server.shutdown()
        server.server_close()
    assert code == 143 and "Stopped by SIGTERM." in "".join(errors) and "Traceback" not in "".join(errors)
    assert files_in("raw") == files_in(elsewhere / "TMPDIR") == []


def files_in(folder):
    return [path for path in Path(folder).rglob("*") if path.is_file()]


@pytest.mark.slow
def test_at_a_terminal_a_stop_ends_a_loop_of_the_shell(long):
    """For which the program must die of the signal, not exit with its number."""
    script = f"for i in 1 2 3; do {' '.join(COMMAND)} predict --timeline siren.wav {long}; echo round; done"
    shown = at_a_terminal(script, stop_at=b"siren.wav (0:05.0)")
    assert shown.count("Stopped by SIGINT.") == 1 and "round" not in shown

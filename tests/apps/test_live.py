"""`esc50 live`: from a pipe, a microphone and on a terminal."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers import at_a_terminal

from esc50.apps.cli import cli
from esc50.audio import ffmpeg, synthesis
from esc50.classifier.timeline import detect_events, event_record
from esc50.config import PROJECT_DIR

RATE = 16_000
COMMAND = (sys.executable, "-m", "esc50", "live", "-")
pytestmark = pytest.mark.usefixtures("loaded")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A file with a siren and rain, three seconds of silence before each."""
    path = tmp_path_factory.mktemp("live") / "scene.wav"
    pause = np.zeros(3 * RATE, np.float32)
    soundfile.write(path, np.concatenate([pause, synthesis.example("siren"), pause, synthesis.example("rain")]), RATE)
    return path


def live(*arguments, sound=b""):
    return CliRunner().invoke(cli, ["live", *arguments], input=sound)


def lines_of(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_json_lines_are_the_events_of_the_timeline(classifier, scene):
    before = datetime.now().astimezone()
    lines = lines_of(live("-", sound=scene.read_bytes()))
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert before.replace(microsecond=0) <= min(times) <= max(times) <= datetime.now().astimezone()
    events = [{key: line[key] for key in line if key not in ("event", "number", "time")} for line in lines]
    ends = [event for event, line in zip(events, lines, strict=True) if line["event"] == "end"]
    assert ends == [event_record(event) for event in detect_events(classifier, scene).events]
    begins = [line for line in lines if line["event"] == "begin"]
    assert [line["number"] for line in begins] == [1, 2] and "end_seconds" not in begins[0]


def test_some_classes_alone(scene):
    lines = lines_of(live("-", "--only", "Rain, sea waves,", sound=scene.read_bytes()))
    assert [(line["event"], line["class_name"]) for line in lines] == [("begin", "rain"), ("end", "rain")]
    refused = live("-", "--only", "rain,ghost")
    assert refused.exit_code == 2 and "no class named ghost: `esc50 classes` lists them" in refused.stderr
    assert "--only names no class: give one" in live("-", "--only", "").stderr
    lines = lines_of(live("-", "--only", "rain", "--only", "siren", sound=scene.read_bytes()))
    assert [line["class_name"] for line in lines if line["event"] == "end"] == ["siren", "rain"]


def test_a_file_is_for_predict():
    refused = live("dog.wav")
    assert refused.exit_code == 2 and "for a file: `esc50 predict --timeline dog.wav`" in refused.stderr


def test_raw_samples_need_their_rate(scene):
    samples, _ = soundfile.read(scene, dtype="int16")
    both = np.repeat(samples[:, np.newaxis], 2, axis=1).tobytes()
    lines = lines_of(live("-", "--rate", "16000", "--channels", "2", sound=both))
    assert [line["class_name"] for line in lines if line["event"] == "end"] == ["siren", "rain"]
    refused = live("-", sound=both)
    assert refused.exit_code == 1 and "give the --rate of raw 16-bit samples" in refused.stderr
    refused = live("-", "--channels", "2", sound=both)
    assert refused.exit_code == 2 and "--channels describes raw samples: give their --rate too" in refused.stderr
    refused = live("-", "--rate", "48000", sound=scene.read_bytes())
    assert refused.exit_code == 1 and "has a header, so it is not raw: leave out --rate" in refused.stderr
    for rate in ([], ["--rate", "16000"]):
        assert "no sound came from standard input" in live("-", *rate).stderr
    assert "add -" in live("--rate", "16000").stderr


def test_a_stream_may_change_its_format(scene):
    samples, rate = soundfile.read(scene)
    parts = [io.BytesIO(), io.BytesIO()]
    soundfile.write(parts[0], samples[: len(samples) // 2], rate, format="OGG", subtype="VORBIS")
    soundfile.write(parts[1], samples[len(samples) // 2 :], rate, format="OGG", subtype="OPUS")
    lines = lines_of(live("-", sound=b"".join(part.getvalue() for part in parts)))
    assert [line["class_name"] for line in lines if line["event"] == "end"] == ["siren", "rain"]


def test_a_stream_that_breaks_is_not_said_to_have_no_header(scene, monkeypatch):
    def broken(*_, **__):
        yield RATE, np.zeros((RATE, 1), np.int16)
        raise ffmpeg.FFmpegError(1, "Invalid data")

    monkeypatch.setattr(ffmpeg, "decode_pipe", broken)
    refused = live("-", sound=scene.read_bytes())
    assert refused.exit_code == 1 and "is damaged, or its format changes (Invalid data): start again" in refused.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals, terminals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_last_event(scene, number):
    if signal.getsignal(number) is signal.SIG_IGN:  # as a shell's background jobs have it, and their children
        pytest.skip(f"{signal.Signals(number).name} is ignored here")
    header = scene.read_bytes()[: 44 + 2 * 7 * RATE]  # in the middle of the siren; then silence in the pipe, and no end
    environment = os.environ | {"PYTHONPATH": str(PROJECT_DIR)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(COMMAND, **pipes, env=environment, restore_signals=True) as program:
        program.stdin.write(header)
        program.stdin.flush()
        begin = json.loads(program.stdout.readline())
        assert (begin["event"], begin["class_name"]) == ("begin", "siren")
        program.send_signal(number)
        end = json.loads(program.stdout.readline())
        assert (end["event"], end["number"], end["class_name"]) == ("end", begin["number"], "siren")
        assert end["end_seconds"] == pytest.approx(7, abs=0.2)
        assert program.wait(20) == 0
        assert "Traceback" not in program.stderr.read().decode()


@pytest.mark.skipif(os.name == "nt", reason="signals, terminals")
@pytest.mark.parametrize("columns", [80, 30])
def test_a_terminal_shows_lines_to_read_and_one_that_changes(scene, columns):
    script = f"{shlex.join(COMMAND)} < {scene} 2> /dev/null && echo the end"
    shown, _ = at_a_terminal(script, columns=columns).rsplit("the end", 1)
    assert "0:03.1 – 0:07.9      siren  " in shown
    changing = [line for line in shown.replace("\r", "\n").split("\n") if "–" not in line]
    assert max(map(len, changing)) < columns
    [sounding], [past] = ([line for line in changing if line.startswith(f"    {at}")] for at in ("0:06.0", "0:10.0"))
    assert sounding.rstrip().endswith("siren") and "siren" not in past
    assert "\x1b[3" not in shown  # no colours


class Microphone:
    """What `sounddevice` gives: samples in pieces, until it is unplugged."""

    PortAudioError = type("PortAudioError", (Exception,), {})
    samples, samplerate = None, RATE

    def InputStream(self, *, callback, finished_callback, channels, dtype, device):
        if self.samples is None:
            raise self.PortAudioError("Error querying device -1")
        assert (channels, dtype, device) == (1, "int16", "desk")
        self.callback, self.finished = callback, finished_callback
        return self

    def __enter__(self):
        for start in range(0, len(self.samples), 1_000):
            self.callback(self.samples[start : start + 1_000, np.newaxis], 1_000, None, None)
        self.finished()

    def __exit__(self, *_):
        pass


def test_a_microphone(scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", microphone := Microphone())
    refused = live()
    assert (
        refused.exit_code == 1
        and "no microphone can be opened (Error querying device -1): plug one in" in refused.stderr
    )
    microphone.samples, _ = soundfile.read(scene, dtype="int16")
    found = live("--device", "desk")
    assert [line["event"] for line in map(json.loads, found.stdout.splitlines())] == ["begin", "begin", "end", "end"]
    assert (found.exit_code, "plug it in and start again" in found.stderr) == (1, True)


def test_what_the_microphone_needs_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert "`esc50 live` needs sounddevice: pip install 'esc50[live]'" in live().stderr

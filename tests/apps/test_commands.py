"""The commands that hear sounds, and one of them in a process of its own."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from esc50.apps.cli import cli
from esc50.audio import synthesis
from esc50.audio.sound import load_sound
from esc50.classifier.predict import SoundClassifier
from esc50.yamnet.hub_module import load_yamnet

RATE = 16_000


@pytest.fixture
def files(tmp_path):
    """A siren, a text that is called .wav, and church bells."""
    soundfile.write(tmp_path / "siren.wav", synthesis.example("siren"), RATE)
    (tmp_path / "text.wav").write_text("not a sound\n" * 100)
    soundfile.write(tmp_path / "bells.flac", synthesis.example("church_bells"), RATE)
    return [str(tmp_path / name) for name in ("siren.wav", "text.wav", "bells.flac")]


def run(*arguments, **options):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], **options)


@pytest.mark.yamnet
@pytest.mark.usefixtures("loaded")
def test_a_bad_file_is_named_on_stderr_and_does_not_stop_the_rest(files):
    result = run("predict", "--format", "json", "--top", 2, *files)
    first, second, third = json.loads(result.stdout)
    assert result.exit_code == 1
    assert first["top"][0]["class_name"] == "siren"
    assert len(first["top"]) == len(third["top"]) == 2
    assert second == {"file": files[1], "error": result.stderr.removeprefix("Error: ").rstrip()}
    assert "text.wav is not sound" in result.stderr
    assert third["file"] == files[2]


@pytest.mark.yamnet
@pytest.mark.usefixtures("loaded")
def test_csv_into_a_file(files, tmp_path):
    result = run("predict", "--format", "csv", "--output", tmp_path / "answers.csv", files[0])
    assert (result.exit_code, result.output) == (0, "")
    rows = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert [row["rank"] for row in rows] == list("12345")
    assert rows[0]["class_name"] == "siren"


@pytest.mark.yamnet
@pytest.mark.usefixtures("loaded")
def test_a_table_shows_the_verdict(files):
    result = run("predict", files[0])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith(f"{files[0]} (0:05.0): This sounds like a siren")


@pytest.mark.yamnet
@pytest.mark.usefixtures("loaded")
def test_standard_input(files):
    result = run("predict", "--format", "json", "-", input=Path(files[0]).read_bytes())
    assert json.loads(result.stdout)[0]["top"][0]["class_name"] == "siren"
    assert result.exit_code == 0


@pytest.mark.yamnet
@pytest.mark.usefixtures("loaded")
def test_a_timeline_in_every_format(files):
    table = run("predict", "--timeline", files[0])
    assert table.exit_code == 0
    assert "1 event" in table.stdout and "siren" in table.stdout
    [row] = csv.DictReader(io.StringIO(run("predict", "--timeline", "--format", "csv", files[0]).stdout))
    [record] = json.loads(run("predict", "--timeline", "--format", "json", files[0]).stdout)
    start, end, label = run("predict", "--timeline", "--format", "audacity", files[0]).stdout.rstrip().split("\t")
    assert row["class_name"] == record["events"][0]["class_name"] == label == "siren"
    assert float(row["start_seconds"]) == record["events"][0]["start_seconds"] == float(start) == 0
    assert float(end) == record["events"][0]["end_seconds"] > 4
    assert run("predict", "--timeline", *files).exit_code == 1


@pytest.mark.yamnet
@pytest.mark.parametrize(
    ("options", "size"), [([], 5_984), (["--model", "layers"], 5_984), (["--model", "plain"], 1_024)]
)
@pytest.mark.parametrize("timeline", [[], ["--timeline"]])
def test_the_named_model_answers(files, monkeypatch, options, size, timeline):
    heard = []
    apply_head = SoundClassifier.apply_head
    monkeypatch.setattr(SoundClassifier, "apply_head", lambda self, v: heard.append(v.shape[1]) or apply_head(self, v))
    result = run("predict", *options, *timeline, files[0])
    assert result.exit_code == 0
    assert "siren" in result.stdout
    assert set(heard) == {size}


@pytest.mark.yamnet
def test_embeddings_with_their_times(files, tmp_path):
    result = run("embed", "--output", tmp_path / "e.npz", *files)
    assert (result.exit_code, result.stderr.count("Error")) == (1, 1)
    with np.load(tmp_path / "e.npz") as arrays:
        assert arrays["embeddings"].shape == (20, 1024)
        np.testing.assert_allclose(arrays["embeddings"][:10], load_yamnet().embed(load_sound(files[0]).waveform))
        assert arrays["filename"].tolist() == [files[0]] * 10 + [files[2]] * 10
        np.testing.assert_allclose(arrays["start_seconds"][:3], [0, 0.48, 0.96])


@pytest.mark.yamnet
def test_no_embeddings_no_file(files, tmp_path):
    assert run("embed", "--output", tmp_path / "e.npz", files[1]).exit_code == 1
    assert not (tmp_path / "e.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "Missing argument 'FILES…'"),
        (["predict", "--top", "0", "a.wav"], "0 is not in the range 1<=x<=50"),
        (["predict", "--format", "xml", "a.wav"], "'xml' is not one of"),
        (["predict", "--model", "best", "a.wav"], "'best' is not one of 'layers', 'plain'"),
        (["predict", "--format", "audacity", "a.wav"], "add --timeline"),
        (["predict", "--timeline", "--format", "audacity", "a.wav", "b.wav"], "give one file"),
        (["predict", "--timeline", "--top", "3", "a.wav"], "leave out --top or --timeline"),
        (["bench", "--clips", "0"], "0 is not in the range 1<=x<=2000"),
        (["select", "--layers", "--kernel"], "one at a time"),
        (["embed", "a.wav"], "Missing option '--output'"),
        (["predit"], "No such command 'predit'"),
    ],
)
def test_wrong_usage_ends_with_2(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.yamnet
@pytest.mark.usefixtures("loaded")
def test_a_place_that_cannot_be_written_is_named(files, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("predict", "--output", tmp_path / "file" / "answers", files[0])
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_help_shows_every_command_whole():
    text = run("--help").stdout
    assert "..." not in text.replace("COMMAND [ARGS]...", "")


@pytest.mark.parametrize("command", ["predict", "embed"])
def test_help_has_examples(command):
    text = run(command, "--help").stdout
    assert f"python -m esc50 {command}" in text
    assert "*.wav" in text


@pytest.mark.yamnet
def test_a_process_of_its_own_says_nothing_but_the_answer(files):
    command = [sys.executable, "-m", "esc50", "predict", "--format", "json", files[0], files[2]]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [record["top"][0]["class_name"] for record in json.loads(answer.stdout)] == ["siren", "church_bells"]

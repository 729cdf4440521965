"""The commands that answer to sounds, what a command says that cannot run, and processes of their own."""

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from threading import Event

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers import at_a_terminal, refuse_to_list

import esc50
from esc50.apps import commands
from esc50.apps.cli import cli
from esc50.audio import synthesis
from esc50.audio.sound import load_sound
from esc50.classifier.model_io import DEFAULT_MODEL, MODEL_REGISTRY
from esc50.classifier.predict import SoundClassifier
from esc50.reporting import notebooks
from esc50.yamnet.runtime import load_runtime

RATE = 16_000
COMMAND = (sys.executable, "-m", "esc50")


@pytest.fixture
def files(tmp_path):
    """A siren, a text that is called .wav, and church bells."""
    soundfile.write(tmp_path / "siren.wav", synthesis.example("siren"), RATE)
    (tmp_path / "text.wav").write_text("not a sound\n" * 100)
    soundfile.write(tmp_path / "bells.flac", synthesis.example("church_bells"), RATE)
    return [str(tmp_path / name) for name in ("siren.wav", "text.wav", "bells.flac")]


def run(*arguments, **options):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], **options)


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


@pytest.mark.usefixtures("loaded")
def test_csv_into_a_file(files, tmp_path):
    result = run("predict", "--format", "csv", "--output", tmp_path / "answers.csv", files[0])
    assert (result.exit_code, result.output) == (0, "")
    rows = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert [row["rank"] for row in rows] == list("12345")
    assert rows[0]["class_name"] == "siren"


@pytest.mark.usefixtures("loaded")
def test_a_folder_stands_for_the_sounds_in_it(files, tmp_path):
    (tmp_path / "deep").mkdir()
    Path(files[0]).rename(tmp_path / "deep" / "siren.WAV")
    (tmp_path / "notes.txt").write_text("no sound")
    (tmp_path / "._bells.flac").write_text("of a Mac")
    (tmp_path / "deep" / ".hidden").mkdir()
    (tmp_path / "deep" / ".hidden" / "a.wav").write_text("left out")
    result = run("predict", "--format", "json", tmp_path)
    names = [Path(record["file"]).name for record in json.loads(result.stdout)]
    assert names == ["bells.flac", "siren.WAV", "text.wav"]
    named = run("predict", "--format", "json", tmp_path / "deep" / ".hidden")
    assert [Path(record["file"]).name for record in json.loads(named.stdout)] == ["a.wav"]
    (tmp_path / "empty").mkdir()
    refused = run("predict", tmp_path / "empty")
    assert refused.exit_code == 1 and "empty is a folder: give a sound file" in refused.stderr
    both = run("predict", "example:siren", tmp_path / "empty")  # the rest is answered
    assert both.exit_code == 1 and "siren" in both.stdout and "is a folder" in both.stderr


@pytest.mark.usefixtures("loaded")
def test_a_folder_that_cannot_be_listed_is_an_error(files, tmp_path, monkeypatch):
    (tmp_path / "sounds" / "inner").mkdir(parents=True)
    Path(files[0]).rename(tmp_path / "sounds" / "siren.wav")
    refuse_to_list(monkeypatch, tmp_path / "sounds" / "inner")
    done = run("predict", tmp_path / "sounds")
    assert done.exit_code == 1 and "siren" in done.stdout
    assert done.stderr == f"Error: no permission to read {tmp_path / 'sounds' / 'inner'}: change its permissions\n"


def test_a_shell_completes_commands_and_files():
    for words, number, expected in (("esc50 pred", 1, "plain,predict"), ("esc50 predict so", 2, "file,so")):
        variables = {"_ESC50_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        assert CliRunner().invoke(cli, env=variables, prog_name="esc50").stdout.strip() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="needs a terminal")
def test_a_terminal_of_80_columns_gets_one_bar_and_no_longer_line(files, tmp_path):
    name = f"{'long name ' * 6}.wav"
    soundfile.write(tmp_path / name, np.concatenate([synthesis.example("siren"), synthesis.example("rain")] * 2), RATE)
    sounds = [path.name for path in tmp_path.glob("*.[wf]*")]
    for command in (["embed", "--output", "e.npz"], ["predict", "--timeline"], ["predict"]):
        shown = at_a_terminal(shlex.join([*COMMAND, *command, *sounds]), folder=tmp_path)
        rows = shown.replace("\r", "\n").split("\n")
        assert [row for row in rows if len(row) > 80 and not row.startswith("Error: ")] == []
        assert not re.search(r"\x1b\[\d*m", shown)  # no colours, whatever NO_COLOR says
        left = re.sub(r".*\r(?!\n)", "", shown)
        assert "%|" not in left
    assert "--timeline" in shown


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a terminal")
def test_index_is_at_work_until_its_bar_comes(files, tmp_path):
    pytest.importorskip("distributed")
    command = [*COMMAND, "index", files[0], "--store", "store", "--processes", "1"]
    shown = at_a_terminal(shlex.join(command), folder=tmp_path)
    assert -1 < shown.find("Running `esc50 index`") < shown.find("%|")


@pytest.mark.usefixtures("loaded")
def test_a_table_shows_the_verdict(files):
    result = run("predict", files[0])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith(f"{files[0]} (0:05.0): This sounds like a siren")


def test_the_share_of_known_sounds_that_is_kept_is_the_user_s(tmp_path):
    """Typing is known, but no more where only half of the known sounds are kept."""
    soundfile.write(typing := tmp_path / "typing.wav", synthesis.example("keyboard_typing"), RATE)
    for options, is_known in (([], True), (["--keep", "0.5"], False)):
        result = run("predict", "--format", "json", *options, typing)
        assert json.loads(result.stdout)[0]["is_known"] is is_known
    table = run("predict", "--keep", 0.5, typing).stdout.splitlines()
    assert "None of the 50 classes. YAMNet's best match is " in table[0]
    assert "% of known sounds" in table[1]
    assert table[2:4] == ["  If it had to be one of the 50:", table[3]] and table[3].startswith("  keyboard typing")
    refused = run("predict", "--keep", 95, typing)
    assert (refused.exit_code, refused.stderr) == (
        1,
        "Error: 95 of the known sounds cannot be kept: choose from 0.5 to 0.99\n",
    )


@pytest.mark.usefixtures("loaded")
def test_a_prediction_set_in_the_table_and_as_json(files):
    [record] = json.loads(run("predict", "--format", "json", files[0]).stdout)
    expected = {"coverage": 0.9, "class_names": ["siren"], "sentence": "A siren, at least 90 % sure."}
    assert record["prediction_set"] == expected
    assert run("predict", files[0]).stdout.splitlines()[1] == "  A siren, at least 90 % sure."


@pytest.mark.usefixtures("loaded")
def test_standard_input(files):
    result = run("predict", "--format", "json", "-", input=Path(files[0]).read_bytes())
    assert json.loads(result.stdout)[0]["top"][0]["class_name"] == "siren"
    assert result.exit_code == 0


@pytest.mark.usefixtures("loaded")
def test_a_timeline_in_every_format(files):
    table = run("predict", "--timeline", files[0])
    assert table.exit_code == 0
    assert "1 sound in 0:05: siren 0:00 to 0:05." in table.stdout
    [row] = csv.DictReader(io.StringIO(run("predict", "--timeline", "--format", "csv", files[0]).stdout))
    [record] = json.loads(run("predict", "--timeline", "--format", "json", files[0]).stdout)
    start, end, label = run("predict", "--timeline", "--format", "audacity", files[0]).stdout.rstrip().split("\t")
    assert row["class_name"] == record["events"][0]["class_name"] == label == "siren"
    assert float(row["start_seconds"]) == record["events"][0]["start_seconds"] == float(start) == 0
    assert float(end) == record["events"][0]["end_seconds"] > 4
    assert run("predict", "--timeline", *files).exit_code == 1


@pytest.mark.parametrize(
    ("options", "size"), [([], 6_505), (["--model", "layers"], 6_505), (["--model", "plain"], 1_024)]
)
@pytest.mark.parametrize("timeline", [[], ["--timeline"]])
def test_the_named_model_answers(files, monkeypatch, options, size, timeline):
    sizes = set()
    apply_head = SoundClassifier.apply_head
    monkeypatch.setattr(SoundClassifier, "apply_head", lambda self, v: sizes.add(v.shape[1]) or apply_head(self, v))
    result = run("predict", *options, *timeline, files[0])
    assert result.exit_code == 0
    assert "siren" in result.stdout
    assert sizes == {size}


def test_embeddings_with_their_times(files, tmp_path):
    result = run("embed", "--output", tmp_path / "e.npz", *files)
    assert (result.exit_code, result.stderr.count("Error")) == (1, 1)
    with np.load(tmp_path / "e.npz") as arrays:
        assert arrays["embeddings"].shape == (20, 1024)
        vectors = load_runtime().embed(load_sound(files[0]).waveform)
        np.testing.assert_allclose(arrays["embeddings"][:10], vectors[:, -1024:], atol=1e-5)
        assert arrays["filename"].tolist() == [files[0]] * 10 + [files[2]] * 10
        np.testing.assert_allclose(arrays["start_seconds"][:3], [0, 0.48, 0.96])


def test_no_embeddings_no_file(files, tmp_path):
    assert run("embed", "--output", tmp_path / "e.npz", files[1]).exit_code == 1
    assert not (tmp_path / "e.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict"], "Missing argument 'FILES…'"),
        (["predict", "--top", "0", "a.wav"], "0 is not in the range 1<=x<=50"),
        (["predict", "--format", "xml", "a.wav"], "'xml' is not one of"),
        (["predict", "--model", "best", "a.wav"], "'best' is not one of 'multilayer', 'plain'"),
        (["predict", "--format", "audacity", "a.wav"], "--format audacity needs --timeline"),
        (["predict", "--timeline", "--format", "audacity", "a.wav", "b.wav"], "give one file"),
        (["predict", "--timeline", "--top", "3", "a.wav"], "--top does not apply to timelines: drop one of the two"),
        (["nested-cv", "trees"], "'trees' is not one of 'heads', 'layers', 'kernel_ridge'"),
        (["export", "--format", "onyx"], "'onyx' is not one of 'onnx', 'tflite'"),
        (["embed", "a.wav"], "Missing option '--output'"),
        (["predit"], "No such command 'predit'"),
        (["train", "nothing"], "no experiments named nothing; there are "),
        (["features", "yamnet", "nothing"], "no features named nothing; there are "),
        (["run", "-p", "seed"], "Option '-p' requires 2 arguments"),
    ],
)
def test_wrong_usage_ends_with_2(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_the_models_are_those_of_the_classifier():
    assert tuple(MODEL_REGISTRY) == commands.MODELS and commands.MODELS[0] == DEFAULT_MODEL


def test_parameters_of_notebooks_may_be_numbers(monkeypatch):
    given = []
    monkeypatch.setattr(notebooks, "run_notebooks", lambda *_, parameters, **__: given.append(parameters) or [])
    assert run("run", "04", "-p", "seed", "3", "-p", "title", "of mine").exit_code == 0
    assert given == [{"seed": 3, "title": "of mine"}]


def test_help_shows_every_command_whole_and_what_needs_a_checkout_apart():
    use, study = run("--help").stdout.split("Use it:")[1].split("Study")
    assert "..." not in use + study
    assert [name for name in ("predict", "embed", "app", "train", "space") if f"\n  {name} " in use] == [
        "predict",
        "embed",
        "app",
    ]
    assert "\n  train " in study and "\n  nested-cv " in study and "\n  space " in study


@pytest.mark.parametrize("command", ["predict", "embed"])
def test_help_has_examples(command):
    text = run(command, "--help").stdout
    assert f"esc50 {command}" in text
    assert "*.wav" in text


@pytest.mark.parametrize("module", ["no_such_package", "esc50.no_such_module"])
@pytest.mark.parametrize("extra", [None, "app", "study"])
def test_a_missing_package_is_named_with_the_extra_that_installs_it(extra, module):
    @click.command(cls=commands.Esc50Command, extra=extra)
    def draw():
        import_module(module)

    result = CliRunner().invoke(draw)
    assert result.exit_code == 1
    if extra is None or module.startswith("esc50"):
        assert isinstance(result.exception, ModuleNotFoundError)
    else:
        assert result.stderr == f"Error: `esc50 draw` needs no_such_package: pip install 'esc50[{extra}]'\n"


def test_outside_a_checkout_the_study_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "META_DIR", tmp_path / "data" / "meta")
    for name in (name for name, command in cli.commands.items() if command.is_study):
        result = run(name)
        assert result.exit_code == 1
        assert f"`esc50 {name}` needs a checkout" in result.stderr and "pip install 'esc50[" in result.stderr
        assert result.stderr.count("\n") == 1
    assert run("train", "--help").exit_code == 0


def test_a_command_that_takes_long_says_that_it_is_running(monkeypatch):
    said = Event()
    monkeypatch.setattr(commands, "NOTICE_SECONDS", 0)
    monkeypatch.setattr(commands.click, "echo", lambda text, err: err and "`esc50 wait`" in text and said.set())

    @click.command(cls=commands.Esc50Command)
    def wait():
        assert said.wait(60)

    assert CliRunner().invoke(wait).exit_code == 0


HEAVY = "gradio keras librosa matplotlib pandas scipy sklearn tensorflow tensorflow_hub tf_keras"
ROOMS = "esc50.dataset esc50.experiments esc50.reporting"


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--format", "json"], ["predict", "--timeline"]])
def test_a_process_of_its_own_imports_only_the_runtime_and_says_only_the_answer(files, arguments):
    arguments = arguments if arguments == ["--help"] else [*arguments, files[0], files[2]]
    program = (
        "import atexit, sys; from esc50.apps.cli import main\n"
        f"heavy = {(HEAVY + ' ' + ROOMS).split()}\n"
        "atexit.register(lambda: print(*(set(heavy) & set(sys.modules)), file=sys.stderr))\n"
        f"main({arguments})"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = [line for line in answer.stderr.splitlines() if line and not line.startswith("Running `esc50")]
    assert (answer.returncode, said) == (0, [])
    assert ("siren" in answer.stdout and "church" in answer.stdout) or "Usage" in answer.stdout


def test_both_ways_to_start_are_one():
    for command in (COMMAND, [Path(sys.executable).with_name("esc50")]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.rstrip().endswith(f"version {esc50.__version__}")

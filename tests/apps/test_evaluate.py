"""The commands that measure the classifier on labelled recordings, and list its classes."""

import csv
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import soundfile
from click.testing import CliRunner
from helpers import whistle

from esc50.apps import commands
from esc50.apps.cli import cli
from esc50.audio import synthesis
from esc50.classifier import teaching
from esc50.classifier.model_io import load_model
from esc50.classifier.teaching import Recording
from esc50.experiments import run_cache

RATE = 16_000
LABELS = {
    "keyboard_typing.wav": "keyboard_typing,one",
    "church_bells.flac": "Church Bells,one",
    "rain.ogg": "dog,two",  # is wrong
    "tone.mp3": "none,two",
}

pytestmark = pytest.mark.usefixtures("loaded")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(run_cache, "CACHE_DIR", tmp_path / "cache")
    monkeypatch.setattr(commands, "NOTICE_SECONDS", 600)


@pytest.fixture
def labels(tmp_path):
    """A table of three sounds of some class, one of them labelled wrongly, and one of none."""
    for name in LABELS:
        stem = name.partition(".")[0]
        soundfile.write(tmp_path / name, synthesis.sine(440) if stem == "tone" else synthesis.example(stem), RATE)
    lines = ["filename,category,source", *(f"{name},{rest}" for name, rest in LABELS.items())]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path / "labels.csv"


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_table_for_people(labels):
    done = run("evaluate", labels)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{labels}: 3 files of 3 classes and 1 of none, 4 recordings"
    assert max(map(len, lines[1:])) <= 80
    [accuracy] = (line for line in lines if line.startswith("accuracy"))
    assert accuracy.split()[1:3] == ["66.7", "%"]
    assert any(line.split() == ["100", "%", "dog", "->", "rain", "rain.ogg"] for line in lines)


def test_the_same_as_json(labels):
    report = json.loads(run("evaluate", labels, "--format", "json").stdout)
    assert report["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3, abs=1e-3)
    assert report["metrics"]["none_accepted"]["value"] == 0
    assert {row["source"]: row["n_known"] for row in report["per_source"]} == {"one": 2, "two": 1}
    assert [row["predicted"] for row in report["worst_mistakes"]] == ["rain"]


def test_a_folder_gets_the_report_the_answers_and_a_picture(labels, tmp_path):
    out = tmp_path / "new" / "results"
    done = run("evaluate", labels, "--output", out, "--probabilities")
    assert done.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "evaluation.png", "predictions.csv"]
    assert all(f"wrote {path}" in done.stderr for path in out.iterdir())
    assert json.loads((out / "evaluation.json").read_text())["n_files"] == 4
    rows = {row["filename"]: row for row in csv.DictReader((out / "predictions.csv").open())}
    typing = rows["keyboard_typing.wav"]
    assert (typing["predicted"], typing["is_known"], typing["error"]) == ("keyboard_typing", "True", "")
    assert rows["church_bells.flac"]["category"] == "church_bells"
    assert float(typing["p_keyboard_typing"]) == pytest.approx(float(typing["probability"]))
    assert sum(name.startswith("p_") for name in typing) == 50
    height, width, _ = plt.imread(out / "evaluation.png").shape
    assert width == pytest.approx(9 * 150, rel=0.05) and height > width / 2


def test_each_alone_and_the_table_too(labels, tmp_path):
    files = {"--output": "r.json", "--predictions": "p.csv", "--picture": "e.svg"}
    done = run("evaluate", labels, *(word for name, file in files.items() for word in (name, tmp_path / file)))
    assert done.exit_code == 0 and "accuracy" in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["n_known"] == 3
    assert (tmp_path / "p.csv").read_text().startswith("filename,category,source,predicted,probability,is_known,")
    assert "p_dog" not in (tmp_path / "p.csv").read_text()
    assert "<svg" in (tmp_path / "e.svg").read_text()


def test_what_cannot_be_read_is_named_and_does_not_stop_the_rest(labels, tmp_path):
    (tmp_path / "text.wav").write_text("not a sound\n" * 100)
    labels.write_text(f"{labels.read_text()}\ntext.wav,dog,one\nmissing.wav,dog,one\n")
    done = run("evaluate", labels, "--predictions", tmp_path / "p.csv")
    assert done.exit_code == 1
    first, second, wrote = done.stderr.splitlines()
    assert "text.wav" in first and "no such file" in second and wrote == f"wrote {tmp_path / 'p.csv'}"
    assert "2 files not read, and not counted" in done.stdout
    errors = {row["filename"]: row["error"] for row in csv.DictReader((tmp_path / "p.csv").open())}
    assert "no such file" in errors["missing.wav"] and errors["keyboard_typing.wav"] == ""


def test_the_second_call_shows_the_same(labels, monkeypatch, classifier):
    first = run("evaluate", labels)
    monkeypatch.setattr(type(classifier), "predict", None)
    assert run("evaluate", labels).stdout == first.stdout


def test_another_share_of_the_known_sounds_is_kept_without_asking_again(labels, monkeypatch, classifier):
    first = json.loads(run("evaluate", labels, "--format", "json").stdout)
    monkeypatch.setattr(type(classifier), "predict", None)
    few = json.loads(run("evaluate", labels, "--keep", 0.5, "--format", "json").stdout)
    assert (first["kept"], few["kept"]) == (0.95, 0.5)
    assert first["rejection_threshold"] < few["rejection_threshold"]
    assert first["metrics"]["right_refused"]["value"] < few["metrics"]["right_refused"]["value"]
    assert first["metrics"]["accuracy"] == few["metrics"]["accuracy"]
    assert "model multilayer, keeping 50 % of known sounds" in run("evaluate", labels, "--keep", 0.5).stdout
    refused = run("evaluate", labels, "--keep", 2)
    assert refused.exit_code == 1 and refused.stderr.endswith("cannot be kept: choose from 0.5 to 0.99\n")


def test_quieter_recordings(labels):
    quiet, silent = (json.loads(run("evaluate", labels, "--gain", db, "--format", "json").stdout) for db in (-6, -120))
    assert (quiet["gain_decibels"], quiet["n_silent"]) == (-6, 0)
    assert silent["n_silent"] == 4 and silent["metrics"]["none_accepted"]["value"] == 0


def test_a_folder_of_classes(labels, tmp_path):
    (tmp_path / "classes" / "keyboard_typing").mkdir(parents=True)
    (tmp_path / "keyboard_typing.wav").rename(tmp_path / "classes" / "keyboard_typing" / "keyboard_typing.wav")
    done = run("evaluate", tmp_path / "classes")
    assert done.exit_code == 0
    assert "1 file of 1 class and 0 of none, 1 recording" in done.stdout


def test_own_classes_are_accepted_as_in_a_prediction(classifier, tmp_path):
    """Whistles that the model by itself rejects."""
    examples = [Recording(whistle(seed), name=f"{seed}", sample_rate_hz=RATE) for seed in range(4)]
    teaching.teach(classifier, "slide whistle", examples).own.save(tmp_path / "own.esc50")
    folder = tmp_path / "sounds" / "slide_whistle"
    folder.mkdir(parents=True)
    for seed in (10, 11):
        soundfile.write(folder / f"{seed}.wav", whistle(seed), RATE)
    predictions = tmp_path / "p.csv"
    done = run("evaluate", folder.parent, "--classes", tmp_path / "own.esc50", "--predictions", predictions)
    assert done.exit_code == 0, done.output
    rows = [*csv.DictReader(predictions.open())]
    assert [(row["predicted"], row["is_known"]) for row in rows] == [("slide_whistle", "True")] * 2
    threshold = classifier.metadata["rejection"]["threshold"]
    assert min(float(row["ood_score"]) for row in rows) < threshold


def test_a_bar_is_shown_when_asked_for(labels):
    assert "evaluating" in run("evaluate", labels, "--progress").stderr
    assert run("evaluate", labels, "--no-progress").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["evaluate"], 2, "Missing argument 'LABELS'"),
        (["evaluate", "{labels}", "--output", "answers.txt"], 2, "does not end in .json"),
        (["evaluate", "{labels}", "--predictions", "answers"], 2, "does not end in .csv"),
        (["evaluate", "{labels}", "--picture", "picture.gif"], 2, "does not end in .png or .svg or .pdf"),
        (["evaluate", "{labels}", "--probabilities"], 2, "add --predictions FILE.csv"),
        (["evaluate", "{labels}", "--gain", "loud"], 2, "'loud' is not a valid float"),
        (["evaluate", "{labels}", "--predictions", "{labels}"], 1, "would be overwritten"),
        (["evaluate", "{labels}", "--classes", "own.json", "--output", "own.json"], 1, "would be overwritten"),
        (["evaluate", "{labels}", "--model", "own.json", "--output", "own.json"], 1, "would be overwritten"),
        (["evaluate", "{labels}", "--output", "{labels}/report.json"], 1, "cannot be made"),
        (["evaluate", "nothing.csv"], 1, "no such file"),
        (["evaluate", "{labels}", "--audio", "nowhere"], 1, "does not contain any of the 4 recordings"),
    ],
)
def test_mistakes_end_in_one_line(labels, arguments, code, message, monkeypatch):
    monkeypatch.chdir(labels.parent)
    Path("own.json").touch()
    before = {path: path.read_bytes() for path in labels.parent.iterdir() if path.is_file()}
    done = run(*(argument.format(labels=labels) for argument in arguments))
    assert done.exit_code == code and message in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in labels.parent.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(("package", "options"), [("pandas", []), ("matplotlib", ["--picture", "e.png"])])
def test_without_the_study_one_line_says_what_to_install_before_the_work(labels, monkeypatch, package, options):
    monkeypatch.chdir(labels.parent)
    for name in [name for name in sys.modules if name.startswith(("esc50.experiments", "esc50.reporting.plots."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    done = run("evaluate", labels, *options)
    assert (done.exit_code, done.stderr) == (
        1,
        f"Error: `esc50 evaluate` needs {package}: pip install 'esc50[study]'\n",
    )
    assert not (labels.parent / "cache").exists()


def test_a_checkout_is_not_needed(labels, monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "META_DIR", tmp_path / "nothing")
    assert run("evaluate", labels).exit_code == 0


def test_the_classes_by_theme():
    themes, names = json.loads(run("classes", "--format", "json").stdout), load_model()[1]["class_names"]
    assert sorted(name for of in themes.values() for name in of) == sorted(names)
    assert {theme: len(of) for theme, of in themes.items()} == dict.fromkeys(themes, 10) and len(themes) == 5
    lines = run("classes").stdout.splitlines()
    assert lines[:2] == ["Animals", "  dog"] and len(lines) == 55

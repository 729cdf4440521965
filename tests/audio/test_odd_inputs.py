"""Every file of `odd_sounds` gives a prediction or a one-line error in Python, the command line and the app."""

import json
import re
import subprocess
import sys
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from click.testing import CliRunner
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from odd_sounds import ACCEPTED, BYTE_NAME, EITHER, EVERY, FILES, NO_FILES, REFUSED, make_all

from esc50.apps.cli import cli
from esc50.classifier.timeline import detect_events
from esc50.config import N_CLASSES, AudioError, TooLongError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a way in that hangs fails

PROGRAM_MEGABYTES = 800  # one sound of ten minutes in memory included
MEASURED = """
import pathlib, resource, subprocess, sys  # a small process: Linux counts the peak of the one that starts a program too
code = subprocess.call(sys.argv[2:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
pathlib.Path(sys.argv[1]).write_text(str(peak))
sys.exit(code)
"""
ADVICE = re.compile(r"[:;(] ?(give|record|copy|export|check|repair|remove|divide|use|cut|read)\b")
ODD_NAMES = {BYTE_NAME, "two\nlines.wav", "emoji 🐕 and 漢字 and ‮right to left.wav"}
NOTE = re.compile(r"^$|Note: |Warning: |warning: |\[src/libmpg123|Running `esc50 ")  # libmpg123's nobody can silence


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_all(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def answers(files, classifier):
    """The classifier's result for each file: name -> Prediction or AudioError."""
    known = {}

    def answer(name):
        if name not in known:
            ((_, known[name]),) = classifier.predict_many([files[name]])
        return known[name]

    return answer


@dataclass(frozen=True)
class Run:
    """Result of one run of the command line over all files."""

    exit_code: int
    records: dict  # of the JSON on stdout, by the name of the file
    errors: list  # lines of stderr
    megabytes: float  # most memory it held


@pytest.fixture(scope="module")
def program(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    options = ["--format", "json", "--top", str(N_CLASSES)]
    command = [sys.executable, "-m", "esc50", "predict", *options, *map(str, files.values())]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        running = subprocess.run([sys.executable, "-c", MEASURED, folder / "peak", *command], stdout=out, stderr=err)
    records = {record["file"]: record for record in json.loads((folder / "out").read_text())}
    said = (folder / "err").read_text(errors="replace").splitlines()
    errors = [line for line in said if not NOTE.search(line)]
    return Run(running.returncode, records, errors, int((folder / "peak").read_text()) / 2**20)


def printable(path):
    return str(path) if str(path).isprintable() else repr(str(path))


def assert_clear(error, path):
    """Check that an error is one line that names the file and says what to do."""
    message = str(error)
    assert message.isprintable()
    assert printable(path)[1:-1] in message
    assert ADVICE.search(message), message


def by_name(prediction):
    return dict(zip(prediction.class_names, prediction.probabilities.tolist(), strict=True))


def assert_same(found, prediction):
    """Check that probabilities agree within 1e-6."""
    expected = by_name(prediction)
    assert set(found) == set(expected)
    np.testing.assert_allclose([found[name] for name in expected], list(expected.values()), rtol=0, atol=1e-6)


def test_there_are_at_least_200_odd_files():
    assert len(EVERY) == len(ACCEPTED) + len(REFUSED) + len(EITHER) + len(NO_FILES) >= 200


@pytest.mark.parametrize("name", EVERY, ids=ascii)
def test_the_classifier_ends_in_a_prediction_or_a_clear_error(files, answers, name):
    answer = answers(name)
    if isinstance(answer, AudioError):
        assert name not in ACCEPTED, answer
        assert_clear(answer, files[name])
    else:
        assert name in ACCEPTED or name in EITHER, answer.verdict
        assert answer.probabilities.shape == (N_CLASSES,)
        assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert np.isfinite(answer.frame_probabilities).all()
        assert answer.verdict.isprintable()


@pytest.mark.parametrize("name", EVERY, ids=ascii)
def test_the_command_line_says_what_the_classifier_says(files, answers, program, name):
    record, expected = program.records[str(files[name])], answers(name)
    if isinstance(expected, AudioError):
        assert record == {"file": str(files[name]), "error": str(expected)}
        assert program.errors.count(f"Error: {expected}") == 1
    else:
        assert record["verdict"] == expected.verdict
        assert_same({row["class_name"]: row["probability"] for row in record["top"]}, expected)


def test_the_command_line_says_one_line_for_each_bad_file_and_no_more(program):
    bad = [record["error"] for record in program.records.values() if "error" in record]
    assert program.errors == [f"Error: {message}" for message in bad]
    assert len(bad) > len(REFUSED)
    assert program.exit_code == 1
    assert program.megabytes < PROGRAM_MEGABYTES


@pytest.mark.parametrize("form", ["table", "csv"])
@pytest.mark.parametrize("name", [name for name in EVERY if name in ODD_NAMES], ids=ascii)
def test_a_name_of_any_characters_can_be_written(files, loaded, name, form):
    result = CliRunner().invoke(cli, ["predict", "--format", form, str(files[name])])
    assert (result.exit_code, result.exception, result.stderr) == (0, None, "")
    assert result.stdout


@pytest.mark.parametrize("name", [name for name in ACCEPTED if name != BYTE_NAME][::10], ids=ascii)  # sent as Unicode
def test_the_app_says_what_the_classifier_says(files, client, answers, name):
    found = client.predict(handle_file(files[name]), api_name="/predict")
    assert_same(found["probabilities"], answers(name))
    assert found["verdict"] == answers(name).verdict


def test_the_app_refuses_what_the_classifier_refuses(files, client, answers):
    """One file for each refusal."""
    refused = {name: answers(name) for name in FILES if isinstance(answers(name), AudioError)}
    words = {name: str(error).replace(printable(files[name]), "") for name, error in refused.items()}
    distinct = {re.sub(r"\d+", "", text): name for name, text in words.items()}
    assert len(distinct) > 10
    for name in distinct.values():
        with pytest.raises(AppError) as refusal:
            client.predict(handle_file(files[name]), api_name="/predict")
        message = str(refusal.value)
        assert message.isprintable() and "/" not in message.replace(str(files[name].parent), "")
        if isinstance(refused[name], TooLongError):  # the app has a page for it, not a command
            assert message.endswith("10 minutes: ask for its timeline instead")
        else:
            assert message.endswith(words[name])


def test_minutes_of_silence_in_a_few_bytes_get_an_empty_timeline(files, classifier):
    path = files["twelve minutes of silence.ogg"]
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    timeline = detect_events(classifier, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert timeline.events == ()
    assert timeline.duration_seconds == pytest.approx(720)
    assert peak < 30e6  # the waveform as a whole takes 46 MB

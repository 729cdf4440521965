import json

import pytest
import soundfile
from classifier.test_own_classes_taught import whistle
from click.testing import CliRunner

from esc50.apps.cli import cli
from esc50.classifier.own_classes import OwnClasses


@pytest.fixture
def whistles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(4):
        soundfile.write(tmp_path / f"whistle{seed}.wav", whistle(seed), 16_000)
    return [f"whistle{seed}.wav" for seed in range(4)]


def run(*arguments):
    return CliRunner().invoke(cli, list(arguments))


def test_a_class_is_taught_and_predicted_made_anew_and_added_to(whistles):
    taught = run("teach", "slide whistle", *whistles[:3], "--no", "example:siren")
    assert taught.exit_code == 0, taught.output
    assert "“slide whistle” from 3 sounds" in taught.output and "wrote my-sounds.esc50" in taught.output
    found = run("predict", "--format", "json", "--classes", "my-sounds.esc50", whistles[3])
    assert "slide_whistle" in str(json.loads(found.output)[0]["top"][0])
    timeline = run("predict", "--timeline", "--classes", "my-sounds.esc50", whistles[3])
    assert "slide whistle" in timeline.output
    assert run("teach", "--anew").output.endswith("wrote my-sounds.esc50\n")
    assert run("teach", "siren of mine", "example:siren").exit_code == 0
    assert OwnClasses.load("my-sounds.esc50").names == ("slide_whistle", "siren_of_mine")


def test_all_files_after_no_are_counter_examples(whistles):
    taught = run("teach", "whistle", *whistles[:2], "--no", "example:siren", "example:rain", "--classes", "two.esc50")
    assert "“whistle” from 2 sounds" in taught.output
    examples = [(each.file, each.is_positive) for each in OwnClasses.load("two.esc50").examples]
    assert examples == [*((file, True) for file in whistles[:2]), ("example:siren", False), ("example:rain", False)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["teach"], "give the name of a class and recordings of it"),
        (["teach", "bell", "gone.wav"], "not taught: gone.wav: "),
        (["teach", "dog", "example:siren"], "not taught: “dog” is a class of the model already"),
        (["teach", "--anew"], "my-sounds.esc50 is missing"),
        (["predict", "--classes", "gone.esc50", "example:siren"], "gone.esc50 is missing"),
        (["predict", "--classes", "whistle0.wav", "example:siren"], "whistle0.wav holds no classes"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(whistles, arguments, message):
    result = run(*arguments)
    assert result.exit_code and message in result.output and "Traceback" not in result.output

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers import whistle

from esc50.apps.cli import cli
from esc50.classifier.own_classes import OwnClasses


@pytest.fixture
def whistles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(4):
        soundfile.write(tmp_path / f"whistle{seed}.wav", whistle(seed), 16_000)
    return [f"whistle{seed}.wav" for seed in range(4)]


def run(*arguments, **options):
    return CliRunner().invoke(cli, list(arguments), **options)


def test_a_class_is_taught_and_predicted_made_anew_and_added_to(whistles):
    taught = run("teach", "slide whistle", *whistles[:3], "--no", "example:siren")
    assert taught.exit_code == 0, taught.output
    assert "“slide whistle” from 3 sounds" in taught.output and "wrote my-sounds.esc50" in taught.output
    found = run("predict", "--format", "json", "--classes", "my-sounds.esc50", whistles[3])
    assert "slide_whistle" in str(json.loads(found.output)[0]["top"][0])
    timeline = run("predict", "--timeline", "--classes", "my-sounds.esc50", whistles[3])
    assert "slide whistle" in timeline.output
    live = run("live", "-", "--classes", "my-sounds.esc50", input=Path(whistles[3]).read_bytes())
    assert "slide_whistle" in live.output
    assert run("teach", "--anew").output.endswith("wrote my-sounds.esc50\n")
    assert run("teach", "siren of mine", "example:siren").exit_code == 0
    assert OwnClasses.load("my-sounds.esc50").names == ("slide_whistle", "siren_of_mine")


@pytest.mark.parametrize("no", [["--no", "example:siren"], ["--no=example:siren"]])
def test_all_files_after_no_are_counter_examples(whistles, no):
    taught = run("teach", "whistle", *whistles[:2], *no, "example:rain", "--classes", "two.esc50")
    assert "“whistle” from 2 sounds" in taught.output
    examples = [(each.file, each.is_positive) for each in OwnClasses.load("two.esc50").examples]
    files = [(str(Path(file).absolute()), True) for file in whistles[:2]]
    assert examples == [*files, ("example:siren", False), ("example:rain", False)]


def test_a_file_of_classes_is_made_anew_from_any_folder_and_loses_none(whistles, tmp_path, monkeypatch):
    assert run("teach", "whistle", *whistles[:2]).exit_code == run("teach", "hiss", "example:rain").exit_code == 0
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    path = tmp_path / "my-sounds.esc50"
    assert run("teach", "--anew", "--classes", str(path)).exit_code == 0
    assert OwnClasses.load(path).names == ("whistle", "hiss")
    for file in whistles[:2]:
        (tmp_path / file).unlink()
    before = path.read_bytes()
    refused = run("teach", "--anew", "--classes", str(path))
    assert refused.exit_code == 1 and f"{tmp_path / whistles[0]}, {tmp_path / whistles[1]}): put them" in refused.output
    assert path.read_bytes() == before and not Path(f"{path}.bak").exists()
    assert run("teach", "--forget", "whistle", "--classes", str(path)).exit_code == 0
    assert run("teach", "--anew", "--classes", str(path)).exit_code == 0


def test_made_anew_without_an_upload_the_file_as_it_was_is_kept(whistles):
    assert run("teach", "whistle", *whistles[:2]).exit_code == 0
    own = OwnClasses.load("my-sounds.esc50")
    upload = replace(own.examples[0], file="", name="recording")
    before = replace(own, examples=(*own.examples, upload)).save("my-sounds.esc50")
    before = before.read_bytes()
    anew = run("teach", "--anew")
    assert anew.exit_code == 0
    assert "left out recording (no recording on disk); the old file is kept as my-sounds.esc50.bak" in anew.output
    assert Path("my-sounds.esc50.bak").read_bytes() == before
    assert [Path(each.file).name for each in OwnClasses.load("my-sounds.esc50").examples] == whistles[:2]


def test_a_file_that_another_command_changes_meanwhile_is_left_so(whistles, monkeypatch):
    assert run("teach", "whistle", whistles[0]).exit_code == 0
    load = OwnClasses.load

    def load_late(path):
        own = load(path)
        replace(own, examples=own.examples * 2).save(path)
        return own

    with monkeypatch.context() as patch:
        patch.setattr(OwnClasses, "load", load_late)
        for arguments in (["teach", "hiss", "example:rain"], ["teach", "--anew"]):
            refused = run(*arguments)
            assert refused.exit_code == 1 and "wrote" not in refused.output
            assert "my-sounds.esc50 changed while this command ran and was not overwritten: run the" in refused.output
    assert len(load("my-sounds.esc50").examples) == 4


def test_an_answer_is_not_written_over_the_classes(whistles):
    run("teach", "whistle", *whistles)
    before = Path("my-sounds.esc50").read_bytes()
    done = run("predict", whistles[0], "--classes", "my-sounds.esc50", "--output", "my-sounds.esc50")
    assert done.exit_code == 1 and "is one of the files to read, and would be overwritten" in done.output
    assert Path("my-sounds.esc50").read_bytes() == before


def test_a_class_can_be_taken_out_again(whistles):
    assert run("teach", "whistle", *whistles[:2]).exit_code == run("teach", "hiss", "example:rain").exit_code == 0
    assert "no class “bell” here, only whistle, hiss" in run("teach", "--forget", "bell").output
    assert run("teach", "--forget", "Hiss").exit_code == 0
    assert OwnClasses.load("my-sounds.esc50").names == ("whistle",)
    assert "“whistle” is the only class here: delete the file" in run("teach", "--forget", "whistle").output


def test_what_is_said_last_of_a_sound_counts(whistles):
    assert run("teach", "Whistle", *whistles[:3]).exit_code == 0
    assert run("teach", "whistle", whistles[3], "--no", whistles[2]).exit_code == 0
    own = OwnClasses.load("my-sounds.esc50")
    assert own.names == ("Whistle",)
    assert [(Path(each.file).name, each.is_positive) for each in own.examples] == [
        *((file, True) for file in (*whistles[:2], whistles[3])),
        (whistles[2], False),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["teach"], "give the name of a class and recordings of it"),
        (["teach", "bell", "gone.wav"], "not taught: no such file: gone.wav"),
        (["teach", "whistle0.wav", "whistle1.wav"], "whistle0.wav is a recording: the name of the class comes first"),
        (["teach", "Nope.WAV", "whistle1.wav"], "Nope.WAV is a recording: the name of the class comes first"),
        (["teach", "bell", "whistle0.wav", "--no", "whistle0.wav"], "given as of the class and as not of it"),
        (["teach", "hum", "long.flac"], "long.flac: the part is longer than 10 minutes: cut it, or"),
        (["teach", "none of these", "whistle0.wav"], "“none of these” is a class of the model already"),
        (["teach", "--anew", "--forget", "bell"], "or --anew, or --forget NAME"),
        (["teach", "bell", "whistle0.wav", "--classes", "folder"], "folder cannot be read (Is a directory)"),
        (["teach", "dog", "example:siren"], "not taught: “dog” is a class of the model already"),
        (["teach", "--anew"], "my-sounds.esc50 is missing"),
        (["predict", "--classes", "gone.esc50", "example:siren"], "gone.esc50 is missing"),
        (["predict", "--classes", "whistle0.wav", "example:siren"], "whistle0.wav is damaged, or holds no classes"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(whistles, arguments, message):
    Path("folder").mkdir()
    soundfile.write("long.flac", np.zeros(11 * 60 * 8_000), 8_000)
    result = run(*arguments)
    assert result.exit_code and message in result.output and "Traceback" not in result.output

"""All interfaces give the same prediction for a sound, at every sample rate."""

import datetime
import html
import json
import os
import re

import numpy as np
import pytest
import soundfile
import soxr
from click.testing import CliRunner
from gradio_client import handle_file

from esc50.apps.cli import cli
from esc50.apps.widget import PredictionWidget
from esc50.audio import synthesis
from esc50.classifier.timeline import detect_events
from esc50.config import N_CLASSES, PACKAGED_MODELS, PROJECT_DIR
from esc50.dataset.clips import clip_path

RATE, ORIGINAL_RATE = 16_000, 44_100
N_CLIPS = 100  # two of each class
MIN_AGREEMENT = 0.98
FORMS = {  # name -> rate, channels, subtype
    "16 bit.wav": (RATE, 1, "PCM_16"),
    "8 bit at 22 kHz.wav": (22_050, 1, "PCM_U8"),
    "24 bit stereo at 44 kHz.flac": (44_100, 2, "PCM_24"),
    "float at 48 kHz, 6 channels.wav": (48_000, 6, "FLOAT"),
    "vorbis.ogg": (44_100, 2, "VORBIS"),
    "opus.ogg": (48_000, 2, "OPUS"),
    "layer 3.mp3": (44_100, 1, "MPEG_LAYER_III"),
    "big endian.aiff": (32_000, 2, "PCM_16"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A siren in rain, in many forms: name -> path."""
    folder = tmp_path_factory.mktemp("forms")
    mixed = 0.5 * synthesis.example("siren", seconds=12) + 0.5 * synthesis.example("rain", seconds=12)
    for name, (rate, n_channels, subtype) in FORMS.items():
        samples = soxr.resample(mixed, RATE, rate)[:, np.newaxis] * np.linspace(1, 0.5, n_channels)
        soundfile.write(folder / name, samples, rate, subtype=subtype)
    return {name: folder / name for name in FORMS}


def by_app(client, path):
    return client.predict(handle_file(path), api_name="/predict")["probabilities"]


def by_widget(classifier, path):
    prediction = show_in_widget(classifier, path).prediction
    return dict(zip(prediction.class_names, prediction.probabilities.tolist(), strict=True))


def show_in_widget(classifier, path):
    widget, content = PredictionWidget(classifier, {}), path.read_bytes()
    file = {"name": path.name, "type": "", "size": len(content), "content": memoryview(content)}
    widget.upload.value = ({**file, "last_modified": datetime.datetime(2025, 11, 1, tzinfo=datetime.UTC)},)
    return widget


def by_command_line(*arguments):
    result = CliRunner().invoke(cli, ["predict", "--format", "json", *map(os.fspath, arguments)])
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    return record


@pytest.mark.parametrize("name", FORMS)
def test_app_widget_command_line_and_engine_agree(classifier, client, loaded, files, name):
    prediction = classifier.predict(files[name])  # as the notebook does
    expected = dict(zip(prediction.class_names, prediction.probabilities, strict=True))
    record = by_command_line("--top", str(N_CLASSES), files[name])
    answers = {
        "command line": {row["class_name"]: row["probability"] for row in record["top"]},
        "app": by_app(client, files[name]),
        "widget": by_widget(classifier, files[name]),
    }
    for way, found in answers.items():
        assert set(found) == set(expected)
        far = max(abs(found[class_name] - expected[class_name]) for class_name in expected)
        assert far <= 1e-6, f"{way} is off by {far}"


def test_all_say_the_same_of_a_sound_that_is_known_and_of_one_that_is_not(classifier, client, loaded, tmp_path):
    for name, waveform in (("siren.wav", synthesis.example("siren")), ("tone.wav", synthesis.sine(2_000))):
        soundfile.write(tmp_path / name, waveform, RATE)
        told, prediction = by_command_line(tmp_path / name), classifier.predict(tmp_path / name)
        assert told["why"] == prediction.why and bool(told["why"]) is not prediction.is_known
        assert (told["prediction_set"] or {"sentence": ""})["sentence"] == prediction.say_set()
        app = client.predict(handle_file(tmp_path / name), api_name="/predict")
        assert told | {"file": name} == {key: value for key, value in app.items() if key != "probabilities"}
        widget = show_in_widget(classifier, tmp_path / name)
        for words in (prediction.verdict, prediction.why, prediction.say_set()):
            assert html.escape(words) in widget.status.value


def test_app_and_command_line_tell_the_same_timeline(classifier, client, loaded, files):
    path = files["24 bit stereo at 44 kHz.flac"]
    expected = detect_events(classifier, path).to_dict()
    told = by_command_line("--timeline", path), client.predict(handle_file(path), api_name="/timeline")
    for record in told:
        assert record["events"] == json.loads(json.dumps(expected["events"]))
        assert record["duration_seconds"] == pytest.approx(12)
    assert expected["events"]


@pytest.mark.slow
@pytest.mark.audio
def test_a_recording_at_44_khz_gets_the_class_of_its_16_khz_copy(classifier, dataset_root, clips, tmp_path):
    """Two clips of each class, as stereo of 16 and 24 bits in turn."""
    sample = clips.groupby("category").sample(2, random_state=2015)["filename"]
    agree, differences = [], []
    for subtype, filename in zip(N_CLIPS // 2 * ["PCM_16", "PCM_24"], sample, strict=True):
        path = clip_path(filename, dataset_root)
        copy = classifier.predict(path)
        original = soxr.resample(copy.sound.waveform, RATE, ORIGINAL_RATE, quality="VHQ")
        soundfile.write(tmp_path / "original.wav", np.stack([original, original], 1), ORIGINAL_RATE, subtype=subtype)
        found = classifier.predict(tmp_path / "original.wav")
        assert found.sound.source_sample_rate_hz == ORIGINAL_RATE
        agree.append(found.top(1)[0][0] == copy.top(1)[0][0])
        differences.append(np.abs(found.probabilities - copy.probabilities).max())
    median, largest = np.median(differences), np.max(differences)
    print(f"same class: {sum(agree)} of {len(agree)}; probabilities differ by {median:.1e} (median) to {largest:.1e}")
    assert np.mean(agree) >= MIN_AGREEMENT


@pytest.mark.parametrize(
    "waveform",
    [synthesis.example("rain"), 0.001 * synthesis.example("siren"), np.pad(synthesis.example("rain")[:9_000], 30_000)],
    ids=["rain", "faint", "padded"],
)
def test_the_program_in_the_docs_answers_as_the_classifier_does(waveform, classifier, tmp_path, monkeypatch, capsys):
    """With ONNX Runtime and NumPy alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "esc50").mkdir()
    (tmp_path / "esc50/models").symlink_to(str(PACKAGED_MODELS))
    soundfile.write("rain.wav", waveform, RATE, subtype="FLOAT")
    (code,) = re.findall(r"```python\n(.*?)```", (PROJECT_DIR / "docs/export.md").read_text(encoding="utf-8"), re.S)
    exec(code, {})
    name, probability = capsys.readouterr().out.split()
    expected = classifier.predict("rain.wav").top(1)
    assert [(name, pytest.approx(float(probability), abs=1e-4))] == expected

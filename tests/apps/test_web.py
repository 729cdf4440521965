"""The browser app: its parts called directly, its HTTP interface, and the page in a real browser."""

import html
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import gradio as gr
import httpx
import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from gradio.route_utils import delete_files_created_by_app
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from benchmarks.app import Answer, ask_together, summarise
from esc50.apps import web
from esc50.apps.cli import cli
from esc50.audio import synthesis
from esc50.classifier.explanation import explain
from esc50.classifier.model_io import MODELS, load_metadata
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.timeline import detect_events
from esc50.config import PROJECT_DIR, AppSettings, AudioError, Esc50Error, TimelineSettings
from esc50.dataset.clips import clip_path
from esc50.reporting import plots

pytestmark = pytest.mark.yamnet
RATE = 16_000
MICROPHONE_EXAMPLE = "siren"  # what the fixture `browser` lets its microphone hear
ANSWER = ".card.known, .card.unknown, .card.wrong"


@pytest.fixture(scope="module")
def classifier():
    return SoundClassifier.load()


@pytest.fixture(scope="module")
def contacted():
    """Every address that this process connects to while the app runs."""
    addresses, watching = set(), True

    def note(event, arguments):
        if watching and event == "socket.connect" and isinstance(arguments[1], tuple):
            addresses.add(arguments[1][0])

    sys.addaudithook(note)  # cannot be taken away again
    yield addresses
    watching = False


@pytest.fixture(scope="module")
def served(classifier, contacted, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
        running = web.launch(classifier, port=free_port())
        yield running
        running.close(verbose=False)


@pytest.fixture(scope="module")
def client(served):
    return Client(served.local_url, verbose=False)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Sounds in many forms: name -> file."""
    folder = tmp_path_factory.mktemp("sounds")
    rain, siren = synthesis.example("rain"), synthesis.example("siren")
    both = np.stack([rain, siren], axis=1)  # (n_samples, 2)
    forms = {
        "8 bit.wav": (rain, RATE, "PCM_U8"),
        "24 bit.wav": (rain, 44_100, "PCM_24"),
        "float.wav": (rain, 48_000, "FLOAT"),
        "96 kHz.flac": (np.tile(siren, 6), 96_000, "PCM_24"),
        "6 channels.wav": (np.tile(siren[:, np.newaxis], 6), 48_000, "PCM_16"),
        "stereo.ogg": (both, 44_100, "VORBIS"),
        "tone.mp3": (synthesis.sine(440), 44_100, "MPEG_LAYER_III"),
        "a click.wav": (synthesis.impulse(seconds=0.1, at_seconds=0.05), RATE, "PCM_16"),
        "silence.wav": (synthesis.silence(), RATE, "PCM_16"),
        "long.wav": (np.concatenate([siren, 0 * siren, rain]), RATE, "PCM_16"),
    }
    for name, (samples, rate, subtype) in forms.items():
        soundfile.write(folder / name, samples, rate, subtype=subtype)
    return {name: folder / name for name in forms}


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    """What is not sound, or too much of it: name -> file."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "notes.wav").write_text("milk, eggs, bread\n")
    (folder / "nothing.wav").touch()
    soundfile.write(folder / "no samples.wav", np.zeros(0), RATE)
    soundfile.write(folder / "whole.mp3", synthesis.example("rain"), 44_100, subtype="MPEG_LAYER_III")
    (folder / "cut.mp3").write_bytes((folder / "whole.mp3").read_bytes()[:200])
    soundfile.write(folder / "eleven minutes.flac", np.zeros(11 * 60 * 8_000), 8_000)
    with (folder / "200 MB.wav").open("wb") as file:
        file.truncate(200_000_000)
    return {path.name: path for path in folder.iterdir()}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(client, path):
    return client.predict(handle_file(path), api_name="/predict")


def assert_same(found, prediction):
    expected = dict(zip(prediction.class_names, prediction.probabilities, strict=True))
    assert list(found["probabilities"]) == list(expected)
    np.testing.assert_allclose(list(found["probabilities"].values()), list(expected.values()), rtol=0, atol=1e-6)
    assert [row["class_name"] for row in found["top"]] == [name for name, _ in prediction.top(5)]
    assert found["duration_seconds"] == pytest.approx(prediction.sound.duration_seconds)
    for key in ("verdict", "is_known", "theme"):
        assert found[key] == getattr(prediction, key)
    assert found["warnings"] == list(prediction.warnings)
    assert [row["filename"] for row in found["nearest"]] == [clip.filename for clip in prediction.nearest]


# --- the program


def test_the_help_names_the_options_and_defaults():
    command = [sys.executable, PROJECT_DIR / "main.py", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Usage: python main.py [OPTIONS]" in text
    assert re.search(r"--model.*layers.*--host.*127\.0\.0\.1.*--port.*7860.*--share", text, flags=re.S)


@pytest.mark.parametrize(("options", "model"), [([], "layers"), (["--model", "plain"], "plain")])
def test_the_named_model_answers(monkeypatch, tmp_path, options, model):
    """Up to the moment at which the app would be served."""
    served = []

    def launch(classifier, **_):
        served.append(classifier.metadata["layers"])
        raise Esc50Error("enough")

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(web.signal, "signal", lambda *_: None)
    monkeypatch.setattr(web, "launch", launch)
    result = CliRunner().invoke(cli, ["app", *options])
    assert (result.exit_code, result.stderr) == (1, "Error: enough\n")
    assert served == [load_metadata(MODELS[model])["layers"]]


def test_the_page_says_which_head_answers(served, classifier, plain):
    assert classifier.description in str(served.config)
    with gr.Blocks() as page:
        web._lay_out(AppSettings(), plain.description)
    assert plain.description in str(page.config)
    assert plain.description != classifier.description


@pytest.mark.parametrize("option", ["--port=0", "--port=http", "--colour=red", "--model=best"])
def test_a_wrong_option_is_a_usage_error(option):
    done = subprocess.run([sys.executable, PROJECT_DIR / "main.py", option], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said_so(served, classifier):
    with pytest.raises(Esc50Error, match=rf"port {served.server_port} of 127\.0\.0\.1: choose another with --port"):
        web.launch(classifier, port=served.server_port)


def test_it_listens_at_this_machine_only(served):
    assert served.server_name == AppSettings().host == "127.0.0.1"
    with socket.socket() as probe:
        probe.settimeout(1)
        assert probe.connect_ex(("127.0.0.2", served.server_port)) != 0


# --- the HTTP interface


@pytest.mark.parametrize(
    ("name", "warnings"),
    [
        ("8 bit.wav", []),
        ("24 bit.wav", ["resampled from 44100"]),
        ("float.wav", ["resampled from 48000"]),
        ("96 kHz.flac", ["resampled from 96000"]),
        ("6 channels.wav", ["resampled"]),
        ("stereo.ogg", ["resampled"]),
        ("tone.mp3", ["resampled"]),
        ("a click.wav", ["lasts only 0.10 s"]),
        ("silence.wav", ["silent"]),
        ("long.wav", []),
    ],
)
def test_every_form_of_sound_gets_the_answer_of_the_classifier(client, classifier, sounds, name, warnings):
    found = ask(client, sounds[name])
    assert_same(found, classifier.predict(sounds[name]))
    assert len(found["warnings"]) == len(warnings)
    for sentence, expected in zip(found["warnings"], warnings, strict=True):
        assert expected in sentence


@pytest.mark.audio
def test_a_recording_gets_the_answer_of_the_classifier(client, classifier, dataset_root, clips):
    path = clip_path(clips["filename"].iloc[0], dataset_root)
    found = ask(client, path)
    assert_same(found, classifier.predict(path))
    assert found["top"][0]["class_name"] == clips["category"].iloc[0]


def test_a_long_recording_gets_its_timeline(client, classifier, sounds):
    found = client.predict(handle_file(sounds["long.wav"]), api_name="/timeline")
    expected = detect_events(classifier, sounds["long.wav"], settings=TimelineSettings(max_seconds=3_600)).to_dict()
    assert found == {"file": "long.wav", **expected}
    assert [event["class_name"] for event in found["events"]] == ["siren", "rain"]


BAD = [
    ("notes.wav", "notes.wav is not sound, or damaged"),
    ("nothing.wav", "nothing.wav is empty (0 bytes)"),
    ("no samples.wav", "no samples.wav holds no samples"),
    ("cut.mp3", "cut.mp3 is not sound, or damaged"),
]
TOO_LONG = ("eleven minutes.flac", "eleven minutes.flac lasts longer than 10 minutes: ask for its timeline")


@pytest.mark.parametrize(("name", "message"), [*BAD, TOO_LONG])
def test_what_is_not_sound_is_refused_with_a_sentence(client, bad_files, name, message):
    with pytest.raises(AppError) as refusal:
        ask(client, bad_files[name])
    assert str(refusal.value).startswith(message)
    assert "Traceback" not in str(refusal.value) and "/" not in str(refusal.value).replace("ffmpeg/", "")


def test_too_large_a_file_is_refused(served, client, bad_files):
    with pytest.raises(ValueError, match=r"200 MB\.wav exceeds the maximum file size"):  # the client's own check
        ask(client, bad_files["200 MB.wav"])
    with bad_files["200 MB.wav"].open("rb") as file:
        refusal = httpx.post(f"{served.local_api_url}upload", files={"files": file}, timeout=60)
    assert refusal.status_code == 413
    assert "maximum allowed size" in refusal.text


def test_files_of_the_server_cannot_be_asked_for(served, sounds):
    cache = Path(os.environ["GRADIO_TEMP_DIR"])
    inside, outside = next((cache / "examples").glob("siren.wav")), sounds["96 kHz.flac"]  # both are sound
    assert "siren" in ask_by_path(served, inside)
    refusal = ask_by_path(served, outside)
    assert "event: error" in refusal and "siren" not in refusal


def ask_by_path(served, path):
    """Ask without a client of Gradio, which would upload the file first."""
    url = f"{served.local_api_url}call/predict"
    data = [{"path": str(path), "meta": {"_type": "gradio.FileData"}}]
    event = httpx.post(url, json={"data": data}, timeout=60).json()["event_id"]
    return httpx.get(f"{url}/{event}", timeout=60).text


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("none", [web.WELCOME, web.NO_SOUND])
def test_a_microphone_that_sends_nothing_is_answered_kindly(classifier, nothing, none):
    with gr.Blocks():
        page, _ = web._lay_out(AppSettings(), classifier.description)
    shown = web._respond(page, classifier, AppSettings(), none, nothing)
    assert none in shown[page.verdict]
    assert not shown[page.details].visible and not shown[page.timeline].visible


def test_the_benchmark_leaves_no_file_and_closes_the_app_when_it_fails(monkeypatch):
    class Served(SimpleNamespace):
        local_url, closed = "http://127.0.0.1:1", False

        def close(self, *, verbose):
            self.closed = True

    def launch(*_, **__):
        served.folder = Path(os.environ["GRADIO_TEMP_DIR"])
        return served

    served = Served()
    monkeypatch.setenv("GRADIO_TEMP_DIR", "elsewhere")
    monkeypatch.setattr(SoundClassifier, "load", lambda: None)
    monkeypatch.setattr(web, "launch", launch)
    monkeypatch.setattr("benchmarks.app.run_app_benchmark", lambda *_, **__: served.folder.joinpath("x").touch(2))
    assert CliRunner().invoke(cli, ["app-benchmark"]).exit_code == 1
    assert served.closed
    assert served.folder.name != "elsewhere" and not served.folder.exists()


def test_twenty_users_at_once_get_their_own_answers(served, classifier, tmp_path):
    paths = list(web.write_examples(tmp_path).values())
    expected = {path: classifier.predict(path) for path in paths}
    answers = ask_together(served.local_url, paths, n_clients=20, n_rounds=2)
    assert len(answers) == 40
    for answer in answers:
        assert_same(answer.found, expected[answer.path])
    assert len({answer.found["top"][0]["class_name"] for answer in answers}) > 5


def test_the_summary_of_a_load():
    summary = summarise([Answer(None, {}, seconds) for seconds in range(101)], n_clients=7)
    assert summary == {
        "n_clients": 7,
        "n_requests": 101,
        "p50_seconds": 50.0,
        "p95_seconds": 95.0,
        "longest_seconds": 100.0,
    }


def test_the_picture_reads_on_any_page_and_leaves_no_figure_behind(classifier, sounds):
    figure = plots.plot_sound(classifier.predict(sounds["a click.wav"]))
    wave, mel = figure.axes
    assert wave.get_xlim() == mel.get_xlim() == (0, pytest.approx(0.1))
    assert figure.get_facecolor()[3] == wave.get_facecolor()[3] == 0  # transparent
    assert not plt.get_fignums()


# --- in the browser


@pytest.fixture
def page(browser, served):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["microphone"])
    page = context.new_page()
    page.outside = []
    page.on("request", lambda request: page.outside.append(request.url) if is_outside(request.url) else None)
    visit(page, served)
    yield page
    assert not page.outside
    context.close()


def is_outside(url):
    return not url.startswith(("http://127.0.0.1", "http://localhost", "data:", "blob:"))


def visit(page, served, theme="light"):
    page.goto(f"{served.local_url}?__theme={theme}")
    page.get_by_role("button", name="What is it?").wait_for()


def upload(page, path):
    page.locator("input[type=file]").first.set_input_files(path)
    page.locator(ANSWER).wait_for()


def verdict(page):
    return page.locator(".card").inner_text()


def test_an_example_is_answered_in_light_and_dark_wide_and_narrow(page, served, screenshots):
    for theme, width in (("light", 1280), ("dark", 1280), ("light", 420), ("dark", 420)):
        page.set_viewport_size({"width": width, "height": 900})
        visit(page, served, theme)
        assert "Upload a sound" in verdict(page)
        page.screenshot(path=screenshots / f"app_start_{theme}_{width}.png")
        page.get_by_role("button", name="siren", exact=True).click()
        page.locator(".card.known").wait_for()
        assert "sounds like a siren" in verdict(page)
        page.locator("#scores").get_by_text("siren").wait_for()
        page.locator("#picture img").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=screenshots / f"app_answer_{theme}_{width}.png", full_page=True)


@pytest.mark.audio
def test_an_uploaded_recording_gets_its_class(page, dataset_root, clips, screenshots):
    clip = clips.iloc[0]
    upload(page, clip_path(clip["filename"], dataset_root))
    page.locator(".card.known").wait_for()
    assert clip["category"] in verdict(page)
    assert "5.00 s, 1 channel" in verdict(page)


def test_bad_uploads_are_explained_on_the_page(page, served, bad_files, screenshots):
    for name, message in BAD:
        visit(page, served)
        upload(page, bad_files[name])
        assert message in verdict(page)
        assert not page.locator("#scores").is_visible()
    page.screenshot(path=screenshots / "app_error.png")


def test_too_large_an_upload_is_explained_on_the_page(page, bad_files, screenshots):
    page.locator("input[type=file]").first.set_input_files(bad_files["200 MB.wav"])
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    assert 'exceed the maximum allowed size of 100.0 Mb: "200 MB.wav"' in toast.inner_text()
    page.wait_for_timeout(500)  # it fades in
    page.screenshot(path=screenshots / "app_too_large.png")


def test_asking_without_a_sound_is_answered_kindly_and_clearing_starts_again(page, sounds):
    page.get_by_role("button", name="What is it?").click()
    page.locator(".card.wrong").wait_for()
    assert "There is no sound yet" in verdict(page)
    upload(page, sounds["8 bit.wav"])
    page.locator(".card.known, .card.unknown").wait_for()
    page.get_by_role("button", name="Clear").click()
    page.locator(".card.start").wait_for()
    assert not page.locator("#scores").is_visible()


def test_a_sound_that_is_none_of_the_classes_is_called_so(page, classifier, sounds):
    upload(page, sounds["silence.wav"])
    page.locator(".card.unknown").wait_for()
    assert classifier.predict(sounds["silence.wav"]).verdict in verdict(page)
    assert "The sound is silent" in verdict(page)


def test_an_unknown_sound_is_explained_and_its_bars_are_called_forced(classifier, sounds):
    with gr.Blocks():
        page, _ = web._lay_out(AppSettings(), classifier.description)
    for threshold, is_known in ((-1.0, True), (1.1, False)):
        rule = {**classifier.metadata["rejection"], "threshold": threshold}
        judge = replace(classifier, card={**classifier.metadata, "rejection": rule})
        shown = web._respond(page, judge, AppSettings(), web.WELCOME, str(sounds["8 bit.wav"]))
        assert (html.escape(rule["meaning"]) in shown[page.verdict]) is not is_known
        assert (web.FORCED in shown[page.heading], web.TOP in shown[page.heading]) == (not is_known, is_known)


def test_a_timeline_of_the_page_is_made_of_what_was_heard_already(classifier, sounds, monkeypatch):
    monkeypatch.setattr(web, "listen", None)
    prediction, timeline = web._hear(classifier, AppSettings(), sounds["long.wav"])
    assert prediction.is_known is not None
    assert [event.class_name for event in timeline.events] == ["siren", "rain"]
    strict = replace(timeline, events=tuple(replace(event, is_known=False) for event in timeline.events))
    assert "none of these (siren?)" in web._table(strict.events)


def test_what_is_too_long_for_one_answer_gets_only_its_timeline(page, bad_files, screenshots):
    upload(page, bad_files["eleven minutes.flac"])
    assert web.LONG in verdict(page)
    page.get_by_role("button", name="CSV", exact=True).wait_for()
    assert not page.locator("#scores").is_visible()
    page.screenshot(path=screenshots / "app_too_long.png", full_page=True)


def test_what_is_too_long_for_a_timeline_is_refused_in_words_for_the_page(classifier, bad_files):
    with pytest.raises(AudioError, match=r"^eleven minutes\.flac lasts longer than 0\.175 hours: cut it into parts$"):
        web._named(
            partial(web._hear, classifier, AppSettings(max_timeline_seconds=630)), bad_files["eleven minutes.flac"]
        )


def test_a_long_recording_shows_its_timeline_to_download(page, classifier, sounds, screenshots, tmp_path):
    upload(page, sounds["long.wav"])
    buttons = [page.get_by_role("button", name=label, exact=True) for label in web.LABELS]
    files = [download(page, button, tmp_path) for button in buttons]
    assert [file.name for file in files] == ["long_timeline.csv", "long_timeline.json", "long_timeline.txt"]
    timeline = detect_events(classifier, sounds["long.wav"])
    written = [write(timeline, tmp_path / f"expected.{ending}") for ending, write in web.EXPORTS.items()]
    assert [file.read_text() for file in files] == [file.read_text() for file in written]
    page.get_by_role("cell", name="siren", exact=True).wait_for()
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.set_viewport_size({"width": 1280, "height": 900})
    page.screenshot(path=screenshots / "app_timeline.png", full_page=True)


def download(page, button, folder):
    with page.expect_download() as coming:
        button.click()
    path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    return path


def test_why_is_drawn_when_asked_for(page, sounds, screenshots):
    upload(page, sounds["8 bit.wav"])
    page.locator("#picture img").wait_for()
    assert not page.locator("#why").is_visible()
    page.get_by_role("button", name="Why?").click()
    page.locator("#why img").wait_for()
    page.screenshot(path=screenshots / "app_why.png", full_page=True)


def test_a_why_that_comes_late_is_not_shown_beside_another_sound(page, sounds, monkeypatch):
    asked, answered = Event(), Event()

    def late(*_):
        asked.set()
        page_answered.wait(20)
        answered.set()
        return explain(*_)

    page_answered = Event()
    monkeypatch.setattr(web, "explain", late)
    upload(page, sounds["8 bit.wav"])
    page.get_by_role("button", name="Why?").click()
    assert asked.wait(20)
    page.get_by_role("button", name="siren", exact=True).click()
    page.locator(".card").get_by_text("sounds like a siren").wait_for()
    page_answered.set()
    assert answered.wait(20)
    page.wait_for_timeout(4_000)
    assert not page.locator("#why").is_visible()


def test_what_the_microphone_hears_is_answered(page, screenshots):
    page.get_by_role("button", name="Record audio").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(3_000)
    page.get_by_role("button", name="Stop").first.click()
    page.locator(".card.known").wait_for()
    page.screenshot(path=screenshots / "app_microphone.png")
    assert MICROPHONE_EXAMPLE in verdict(page)


# --- at the end: these look at what all the above left


def test_files_are_swept_but_the_examples_stay(served, client, sounds, page):
    ask(client, sounds["8 bit.wav"])
    cache = Path(os.environ["GRADIO_TEMP_DIR"])
    assert list(cache.rglob("8 bit.wav"))
    assert served.delete_cache == (300, 1800)
    delete_files_created_by_app(served, age=0)
    assert not list(cache.rglob("8 bit.wav"))
    page.get_by_role("button", name="rain", exact=True).click()
    page.locator(".card.known").wait_for()
    assert "sounds like rain" in verdict(page)


def test_a_sound_that_was_swept_is_asked_for_again(served, page, sounds):
    upload(page, sounds["24 bit.wav"])
    delete_files_created_by_app(served, age=0)
    page.get_by_role("button", name="Why?").click()
    page.get_by_test_id("toast-body").get_by_text("give it again").wait_for()
    page.get_by_role("button", name="What is it?").click()
    page.locator(".card.wrong").get_by_text("give it again").wait_for()


def test_nothing_outside_this_machine_was_contacted(contacted):
    assert contacted <= {"127.0.0.1", "127.0.0.2", "::1", "localhost"}
    assert "127.0.0.1" in contacted

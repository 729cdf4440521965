"""The browser app: its parts called directly, and its HTTP interface."""

import base64
import csv
import html
import re
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from urllib.parse import quote, unquote

import gradio as gr
import httpx
import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from odd_sounds import MUXED

from esc50.apps import serve, web
from esc50.apps.cli import cli
from esc50.apps.commands import AppSettings
from esc50.apps.guard import Uploads
from esc50.audio import synthesis
from esc50.classifier.model_io import DEFAULT_MODEL
from esc50.classifier.predict import Prediction, SoundClassifier
from esc50.classifier.timeline import detect_events, settings_for
from esc50.config import PROJECT_DIR, Esc50Error
from esc50.dataset.clips import clip_path
from esc50.reporting import plots

pytestmark = pytest.mark.slow


def ask(client, path):
    return client.predict(handle_file(path), api_name="/predict")


def assert_same(found, prediction):
    expected = dict(zip(prediction.class_names, prediction.probabilities, strict=True))
    assert list(found["probabilities"]) == list(expected)
    np.testing.assert_allclose(list(found["probabilities"].values()), list(expected.values()), rtol=0, atol=1e-6)
    assert [row["class_name"] for row in found["top"]] == [name for name, _ in prediction.top(5)]
    assert found["duration_seconds"] == pytest.approx(prediction.sound.duration_seconds)
    for key in ("verdict", "is_known", "theme", "why"):
        assert found[key] == getattr(prediction, key)
    assert found["warnings"] == list(prediction.warnings)
    assert [row["filename"] for row in found["nearest"]] == [clip.filename for clip in prediction.nearest]


# --- the program


def test_the_help_names_the_options_and_defaults():
    command = [sys.executable, PROJECT_DIR / "main.py", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Usage: python main.py [OPTIONS]" in text
    assert re.search(r"--model.*multilayer.*--host.*127\.0\.0\.1.*--port.*7860.*--share", text, flags=re.S)


@pytest.mark.parametrize(("options", "n_layers"), [([], 15), (["--model", "layers"], 15), (["--model", "plain"], 1)])
def test_the_named_model_answers(monkeypatch, tmp_path, options, n_layers):
    """Up to the moment at which the app would be served."""
    served = []

    def launch(classifier, **_):
        served.append(len(classifier.metadata["layers"]))
        raise Esc50Error("enough")

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(serve.signal, "signal", lambda *_: None)
    monkeypatch.setattr(web, "launch", launch)
    result = CliRunner().invoke(cli, ["app", *options])
    assert result.exit_code == 1
    assert result.stderr.endswith("Error: enough\n")
    assert served == [n_layers]


def test_options_and_variables_reach_the_app(classifier, monkeypatch, tmp_path):
    given = {}

    def launch(_, **options):
        given.update(options)
        raise Esc50Error("enough")

    def load(_, model, *, classes):
        given.update(model=model, classes=classes)
        return classifier

    monkeypatch.setattr(serve.signal, "signal", lambda *_: None)
    monkeypatch.setattr(SoundClassifier, "load", classmethod(load))
    monkeypatch.setattr("esc50.apps.labelling.open_store", lambda store, _: f"opened {store}")
    monkeypatch.setattr(web, "launch", launch)
    (tmp_path / "mine.esc50").touch()
    environment = {"GRADIO_TEMP_DIR": str(tmp_path), "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "7777"}
    options = ["--store", "mine", "--classes", str(tmp_path / "mine.esc50"), "--share"]
    expected = {"model": DEFAULT_MODEL, "classes": tmp_path / "mine.esc50", "store": "opened mine", "share": True}
    for more, address in (
        ([], {"host": "0.0.0.0", "port": 7777}),
        (["--host", "::1", "--port", "7"], {"host": "::1", "port": 7}),
    ):
        result = CliRunner().invoke(cli, ["app", *options, *more], env=environment)
        assert result.stderr.endswith("Error: enough\n")
        assert given == expected | address


def test_the_page_says_which_head_answers(served, classifier, plain):
    assert classifier.description in str(served.config)
    assert plain.description in str(web.build_app(plain).config)
    assert plain.description != classifier.description


@pytest.mark.parametrize("option", ["--port=0", "--port=http", "--colour=red", "--model=best"])
def test_a_wrong_option_is_a_usage_error(option):
    done = subprocess.run([sys.executable, PROJECT_DIR / "main.py", option], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said_so(served, classifier):
    port = served.server_port
    with pytest.raises(Esc50Error, match=rf"port {port} of 127\.0\.0\.1 \(.*in use.*\): choose another --port"):
        web.launch(classifier, port=port)


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
        ("24 bit.wav", []),
        ("float.wav", []),
        ("96 kHz.flac", []),
        ("6 channels.wav", []),
        ("stereo.ogg", []),
        ("tone.mp3", []),
        ("a click.wav", ["lasts only 0.10 s"]),
        ("silence.wav", ["silent"]),
        ("long.wav", []),
    ],
)
def test_every_form_of_sound_gets_the_answer_of_the_classifier(client, classifier, sounds, name, warnings):
    found = ask(client, sounds[name])
    assert_same(found, classifier.predict(sounds[name]))
    of_note = [sentence for sentence in found["warnings"] if "resampled" not in sentence]
    for sentence, expected in zip(of_note, warnings, strict=True):
        assert expected in sentence


@pytest.mark.audio
def test_a_recording_gets_the_answer_of_the_classifier(client, classifier, dataset_root, clips):
    path = clip_path(clips["filename"].iloc[0], dataset_root)
    found = ask(client, path)
    assert_same(found, classifier.predict(path))
    assert found["top"][0]["class_name"] == clips["category"].iloc[0]


def test_a_long_recording_gets_its_timeline(client, classifier, sounds):
    found = client.predict(handle_file(sounds["long.wav"]), api_name="/timeline")
    settings = replace(settings_for(classifier.metadata["pooling"]), max_seconds=3_600)
    assert found == {"file": "long.wav", **detect_events(classifier, sounds["long.wav"], settings=settings).to_dict()}
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


def page_of(classifier, settings=web.SETTINGS):
    with tempfile.TemporaryDirectory() as folder, gr.Blocks():
        return web.Page(classifier, Uploads(folder, web.limits_of(settings)), settings)


def stored(page, path):
    """The path of a file that the page takes for an upload."""
    page.uploads.files.add(str(path))
    return str(path)


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_microphone_that_sends_nothing_is_answered_kindly(classifier, nothing):
    page = page_of(classifier)
    shown = page.respond(nothing)
    assert web.WELCOME in shown[page.verdict]
    assert not shown[page.details]["visible"] and not shown[page.timeline]["visible"]


def test_an_answer_adds_nothing_to_a_page_that_is_laid_out_meanwhile(classifier, sounds):
    page = page_of(classifier)
    path = stored(page, sounds["8 bit.wav"])
    with gr.Blocks() as other:
        page.respond(path), page.respond(None), page.wait_for_why(), list(page.respond_to_many([path]))
        assert not other.blocks and not other.children


def test_twenty_users_at_once_get_their_own_answers(served, classifier, tmp_path):
    paths = list(web.write_examples(tmp_path).values())
    expected, barrier = [classifier.predict(path) for path in paths], Barrier(20)

    def ask_twice(number):
        client = Client(served.local_url, verbose=False)
        barrier.wait(60)
        return [(turn % len(paths), ask(client, paths[turn % len(paths)])) for turn in (number, number + 1)]

    with ThreadPoolExecutor(20) as pool:
        answers = [answer for answers in pool.map(ask_twice, range(20)) for answer in answers]
    assert len(answers) == 40
    for number, found in answers:
        assert_same(found, expected[number])
    assert len({found["top"][0]["class_name"] for _, found in answers}) > 5


def test_an_answer_for_a_script_draws_nothing(classifier, sounds, monkeypatch):
    monkeypatch.setattr(web.plots, "plot_sound", None, raising=False)
    monkeypatch.setattr(Prediction, "log_mel", property(lambda _: pytest.fail("drawn")))
    assert page_of(classifier).record(sounds["8 bit.wav"])["nearest"]


def test_the_picture_reads_on_any_page_and_leaves_no_figure_behind(classifier, sounds):
    figure = plots.plot_sound(classifier.predict(sounds["a click.wav"]))
    wave, mel = figure.axes
    assert wave.get_xlim() == mel.get_xlim() == (0, pytest.approx(0.1))
    assert figure.get_facecolor()[3] == wave.get_facecolor()[3] == 0  # transparent
    assert not plt.get_fignums()


def test_an_unknown_sound_is_explained_and_its_bars_are_called_forced(classifier, sounds):
    for threshold, is_known in ((-99.0, True), (99.0, False)):
        rule = {**classifier.metadata["rejection"], "threshold": threshold}
        page = page_of(replace(classifier, metadata={**classifier.metadata, "rejection": rule}))
        shown = page.respond(stored(page, sounds["8 bit.wav"]))
        assert ("<details><summary>Why none of these?</summary>" in shown[page.verdict]) is not is_known
        assert (html.escape(rule["meaning"]) in shown[page.verdict]) is not is_known
        assert ("90 % sure" in shown[page.verdict]) is is_known
        heading = "Most probable of the 50 classes" if is_known else "If it had to be one of the 50"
        assert shown[page.heading]["value"] == f"## {heading}"


def test_the_slider_says_how_many_known_sounds_are_kept(classifier, tmp_path):
    page = page_of(classifier)
    assert (page.keep.minimum, page.keep.maximum, page.keep.value, page.keep.visible) == (0.5, 0.99, 0.95, True)
    soundfile.write(tmp_path / "typing.wav", synthesis.example("keyboard_typing"), 16_000)
    path = stored(page, tmp_path / "typing.wav")
    score = classifier.predict(path).ood_score
    rule = classifier.metadata["rejection"]
    shares, reached = rule["by_share"]["share"], rule["by_share"]["scores"][rule["score"]]
    keeps = float(np.interp(-score, -np.array(reached), shares))
    for keep, is_known in ((keeps - 0.02, False), (min(0.99, keeps + 0.02), True)):
        assert page.predict(path, keep)[0].is_known is is_known
        assert ("None of the 50" in page.respond(path, keep)[page.verdict]) is not is_known
    assert "nan of the known sounds cannot be kept" in page.respond(path, float("nan"))[page.verdict]


def test_the_name_of_the_file_stands_beside_its_answer(classifier, sounds, tmp_path):
    page = page_of(classifier)
    for source in ("8 bit.wav", "long.wav"):
        path = tmp_path / f"<b>{source}"
        path.write_bytes(sounds[source].read_bytes())
        said = page.respond(stored(page, path))[page.verdict]
        assert f"&lt;b&gt;{source} · " in said and "<b>" not in said


def test_silence_gets_no_bars(classifier, sounds):
    page = page_of(classifier)
    bars = (page.heading, page.top, page.ask_why)
    for name, is_heard in (("silence.wav", False), ("8 bit.wav", True)):
        shown = page.respond(stored(page, sounds[name]))
        assert [shown[part]["visible"] for part in bars] == [is_heard] * 3


@pytest.mark.parametrize("seconds", [30, 660])
def test_a_long_silence_is_told_once_and_gets_no_timeline(classifier, tmp_path, seconds):
    page = page_of(classifier)
    soundfile.write(tmp_path / "silence.flac", synthesis.silence(seconds=seconds), 16_000)
    shown = page.respond(stored(page, tmp_path / "silence.flac"))
    assert "Nothing to hear" in shown[page.verdict] and not shown[page.timeline]["visible"]
    assert seconds > 600 or not shown[page.second]["visible"]


def test_where_there_are_no_events_there_is_no_table(classifier, sounds):
    page = page_of(classifier)
    table = page.respond(stored(page, sounds["long.wav"]))[page.table]
    assert "<td>siren</td>" in table and web.CONFIDENCE in table
    assert web._list_events(()) == ""


def test_what_browsers_cannot_play_is_played_as_wav_and_a_long_one_is_not(classifier, sounds, tmp_path):
    page, sound = page_of(classifier), soundfile.read(sounds["long.wav"])
    for name, samples in (("long.aiff", sound[0]), ("eleven minutes.au", np.tile(sound[0], 45))):
        soundfile.write(tmp_path / name, samples, sound[1])
    short, long = (page.respond(stored(page, tmp_path / name)) for name in ("long.aiff", "eleven minutes.au"))
    played = unquote(re.search(r'src="gradio_api/file=(.+?)"', short[page.player]["value"])[1])
    assert played.startswith(str(page.uploads.folder)) and soundfile.info(played).format == "WAV"
    np.testing.assert_allclose(soundfile.read(played)[0], sound[0], atol=1e-4)
    assert "<button" in short[page.table]
    assert not long[page.player]["visible"]
    assert "<td>siren</td>" in long[page.table] and "<button" not in long[page.table]
    shown = page.respond(stored(page, sounds["long.wav"]))
    assert quote(str(sounds["long.wav"])) in shown[page.player]["value"]


def test_sounds_that_come_while_others_are_answered_are_not_dropped(served):
    modes = [each["trigger_mode"] for each in served.config["dependencies"] if "upload" in str(each["targets"])]
    assert modes == ["always_last"]


def test_the_page_lists_the_classes_by_theme(served):
    text = str(served.config)
    assert "The 50 classes" in text and "**Animals:** dog, rooster, pig, " in text and "door wood knock" in text


def test_a_timeline_of_the_page_is_made_of_the_frames_that_the_answer_is_made_of(classifier, sounds, monkeypatch):
    monkeypatch.setattr(web, "detect_events", None)
    prediction, timeline = page_of(classifier).predict(sounds["long.wav"])
    assert prediction.is_known is not None
    assert [event.class_name for event in timeline.events] == ["siren", "rain"]


def test_of_a_long_sound_the_page_tells_the_timeline_first_and_the_whole_second(classifier, sounds):
    page = page_of(classifier)
    shown = page.respond(stored(page, sounds["long.wav"]))
    assert detect_events(classifier, sounds["long.wav"]).verdict in shown[page.verdict]
    assert "As one sound: " not in shown[page.verdict]
    second = shown[page.second]
    assert second["visible"] and "As one sound: " in second["value"] and "15.00 s" not in second["value"]
    shown = page.respond(stored(page, sounds["8 bit.wav"]))
    assert not shown[page.second]["visible"] and "This sounds like rain" in shown[page.verdict]


def test_what_is_too_long_for_a_timeline_is_refused_in_words_for_the_page(classifier, bad_files):
    page = page_of(classifier, AppSettings(max_timeline_seconds=630))
    shown = page.respond(stored(page, bad_files["eleven minutes.flac"]))
    assert ">eleven minutes.flac lasts longer than 0.175 hours: cut it into parts<" in shown[page.verdict]


def test_many_sounds_get_a_line_each_and_the_same_as_a_table_to_download(classifier, sounds, bad_files, monkeypatch):
    page = page_of(classifier)
    names = ("8 bit.wav", "silence.wav", "long.wav", "notes.wav", "eleven minutes.flac")
    *_, (shown, button) = page.respond_to_many([stored(page, (sounds | bad_files)[name]) for name in names])
    assert shown.count("<tr>") == 6 and "This sounds like rain" in shown and "notes.wav is not sound" in shown
    rows = list(csv.DictReader(Path(button["value"]).read_text(encoding="utf-8").splitlines()))
    told = dict.fromkeys(f"<tr><td>{row['file']}</td><td>{html.escape(row['answer'])}</td></tr>" for row in rows)
    assert shown.endswith("".join([*told, "</tbody></table></div>"]))
    assert [row["class_name"] for row in rows] == ["rain", "", "siren", "rain", "", ""]
    assert rows[-1]["answer"] == "Nothing to hear: the recording is silent."
    assert [*page.respond_to_many(None)][-1][0] == ""
    monkeypatch.setattr(web, "MOST_AT_ONCE", 2)
    *_, (shown, _) = page.respond_to_many(3 * [stored(page, sounds["8 bit.wav"])])
    assert shown.count("<tr>") == 1 + 2


def test_the_slider_counts_for_many_sounds_too(classifier, tmp_path):
    page = page_of(classifier)
    soundfile.write(tmp_path / "typing.wav", synthesis.example("keyboard_typing"), 16_000)
    path = stored(page, tmp_path / "typing.wav")
    for keep in (0.5, 0.95):
        [_, (shown, _)] = page.respond_to_many([path], keep)
        assert html.escape(page.predict(path, keep)[0].verdict) in shown
        assert ("None of the 50" in shown) is (keep == 0.5)


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("name", "kind", "options"), [("8 bit.wav", "answer", []), ("long.wav", "timeline", ["--timeline"])]
)
def test_what_is_saved_is_what_the_command_line_writes(classifier, sounds, monkeypatch, name, kind, options):
    monkeypatch.chdir(sounds[name].parent)
    page = page_of(classifier)
    shown = page.respond(stored(page, sounds[name]))
    for form, ending, button in zip(("csv", "json", "audacity"), ("csv", "json", "txt"), page.downloads, strict=True):
        assert shown[button]["visible"] is (form != "audacity" or kind == "timeline")
        if shown[button]["visible"]:
            file = Path(shown[button]["value"])
            assert file.name == f"{Path(name).stem}_{kind}.{ending}"
            written = CliRunner().invoke(cli, ["predict", *options, "--format", form, name])
            assert file.read_text(encoding="utf-8") == written.stdout


def test_what_is_unlikely_is_not_called_impossible(classifier, sounds):
    page = page_of(classifier)
    shown = page.respond(stored(page, sounds["8 bit.wav"]))
    assert "< 1 %" in shown[page.top]["value"] and ">0 %" not in shown[page.top]["value"]


# --- in a browser; more of it in test_page.py


DROP = """([name, type, content]) => {
  const held = new DataTransfer(), bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  held.items.add(new File([bytes], name, { type }));
  const dropped = new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true });
  document.querySelector("#sound [aria-dropeffect]").dispatchEvent(dropped);
}"""


IS_READY = """() => {  // whether the page's own script runs, which comes after the page
  const input = document.querySelector("#sound input[type=file]");
  input?.addEventListener("click", (event) => event.preventDefault(), { once: true });
  input?.click();
  return input && !input.hasAttribute("accept");
}"""


@pytest.fixture
def phone(browser, served):
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(served.local_url)
    page.get_by_role("heading", name=web.TITLE).wait_for()
    page.wait_for_function(IS_READY)
    yield page
    context.close()


@pytest.mark.parametrize("way", ["chosen", "dropped"])
@pytest.mark.parametrize(("name", "kind"), [("film.mp4", "video/mp4"), ("film.mkv", ""), ("a sound", "")])
def test_a_video_and_a_file_without_an_ending_are_taken(phone, tmp_path, name, kind, way):
    content = MUXED[name if "." in name else "film.mp4"]()
    (tmp_path / name).write_bytes(content)
    if way == "dropped":
        phone.evaluate(DROP, [name, kind, base64.b64encode(content).decode()])
    else:
        with phone.expect_file_chooser() as chooser:
            phone.locator("#sound [aria-dropeffect]").click()
        assert phone.locator("#sound input[type=file]").get_attribute("accept") is None
        chooser.value.set_files(tmp_path / name)
    phone.locator(".esc50-panel").filter(has_text=f"{name} · ").first.wait_for()
    assert not phone.get_by_test_id("toast-body").count()


def test_on_a_phone_the_answer_is_on_the_screen(phone, sounds, screenshots):
    phone.locator("input[type=file]").first.set_input_files(sounds["8 bit.wav"])
    panel = phone.locator(".esc50-panel.known")
    panel.wait_for()
    box = panel.bounding_box()
    assert box["y"] > 0 and box["y"] + box["height"] < 740
    phone.screenshot(path=screenshots / "app_answer_phone.png")
    below = [phone.locator(part).bounding_box()["y"] for part in ("#answer", "#examples", "#keep")]
    assert below == sorted(below)


def test_the_answer_follows_the_slider_by_key_and_by_number(phone):
    phone.get_by_role("button", name="keyboard typing", exact=True).click()
    phone.locator(".esc50-panel.known").wait_for()
    phone.get_by_role("spinbutton", name=web.KEEP).fill("0.5")
    phone.keyboard.press("Enter")
    phone.locator(".esc50-panel.unknown").wait_for()
    phone.get_by_role("slider", name=web.KEEP).focus()
    phone.keyboard.press("End")
    phone.locator(".esc50-panel.known").wait_for()
    phone.keyboard.press("Home")
    phone.locator(".esc50-panel.unknown").wait_for()
    phone.get_by_role("spinbutton", name=web.KEEP).fill("7")
    phone.locator(".esc50-panel.known").wait_for()
    assert phone.locator("[aria-live=polite] .esc50-panel.known").is_visible()  # it is read out
    assert not phone.get_by_test_id("toast-body").count()


def test_a_slider_that_is_dragged_asks_once_at_a_time(phone):
    phone.get_by_role("button", name="keyboard typing", exact=True).click()
    phone.locator(".esc50-panel.known").wait_for()
    asked = []
    phone.on("request", lambda request: asked.append(request.url) if "queue/join" in request.url else None)
    phone.get_by_role("slider", name=web.KEEP).evaluate("""slider => {
      for (let share = 0.99; share > 0.495; share -= 0.01) {
        slider.value = share;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }""")
    phone.locator(".esc50-panel.unknown").wait_for()
    phone.wait_for_timeout(1_000)
    assert 1 <= len(asked) <= 3

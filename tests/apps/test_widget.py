import base64
import datetime
import html
import io
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from PIL import Image

import esc50
from esc50 import dataset
from esc50.apps import widget
from esc50.apps.recorder import Recorder, Uploader
from esc50.apps.widget import CHOOSE, CLASSIFYING, START, default_examples, prediction_widget
from esc50.audio import synthesis
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.timeline import detect_events
from esc50.reporting import plots

PNG, WAV = "data:image/png;base64,", b"RIFF"


@pytest.fixture
def empty_widget(classifier):
    """Two examples, none of them chosen yet."""
    examples = {"siren": "example:siren", "rain": "example:rain"}
    return widget.PredictionWidget(classifier, examples)


def upload(shell, name, content, size=None):
    shell.upload.value = (sent(name, content, size),)


def sent(name, content, size=None):
    """What a browser sends."""
    return {
        "name": name,
        "type": "audio/wav",
        "size": len(content) if size is None else size,
        "last_modified": datetime.datetime(2025, 11, 1, tzinfo=datetime.UTC),
        "content": memoryview(content),
    }


def file_bytes(waveform, rate=16_000, form="WAV"):
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format=form)
    return buffer.getvalue()


def shows(shell, name):
    """Whether a prediction is shown, complete, under this name."""
    best = html.escape(shell.prediction.verdict) if shell.prediction else "nothing"
    visible = {part.layout.display for part in (shell.player, shell.picture, shell.why)} == {None}
    complete = bytes(shell.player.value[:4]) == WAV and PNG in shell.picture.value
    return visible and complete and best in shell.status.value and f"{name} · " in shell.status.value


def shows_only(shell, message):
    hidden = {part.layout.display for part in (shell.player, shell.picture, shell.reasons, shell.why)} == {"none"}
    cleared = shell.prediction is None and not shell.player.value and not shell.picture.value
    return hidden and cleared and message in shell.status.value and "Traceback" not in shell.status.value


def test_nothing_is_shown_until_something_is_chosen(empty_widget):
    assert shows_only(empty_widget, START)
    assert empty_widget.choice.label == CHOOSE
    empty_widget.choice.value = "example:rain"
    assert shows(empty_widget, "rain")
    rain = empty_widget.picture.value
    empty_widget.choice.value = "example:siren"
    assert shows(empty_widget, "siren")
    assert empty_widget.picture.value != rain


def test_the_first_example_is_shown_at_once(classifier):
    shell = prediction_widget(classifier, examples={"a <siren>": "example:siren"})
    assert shows(shell, "a &lt;siren&gt;")
    assert shows_only(prediction_widget(classifier, examples={}), START)


def test_the_widget_says_what_the_classifier_says(classifier, empty_widget):
    empty_widget.choice.value = "example:rain"
    expected = classifier.predict("example:rain")
    np.testing.assert_allclose(empty_widget.prediction.probabilities, expected.probabilities, atol=1e-6)
    played, rate = soundfile.read(io.BytesIO(empty_widget.player.value))
    assert rate == 16_000
    np.testing.assert_allclose(played, synthesis.example("rain"), atol=2**-15)


def test_an_upload_is_predicted_and_the_same_file_can_come_again(classifier, empty_widget):
    sound = synthesis.example("siren")
    for _ in range(2):
        upload(empty_widget, "my siren.wav", file_bytes(sound, 8_000))
        assert shows(empty_widget, "my siren.wav")
        assert "it was sampled at 8000 Hz" in empty_widget.status.value
        expected = classifier.predict(file_bytes(sound, 8_000))
        np.testing.assert_allclose(empty_widget.prediction.probabilities, expected.probabilities, atol=1e-6)
        assert empty_widget.upload.value == ()
        assert empty_widget.choice.label == CHOOSE
        empty_widget.choice.value = "example:rain"  # also as the choice before the upload
        assert shows(empty_widget, "rain")


@pytest.mark.parametrize(
    ("name", "content", "size", "message"),
    [
        ("notes.wav", b"not a sound at all", None, "notes.wav is not sound, or damaged"),
        ("nothing.wav", b"", None, "nothing.wav is empty (0 bytes)"),
        ("big.wav", b"", 12_345_678, "big.wav (12.3 MB) did not arrive whole"),
        ("big.wav", b"RIFF", 12_345_678, "copy it to where the notebook runs and give its path"),
        ("cut.flac", file_bytes(synthesis.white_noise(), form="FLAC")[:60], None, "is not sound, or damaged"),
        ("<script>.wav", b"?", None, "&lt;script&gt;.wav is not sound"),
    ],
)
def test_a_bad_upload_is_explained_and_clears_what_was_shown(empty_widget, name, content, size, message):
    empty_widget.choice.value = "example:siren"
    upload(empty_widget, name, content, size)
    assert message.lower() in empty_widget.status.value.lower()
    assert shows_only(empty_widget, "wrong")


def test_a_recording_that_is_cut_off_is_answered_with_a_warning(empty_widget):
    upload(empty_widget, "cut.flac", file_bytes(synthesis.white_noise(), form="FLAC")[:90_000])
    assert "The recording is cut off: it ends after " in empty_widget.status.value


def test_what_else_it_could_be_is_said_and_why_it_is_none_of_the_classes_is_folded(empty_widget):
    empty_widget.choice.value = "example:siren"
    assert '<p class="">A siren, at least 90 % sure.</p>' in empty_widget.status.value
    assert "<details>" not in empty_widget.status.value
    upload(empty_widget, "tone.wav", file_bytes(synthesis.sine(2_000)))
    why = html.escape(empty_widget.prediction.why)
    assert f'<details><summary>Why none of these?</summary><p class="minor">{why}</p>' in empty_widget.status.value
    assert "YAMNet&#x27;s best match is sine wave (1.0" in empty_widget.status.value


@pytest.mark.parametrize("seconds", [5, 30, 660])
def test_silence_is_told_once_and_nothing_spoke_for_it(empty_widget, seconds):
    upload(empty_widget, "silence.flac", file_bytes(synthesis.silence(seconds=seconds), form="FLAC"))
    assert "The sound is silent" in empty_widget.status.value
    assert empty_widget.status.value.lower().count("nothing to hear") == 1
    hidden = (empty_widget.why, empty_widget.timeline, empty_widget.events, empty_widget.picture)
    assert {part.layout.display for part in hidden} == {"none"}


def test_while_it_listens_the_last_answer_is_gone(empty_widget, monkeypatch):
    def look(source):
        assert shows_only(empty_widget, CLASSIFYING)
        raise KeyboardInterrupt

    empty_widget.choice.value = "example:rain"
    monkeypatch.setattr(SoundClassifier, "predict", lambda self, source: look(source))
    with pytest.raises(KeyboardInterrupt):
        empty_widget.choice.value = "example:siren"


def test_a_recording_is_predicted_and_a_refused_microphone_explained(empty_widget):
    empty_widget.recorder.recording = file_bytes(synthesis.example("rain"), 48_000)
    assert shows(empty_widget, "your recording")
    for _ in range(2):
        empty_widget.recorder.fault = "No microphone <here>."
        assert shows_only(empty_widget, "No microphone &lt;here&gt;.")
        empty_widget.choice.value = "example:rain"


def test_a_file_on_the_notebooks_machine_is_predicted(empty_widget, tmp_path):
    file = tmp_path / "my rain.wav"
    file.write_bytes(file_bytes(synthesis.example("rain")))
    empty_widget.path.value = f'"{file}"'
    assert shows(empty_widget, "my rain.wav")
    empty_widget.path.value = str(tmp_path / "missing.wav")
    assert shows_only(empty_widget, html.escape(f"{tmp_path / 'missing.wav'}"))
    assert empty_widget.status.value.count("missing.wav") == 1
    empty_widget.path.value = "~no such user/rain.wav"
    assert shows_only(empty_widget, "~no such user/rain.wav: there is no such user here; give the whole path.")


def test_a_file_comes_in_parts_each_of_which_is_answered(classifier, empty_widget, monkeypatch):
    answers, content = [], file_bytes(np.tile(synthesis.example("rain"), 10), form="WAV")
    monkeypatch.setattr(empty_widget.upload, "send", answers.append)
    about = {"name": "rain.wav", "size": len(content), "number": 0, "n_files": 1}
    for start in range(0, len(content), 1_000_000):
        part = memoryview(content[start : start + 1_000_000])
        message = about | {"start": start, "is_whole": start + 1_000_000 >= len(content)}
        empty_widget.upload._handle_custom_msg(message, [part])
        assert (empty_widget.prediction is not None) is message["is_whole"]
    assert shows(empty_widget, "rain.wav") and len(answers) == 2
    empty_widget.upload._handle_custom_msg(about | {"size": 10**9, "start": 0, "is_whole": True}, [memoryview(b"")])
    assert shows_only(empty_widget, "rain.wav (1000.0 MB) did not arrive whole: it is too large")


def test_every_control_has_a_name_and_every_picture_says_what_it_shows(empty_widget):
    upload(empty_widget, "long.wav", file_bytes(long_sound()))
    empty_widget.why.click()
    assert [empty_widget.choice.description, empty_widget.path.description] == ["Example", "or a path"]
    alts = [re.search('alt="([^"]+)"', part.value)[1] for part in (empty_widget.timeline, empty_widget.reasons)]
    assert alts[0].startswith("Timeline. 2 sounds in 0:15") and "becomes less likely" in alts[1]
    assert 'aria-label="Play siren, 0:00.0 to 0:0' in empty_widget.events.value


def test_a_video_can_be_chosen(empty_widget):
    for button in (empty_widget.upload, empty_widget.teacher.upload):
        assert {"video/*", ".mp4", ".mkv", ".mov", ".webm", ".avi"} <= set(button.accept.split(","))


def test_phones_get_a_picture_of_their_own(empty_widget):
    upload(empty_widget, "long.wav", file_bytes(long_sound()))
    empty_widget.why.click()
    for part in (empty_widget.timeline, empty_widget.picture, empty_widget.reasons):
        pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall('base64,([^"]+)', part.value)]
        widths = [picture.width / dpi for picture, dpi in zip(pictures, (160, 100), strict=True)]  # inches
        assert widths[0] == 4 and widths[1] >= 9
        assert part.value.startswith(f'<picture><source media="{widget.NARROW}"') and part.value.count("alt=") == 1


@pytest.mark.parametrize("draw", [widget._draw_wide, widget._draw_narrow])
def test_what_is_written_beside_a_bar_stays_within_its_axes(classifier, draw):
    figure = draw(classifier.predict("example:siren"))
    figure.draw_without_rendering()
    bars = (figure.subfigs[1] if figure.subfigs else figure).axes[0]
    assert bars.texts[0].get_text() == "100 %"
    assert all(text.get_window_extent().x1 < bars.get_window_extent().x1 for text in bars.texts)


def test_silent_frames_have_no_class_in_the_picture(classifier):
    prediction = classifier.predict(long_sound(), sample_rate_hz=16_000)
    frames = plots.plot_prediction(prediction).subfigs[0].axes[2].collections[0].get_array()
    assert np.ma.getmaskarray(frames)[:, 12:18].all() and not np.ma.getmaskarray(frames)[:, :8].any()


def test_which_head_answers_is_said_and_changes_with_it(classifier, plain, empty_widget):
    assert html.escape(classifier.description) in empty_widget.hint.value
    empty_widget.teacher.take_over(plain)
    assert html.escape(plain.description) in empty_widget.hint.value
    assert html.escape(classifier.description) not in empty_widget.hint.value


def test_why_is_drawn_when_asked_for_and_gone_with_the_answer(empty_widget):
    empty_widget.choice.value = "example:rain"
    assert empty_widget.reasons.layout.display == "none"
    empty_widget.why.click()
    assert PNG in empty_widget.reasons.value
    assert empty_widget.reasons.layout.display is None
    assert (empty_widget.why.description, empty_widget.why.disabled) == ("Why this answer?", False)
    empty_widget.choice.value = "example:siren"
    assert empty_widget.reasons.layout.display == "none"


def test_without_the_study_only_synthesised_examples_are_offered(monkeypatch):
    monkeypatch.setitem(sys.modules, "esc50.dataset", None)
    monkeypatch.delattr(esc50, "dataset", raising=False)  # there only where a test before this has imported it
    assert all("(synthesised)" in label for label in default_examples())


def test_what_was_taught_answers_from_then_on(classifier, empty_widget):
    other = replace(classifier, metadata=classifier.metadata | {"class_names": [f"x{i}" for i in range(50)]})
    empty_widget.teacher.take_over(other)
    assert shows_only(empty_widget, START)
    empty_widget.choice.value = "example:rain"
    assert empty_widget.prediction.class_names[0] == "x0"


def test_a_lesson_from_uploads_is_answered_with_saved_and_forgotten(classifier, tmp_path):
    shell = widget.PredictionWidget(classifier, {})
    panel = shell.teacher
    glides = [synthesis.chirp(start_hz=hz, end_hz=3 * hz, seconds=hz / 300) for hz in (400, 600, 800)]
    panel.learn.click()
    assert "Not taught: the new class has no name" in panel.status.value
    panel.upload.value = tuple(sent("<a>.wav", file_bytes(glide)) for glide in [*glides, glides[0]])
    assert list(panel.state.given) == ["<a>.wav", "<a>.wav (2)", "<a>.wav (3)"]
    panel.upload.value = (sent("big.wav", b"", 20_000_000),)
    assert "big.wav (20.0 MB) did not arrive whole" in panel.status.value and "3 sounds of yours" in panel.status.value
    for _ in range(2):
        panel.status.value, panel.recorder.fault = "", "No microphone is connected"
        assert "No microphone" in panel.status.value
    panel.name.value, panel.path.value = "whistle", str(tmp_path / "mine.esc50")
    panel.learn.click()
    assert "Learnt “whistle” from 3 sounds" in panel.status.value and not panel.state.given
    upload(shell, "glide.wav", file_bytes(synthesis.chirp(start_hz=500, end_hz=1_500)))
    assert shell.prediction.class_names == (*classifier.class_names, "whistle")
    assert shell.prediction.top(1)[0][0] == "whistle"
    panel.save.click()
    assert SoundClassifier.load(classes=tmp_path / "mine.esc50").own.names == ("whistle",)
    panel.forget.click()
    assert shell.classifier is classifier and panel.save.disabled


@pytest.mark.parametrize(
    "waveform",
    [synthesis.example("keyboard_typing"), synthesis.silence(seconds=0.05), synthesis.white_noise(seconds=30)],
)
def test_the_picture_has_one_time_axis_and_the_classes_in_one_order(classifier, waveform):
    prediction = classifier.predict(waveform, sample_rate_hz=16_000)
    figure = plots.plot_prediction(prediction, top=4)
    assert isinstance(figure, Figure)
    wave, mel, timeline = figure.subfigs[0].axes[:3]
    assert wave.get_xlim() == mel.get_xlim() == timeline.get_xlim()
    assert wave.get_xlim()[1] >= prediction.sound.duration_seconds
    expected = [plots.class_label(name) for name, _ in prediction.top(4)]
    for ax in (timeline, figure.subfigs[1].axes[0]):
        assert [label.get_text() for label in ax.get_yticklabels()] == expected


def long_sound(seconds=15):
    siren, rain = synthesis.example("siren"), synthesis.example("rain")
    return np.concatenate([siren, 0 * siren, np.tile(rain, seconds // 5 - 2)])


def test_of_a_long_sound_the_timeline_leads(classifier, empty_widget):
    shell = empty_widget
    upload(shell, "long.wav", file_bytes(long_sound()))
    assert shows(shell, "long.wav")
    assert detect_events(classifier, long_sound(), sample_rate_hz=16_000).verdict in shell.status.value
    assert "As one sound: none of the 50 classes" in shell.status.value
    assert html.escape(shell.prediction.why) in shell.status.value and "Why none of these?" in shell.status.value
    assert PNG in shell.timeline.value and "<td>siren</td>" in shell.events.value
    order = list(shell.children)
    assert order.index(shell.status) < order.index(shell.timeline) < order.index(shell.picture)
    shell.choice.value = "example:rain"
    assert shell.timeline.layout.display == shell.events.layout.display == "none"


def test_of_a_long_sound_it_is_said_what_else_the_whole_could_be(empty_widget):
    upload(empty_widget, "siren.wav", file_bytes(np.tile(synthesis.example("siren"), 3)))
    assert "As one sound: this sounds like a siren" in empty_widget.status.value
    assert f'<p class="">{empty_widget.prediction.say_set()}</p>' in empty_widget.status.value
    assert empty_widget.prediction.say_set().startswith("A siren")


def test_what_is_too_long_for_one_answer_gets_its_timeline(empty_widget):
    upload(empty_widget, "long.wav", file_bytes(long_sound(seconds=610), form="FLAC"))
    assert "2 sounds in 10:10: siren 0:00 to 0:05, rain 0:10 to 10:10." in empty_widget.status.value
    assert PNG in empty_widget.timeline.value and "<button" not in empty_widget.events.value
    assert empty_widget.prediction is None and empty_widget.picture.layout.display == "none"


def test_without_recordings_the_synthesised_examples_are_offered(monkeypatch):
    monkeypatch.setattr(dataset, "dataset_found", lambda: False)
    examples = default_examples()
    assert list(examples.values()) == [f"example:{name}" for name in synthesis.EXAMPLES]
    assert all("(synthesised)" in label for label in examples)


@pytest.mark.audio
def test_with_recordings_one_clip_of_each_class_is_offered_as_trained_on(dataset_root):
    examples = default_examples(root=dataset_root)
    clips = {label: source for label, source in examples.items() if "ESC-50" in label}
    assert len(clips) == 50
    assert len(examples) == 50 + len(synthesis.EXAMPLES)
    assert "1-100032-A-0" in clips["dog (ESC-50, trained on)"]


@pytest.mark.parametrize(
    ("given", "scheme", "color"), [("light", "dark", 17), ("light", "light", 255), ("dark", "dark", 255)]
)
def test_voilas_page_follows_the_browsers_colours_unless_it_was_given_a_theme(browser, given, scheme, color):
    page = browser.new_page(color_scheme=scheme)
    page.set_content(f"""<style>:root {{--jp-layout-color0: #fff}} {Recorder._css}</style>
        <body class="theme-{given}" data-voila="voila" style="background: var(--jp-layout-color0)">""")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == f"rgb({color}, {color}, {color})"
    page.close()


# --- the buttons' own scripts, with a front end that notes what they tell Python

SHOW = """async ([script, values]) => {
  const { default: { render } } = await import(`data:text/javascript,${encodeURIComponent(script)}`);
  const handlers = {};
  window.said = [];
  window.model = {
    get: (name) => values[name],
    set: (name, value) => said.push([name, value]),
    save_changes: () => said.push("saved"),
    on: (name, handler) => (handlers[name] = handler),
    off: (name) => delete handlers[name],
    send: (message) => (said.push(message), setTimeout(() => handlers["msg:custom"]("next"))),
  };
  window.leave = render({ model, el: document.body });
}"""
MICROPHONE = """() => {
  window.stopped = 0;
  const stream = { getTracks: () => [{ stop: () => stopped++ }] };
  const asked = new Promise((resolve) => (window.allow = () => resolve(stream)));
  Object.defineProperty(navigator, "mediaDevices", { value: { getUserMedia: () => asked } });
  window.MediaRecorder = class {
    start() { this.state = "recording"; }
    stop() { this.state = "inactive"; this.onstop(); }
  };
}"""


@pytest.fixture
def show(browser):
    """Shows a button of these values on an empty page."""
    page = browser.new_page()

    def show(button, **values):
        page.evaluate(SHOW, [button._esm, values])
        return page

    yield show
    page.close()


def test_a_file_that_cannot_be_read_is_told_and_the_button_is_ready_again(show):
    page = show(Uploader(), max_bytes=100, description="Upload")
    page.evaluate("""() => {
      const file = { name: "gone.wav", size: 9, slice: () => ({ arrayBuffer: () => Promise.reject(new Error()) }) };
      Object.defineProperty(document.querySelector("input"), "files", { value: [file] });
      document.querySelector("input").dispatchEvent(new Event("change"));
    }""")
    page.wait_for_function("!document.querySelector('button').disabled")
    about = {"number": 0, "n_files": 1, "start": 0, "is_whole": True}
    assert page.evaluate("said") == [{"name": "gone.wav", "size": 9, **about}]
    assert page.get_by_role("button").inner_text() == "Upload"


def test_a_recorder_that_fails_lets_go_of_the_microphone(show):
    page = show(Recorder(), max_seconds=60)
    page.evaluate(MICROPHONE)
    page.evaluate("() => { window.MediaRecorder = class { constructor() { throw new Error('no codec'); } }; }")
    page.get_by_role("button").click()
    page.evaluate("allow()")
    page.wait_for_function("said.length == 2")
    assert page.evaluate("[stopped, said[0][0]]") == [1, "fault"]
    assert "(no codec): upload a file" in page.evaluate("said[0][1]")


def test_a_recorder_that_is_removed_while_it_asks_records_nothing(show):
    page = show(Recorder(), max_seconds=60)
    page.evaluate(MICROPHONE)
    page.get_by_role("button").click()
    page.evaluate("leave(), allow()")
    page.wait_for_function("stopped == 1")
    assert page.evaluate("said") == []


def test_an_event_ends_at_its_end_and_what_is_played_later_does_not(show):
    page = show(Recorder(), max_seconds=60)
    page.evaluate("""() => {
      const pause = () => (player.pauses++, player.onpause());
      window.player = { pauses: 0, pause, play: () => Promise.reject(new Error()) };
      esc50Play({ closest: () => ({ querySelector: () => player }), dataset: { start: "1", end: "2" } });
    }""")
    assert page.evaluate("player.currentTime") == "1"
    page.evaluate("player.currentTime = 2")
    page.wait_for_function("player.pauses == 1")
    page.evaluate("player.currentTime = 3")
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    assert page.evaluate("player.pauses") == 1

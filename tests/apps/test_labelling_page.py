"""The app's part "My recordings" in a real browser."""

import socket

import pytest
from apps.test_labelling import FakeStore

from esc50.apps import web
from esc50.apps.labelling import PAGE

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def app(classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]  # a free one
    running = web.launch(classifier, port=port, store=FakeStore(tmp_path))
    yield running
    running.close(verbose=False)


def test_a_class_is_found_labelled_by_key_taught_and_answered_with(browser, app, screenshots, tmp_path):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(app.local_url)
    page.get_by_text("My recordings").click()
    part = page.locator("#own")
    part.get_by_placeholder("dog").fill("whistle")
    part.get_by_role("button", name="Find").click()
    part.locator(".card.current").wait_for()
    assert part.locator(".card img").count() == part.locator(".card audio").count() == PAGE
    part.get_by_role("button", name="Yes (y)").click()
    part.get_by_text("Labelled: 1 yes, 0 no, 0 unsure").wait_for()
    page.keyboard.press("u")
    part.get_by_text("Labelled: 1 yes, 0 no, 1 unsure").wait_for()
    part.screenshot(path=screenshots / "app_labelling.png")
    page.keyboard.press("b")
    part.locator(".card:nth-child(2).current").wait_for()
    for n in range(2, PAGE + 1):
        page.keyboard.press("y")
        part.get_by_text(f"Labelled: {n} yes, 0 no, 0 unsure").wait_for()
    part.locator(".card:nth-child(1).current").wait_for()  # of the next page
    part.get_by_placeholder("doorbell").fill("slide whistle")
    part.get_by_role("button", name="Teach").click()
    part.get_by_text(f"It learnt the class “slide whistle” from {PAGE} sounds").wait_for()
    with page.expect_download() as download:
        part.get_by_role("button", name="Save the class").click()
    assert download.value.suggested_filename == "slide_whistle.esc50"
    page.locator("input[type=file]").first.set_input_files(tmp_path / "<whistles>.wav")
    page.locator(".esc50-panel").filter(has_text="slide whistle").first.wait_for()
    context.close()

"""The app's part "My recordings" in a real browser."""

import pytest
from apps.test_labelling import FakeStore
from axe_playwright_python.sync_playwright import Axe
from gradio_client import Client, handle_file
from helpers import free_port

from esc50.apps import web
from esc50.apps.labelling import PAGE, Labelling
from esc50.apps.labelling_page import _say
from esc50.config import AudioError

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def app(classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    running = web.launch(classifier, port=free_port(), store=FakeStore(tmp_path))
    yield running
    running.close(verbose=False)


@pytest.fixture
def page(browser, app):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(app.local_url)
    yield page
    context.close()


def look_for(page, query):
    part = page.locator("#own")
    if not part.get_by_placeholder("dog").is_visible():
        page.get_by_text("My recordings").click()
    part.get_by_placeholder("dog").fill(query)
    part.get_by_role("button", name="Find").click()
    return part


def taught(page, n=1):
    """The part, once the first recordings on its page are taught as a class."""
    part = look_for(page, "dog")
    part.locator(".card.current").wait_for()
    for number in range(1, n + 1):
        part.get_by_role("button", name="Yes (y)").click()
        part.get_by_text(f"Labelled: {number} yes").wait_for()
    part.get_by_placeholder("doorbell").fill("slide whistle")
    part.get_by_role("button", name="Teach").click()
    part.get_by_text("Learnt “slide whistle”").wait_for()
    return part


def upload(page, path):
    page.locator("input[type=file]").first.set_input_files(path)
    return page.locator(".esc50-panel").filter(has_text=f"{path.name} · ").first


def test_a_class_is_found_labelled_by_key_taught_and_answered_with(page, screenshots, tmp_path):
    part = look_for(page, "dog")
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
    part.get_by_text(f"Learnt “slide whistle” from {PAGE} sounds").wait_for()
    with page.expect_download() as download:
        part.get_by_role("button", name="Save the class").click()
    assert download.value.suggested_filename == "slide_whistle.esc50"
    page.locator("input[type=file]").first.set_input_files(tmp_path / "<whistles>.wav")
    page.locator(".esc50-panel").filter(has_text="slide whistle").first.wait_for()


def test_a_path_on_the_server_is_refused_in_a_line(page, tmp_path):
    (tmp_path / "secret.wav").write_bytes((tmp_path / "<whistles>.wav").read_bytes())
    for query in ("/etc/passwd", str(tmp_path / "secret.wav"), "missing.wav"):
        part = look_for(page, query)
        said = part.locator(".esc50-panel.wrong").filter(has_text=f"“{query}”")
        said.wait_for()
        assert said.inner_text() == f"“{query}” is none of the classes and no recording of the store: try “dog”"
        assert not part.locator(".card").count()


def test_a_recording_that_cannot_be_read_is_told_without_its_place(page, app, tmp_path):
    part = look_for(page, "dog")
    part.locator(".card.current").wait_for()
    part.get_by_role("button", name="Yes (y)").click()
    part.get_by_text("Labelled: 1 yes").wait_for()
    (tmp_path / "<whistles>.wav").unlink()
    part.get_by_placeholder("doorbell").fill("slide whistle")
    part.get_by_role("button", name="Teach").click()
    said = part.locator(".esc50-panel.wrong")
    said.wait_for()
    assert "<whistles>.wav" in said.inner_text() and str(tmp_path) not in said.inner_text()


def test_a_fault_names_no_place_of_the_store(classifier, tmp_path, monkeypatch):
    def find(query, top):
        raise AudioError(f"{query} is damaged")

    store = FakeStore(tmp_path)
    state = Labelling(classifier, store, opens_paths=False)
    monkeypatch.setattr(store, "find", find, raising=False)
    with pytest.raises(AudioError, match=str(tmp_path)) as fault:
        state.ask("<hums>.wav")
    monkeypatch.setattr(store, "rows", None, raising=False)  # of which there may be millions
    assert _say(fault.value, state) == "<hums>.wav is damaged"


def test_a_class_is_the_visitors_own_and_can_be_forgotten(page, app, browser, tmp_path):
    part, sound = taught(page), tmp_path / "sound.wav"
    sound.write_bytes((tmp_path / "<whistles>.wav").read_bytes())
    page.get_by_role("button", name="The 51 classes").click()
    page.get_by_text("Taught: slide whistle").wait_for()
    assert "slide whistle" in upload(page, sound).inner_text()
    other = browser.new_context().new_page()
    other.goto(app.local_url)
    panel = upload(other, sound)
    panel.wait_for()
    assert "slide whistle" not in panel.inner_text()
    assert other.get_by_role("button", name="The 50 classes").is_visible()
    other.context.close()
    found = Client(app.local_url, verbose=False).predict(handle_file(sound), api_name="/predict")
    assert len(found["probabilities"]) == 50
    part.get_by_role("button", name="Forget").click()
    part.get_by_text("Forgotten").wait_for()
    page.locator(".esc50-panel").filter(has_not_text="slide whistle").filter(has_text="sound.wav · ").first.wait_for()
    assert page.get_by_role("button", name="The 50 classes").is_visible()
    assert not part.get_by_role("button", name="Save the class").is_visible()


def test_on_a_phone_cards_stand_two_a_row_and_the_buttons_stay_on_the_screen(page, screenshots):
    page.set_viewport_size({"width": 360, "height": 740})
    part = look_for(page, "dog")
    part.locator(".card.current").wait_for()
    boxes = [part.locator(".card").nth(number).bounding_box() for number in range(PAGE)]
    assert len({box["x"] for box in boxes}) == 2 and len({box["y"] for box in boxes}) == PAGE // 2
    for top in ("#own", ".esc50-strip"):
        page.evaluate("part => document.querySelector(part).scrollIntoView()", top)
        for name in ("Yes (y)", "No (n)", "Unsure (u)", "Back (b)"):
            box = part.get_by_role("button", name=name).bounding_box()
            assert box["y"] > 0 and box["y"] + box["height"] <= 740
    page.screenshot(path=screenshots / "app_labelling_phone.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_buttons_stand_beside_the_fields_that_they_belong_to(page):
    part = look_for(page, "dog")
    for button, field in (("Find", "dog"), ("Teach", "doorbell")):
        button = part.get_by_role("button", name=button).bounding_box()
        field = part.get_by_placeholder(field).bounding_box()
        assert abs(button["y"] + button["height"] - field["y"] - field["height"]) < 3
        assert button["width"] < 0.2 * field["width"]


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)])
def test_the_part_is_accessible(page, app, theme, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{app.local_url}?__theme={theme}")
    taught(page)
    page.wait_for_timeout(500)  # what fades in has little contrast
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []

"""Takes README's pictures of the app and the widget, with recordings of ESC-50; `make pictures` runs it."""

import io
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from apps.test_browser_notebooks import serving
from conftest import find_browser
from PIL import Image
from playwright.sync_api import sync_playwright

from esc50.apps.widget_page import write_page
from esc50.audio import synthesis
from esc50.audio.sound import load_sound
from esc50.config import FIGURES_DIR, atomic_write
from esc50.dataset.clips import clip_path, find_dataset

SCENE = ("1-17367-A-10.wav", "1-187207-A-20.wav", "1-31482-A-42.wav", "1-13571-A-46.wav")
WIDTH, HEIGHT, COLOURS, MAX_BYTES = 1_200, 1_700, 256, 250_000
PATIENCE_MS = 600_000


def main():
    """Take both pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(playwright), args=["--no-sandbox"])
        take_app(browser, Path(folder))
        take_widget(browser, Path(folder))


def take_app(browser, folder):
    """A recording of some sounds in a row, as a timeline."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    from esc50.apps import web
    from esc50.classifier.predict import SoundClassifier

    root, path = find_dataset(), folder / "garden.wav"
    soundfile.write(path, np.concatenate([load_sound(clip_path(name, root)).waveform for name in SCENE]), 16_000)
    running = web.launch(SoundClassifier.load(), port=None)
    with page_of(browser, f"{running.local_url}?__theme=light") as page:
        page.locator("input[type=file]").first.set_input_files(path)
        page.locator("#events img:visible").wait_for()
        page.locator("#picture img").wait_for()
        end = page.locator(".second").bounding_box()
        save(page.screenshot(full_page=True), "screenshot_app", height=int(end["y"] + end["height"]) + 12)
    running.close(verbose=False)


def take_widget(browser, folder):
    """A synthesised siren, and the reasons for the answer."""
    clip = folder / "siren.wav"
    soundfile.write(clip, synthesis.example("siren"), 16_000)
    write_page(folder)
    with (
        serving("voila", "widget.ipynb", "--Voila.ip=127.0.0.1", folder=folder, health="/healthcheck") as url,
        page_of(browser, url) as page,
    ):
        page.get_by_alt_text("Waveform, log-mel").wait_for()
        page.get_by_label("or a path").fill(clip.name)
        page.get_by_label("or a path").press("Enter")
        page.locator(".esc50-panel").filter(has_text="siren").first.wait_for()
        page.get_by_role("button", name="Why this answer?").click()
        page.get_by_alt_text("becomes less likely").wait_for()
        save(page.locator(".esc50-widget").screenshot(), "screenshot_widget")


@contextmanager
def page_of(browser, url):
    """A page of the pictures' width, whose fonts and fades have settled."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(url, timeout=PATIENCE_MS)
    yield page
    context.close()


def save(png, name, *, height=10_000):
    """Crop a picture, reduce its colours and write it."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, height))).quantize(COLOURS)
    with atomic_write(FIGURES_DIR / f"{name}.png") as beside:
        picture.save(beside, format="png", optimize=True)
        assert beside.stat().st_size <= MAX_BYTES


if __name__ == "__main__":
    main()

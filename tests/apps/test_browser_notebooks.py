"""Notebook 06 in a real browser: in JupyterLab and in Voila it runs, and its widget answers to an uploaded file."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import nbformat
import numpy as np
import pytest
import soundfile
from helpers import free_port

from esc50.apps.widget_page import write_page
from esc50.audio import synthesis
from esc50.classifier.predict import SoundClassifier
from esc50.classifier.timeline import detect_events
from esc50.reporting import notebooks

pytestmark = [pytest.mark.browser, pytest.mark.slow]
RATE = 16_000
PATIENCE_SECONDS = 420
LAB_SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # so that every output is on the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/themes": {"theme": os.environ.get("ESC50_LAB_THEME", "JupyterLab Light")},
}


@pytest.fixture
def folder(tmp_path):
    """A copy of the notebook that writes its figures elsewhere, and a sound to upload."""
    notebook = nbformat.read(notebooks.find_notebook("06"), as_version=4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    parameters = notebook.cells[1]
    assert 'figures_dir = "figures"' in parameters.source
    parameters.source = parameters.source.replace('figures_dir = "figures"', f"figures_dir = {str(tmp_path)!r}")
    nbformat.write(notebook, tmp_path / "06_predict.ipynb")
    soundfile.write(tmp_path / "my rain.wav", synthesis.example("rain"), RATE)
    (tmp_path / "notes.wav").write_text("not a sound at all")
    return tmp_path


@contextmanager
def serving(module, *options, folder, health):
    """Run a notebook server on a free port of the loopback address; give its URL once it answers."""
    port = free_port()
    command = [sys.executable, "-m", module, "--no-browser", f"--port={port}", *options]
    log = folder / f"{module}.log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=folder, env=_environment(folder), stdout=out, stderr=out)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url + health, server, log)
        yield url
    finally:
        server.terminate()  # kernels too: both servers shut theirs down
        server.wait(30)


def _environment(folder):
    settings = folder / "settings"
    for name, values in LAB_SETTINGS.items():
        file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    places = {name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_WORKSPACES_DIR")}
    return os.environ | places | {"JUPYTERLAB_SETTINGS_DIR": str(settings), "TF_CPP_MIN_LOG_LEVEL": "3"}


def _wait_for(url, server, log):
    for _ in range(PATIENCE_SECONDS):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(1)
    raise TimeoutError(url)


@contextmanager
def page_at(browser, url):
    context = browser.new_context(viewport={"width": 1280, "height": 1700}, permissions=["microphone"])
    context.set_default_timeout(1_000 * PATIENCE_SECONDS)
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


def answer_to(page, card, file):
    """Upload a file into the widget and wait for what its card says of it."""
    with page.expect_file_chooser() as chooser:
        page.locator(".esc50-widget .widget-upload").first.click()
    chooser.value.set_files(file)
    card.filter(has_text=file.name).wait_for()
    return card.inner_text()


def use_the_widget(page, folder, picture):
    """Upload rain, record the fake microphone's siren, upload what is no sound; each gets its answer."""
    cards = page.locator(".esc50-panel")
    cards.first.wait_for()
    card = cards.first
    card.filter(has_text="car horn").wait_for()
    assert "This sounds like rain" in answer_to(page, card, folder / "my rain.wav")
    timeline, sound = page.get_by_alt_text("Timeline. "), page.get_by_alt_text("Waveform, log-mel")
    assert sound.is_visible() and timeline.count() == 0
    page.get_by_role("button", name="Why this answer?").click()
    page.get_by_alt_text("becomes less likely").wait_for()
    page.locator(".esc50-widget").screenshot(path=picture)
    rain, siren = synthesis.example("rain"), synthesis.example("siren")
    long = np.repeat(np.concatenate([siren, 0 * siren, rain]), 12)
    soundfile.write(folder / "long.wav", long, 12 * RATE, subtype="DOUBLE")
    assert (folder / "long.wav").stat().st_size > 20_000_000  # more than a notebook's server takes at once
    verdict = detect_events(SoundClassifier.load(), folder / "long.wav").verdict
    assert verdict in answer_to(page, card, folder / "long.wav")
    page.locator(".esc50-widget .events").get_by_text("siren", exact=True).wait_for()
    page.get_by_role("button", name="Play rain").click()
    page.wait_for_function("document.querySelector('.esc50-widget audio').currentTime > 10.1")
    sound.wait_for()
    assert timeline.bounding_box()["y"] < sound.bounding_box()["y"]
    page.locator(".esc50-widget").screenshot(path=picture.with_stem(f"{picture.stem}_timeline"))
    record = page.locator(".esc50-record").first
    record.click()
    page.get_by_text("Stop (3 s)").click()
    card.filter(has_text="your recording").wait_for()
    assert "siren" in card.inner_text()
    refused = answer_to(page, card, folder / "notes.wav")
    assert "notes.wav" in refused
    assert "not sound" in refused
    assert "Traceback" not in page.content()


def teach_a_class(page, folder, picture):
    """Three slide whistles, taught and heard; then a class without clips, which is refused."""
    page.get_by_text("Teach a class").last.click()
    for name, start_hz, end_hz in (("1", 300, 1_500), ("2", 600, 2_000), ("3", 900, 2_500), ("unheard", 500, 1_800)):
        glide = synthesis.chirp(start_hz=start_hz, end_hz=end_hz, seconds=2, amplitude=0.4)
        soundfile.write(folder / f"whistle {name}.wav", glide, RATE)
    panel = page.locator(".esc50-widget .widget-accordion")
    panel.get_by_label("Class name").fill("slide whistle")
    with page.expect_file_chooser() as chooser:
        panel.locator(".widget-upload").click()
    chooser.value.set_files(sorted(folder.glob("whistle [123].wav")))
    card = panel.locator(".esc50-panel")
    card.filter(has_text="3 sounds of yours").wait_for()
    panel.get_by_role("button", name="Teach").last.click()
    card.filter(has_text="Learnt “slide whistle” from 3 sounds").wait_for()
    assert "% before and is" in card.inner_text()
    panel.screenshot(path=picture)
    answer = answer_to(page, page.locator(".esc50-panel").first, folder / "whistle unheard.wav")
    assert "This sounds like a slide whistle" in answer
    panel.get_by_role("button", name="Teach").last.click()
    card.filter(has_text="the new class has no name").wait_for()


def test_jupyterlab_runs_the_notebook_and_its_widget_answers(browser, folder, screenshots):
    options = ["--ServerApp.token=", "--ServerApp.password=", "--allow-root", f"--ServerApp.root_dir={folder}"]
    with (
        serving("jupyterlab", *options, folder=folder, health="/api/status") as url,
        page_at(browser, f"{url}/lab/tree/06_predict.ipynb") as page,
    ):
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").first.wait_for(state="attached")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.locator(".jp-RenderedMarkdown").filter(has_text="on other recordings, fewer").last.wait_for()
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        use_the_widget(page, folder, screenshots / "widget_jupyterlab.png")


def test_voila_shows_the_widget_alone(browser, folder, screenshots):
    options = [write_page(folder).name, "--Voila.ip=127.0.0.1"]
    with serving("voila", *options, folder=folder, health="/healthcheck") as url, page_at(browser, url) as page:
        use_the_widget(page, folder, screenshots / "widget_voila.png")
        teach_a_class(page, folder, screenshots / "widget_teach.png")

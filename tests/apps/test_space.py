"""The folder for Hugging Face Spaces: its versions are the lock's, and the app runs from it alone."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import yaml
from gradio_client import Client, handle_file
from helpers import free_port

from esc50.apps import space
from esc50.audio import synthesis
from esc50.config import PROJECT_DIR, ResultsError

# import names of what the app does without
BLOCKED = [
    "anywidget",
    "ipywidgets",
    "joblib",
    "jupyterlab",
    "keras",
    "librosa",
    "onnx",
    "papermill",
    "playwright",
    "pytest",
    "scipy",
    "sklearn",
    "tensorflow",
    "tensorflow_hub",
    "tf_keras",
    "voila",
]
ALONE = """
import runpy, sys
for name in {blocked}:
    sys.modules[name] = None  # an import of it fails
sys.argv = ["main.py", "--port={port}"]
runpy.run_path("main.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return space.write_space(tmp_path_factory.mktemp("spaces") / "space")


def pins_of(path):
    return dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), flags=re.M))


def front_matter(folder):
    _, block, _ = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(block)


def test_the_front_matter_names_the_locked_gradio_and_the_app(folder):
    matter = front_matter(folder)
    assert matter["sdk"] == "gradio"
    assert matter["sdk_version"] == pins_of(PROJECT_DIR / "requirements.lock")["gradio"]
    assert (folder / matter["app_file"]).read_text() == (PROJECT_DIR / "main.py").read_text()
    assert len(matter["short_description"]) <= 60  # what Spaces takes


def test_the_requirements_are_the_locked_versions_of_what_the_app_needs(folder):
    found = pins_of(folder / "requirements.txt")
    assert found.items() <= pins_of(PROJECT_DIR / "requirements.lock").items()
    assert {"gradio", "matplotlib", "numpy", "onnxruntime", "soxr", "fastapi"} <= set(found)
    assert not {"jupyterlab", "librosa", "pytest", "scipy", "tensorflow"} & set(found)
    assert "--hash" not in (folder / "requirements.txt").read_text()


def test_models_and_licences_are_in_the_folder(folder):
    for name in ("NOTICE", "LICENSE", "LICENSES/Apache-2.0.txt"):
        assert (folder / name).read_bytes() == (PROJECT_DIR / name).read_bytes()
    models = {path.name for path in (folder / "esc50/models").iterdir()}
    assert models == {path.name for path in (PROJECT_DIR / "esc50/models").iterdir()}


@pytest.mark.slow
def test_the_app_runs_from_the_folder_alone_and_leaves_no_file(folder, tmp_path):
    """As a Space runs it; stopped by a signal, it has deleted what was uploaded."""
    soundfile.write(tmp_path / "siren.wav", synthesis.example("siren"), 16_000)
    cache = tmp_path / "cache"
    cache.mkdir()
    environment = os.environ | {"PYTHONPATH": str(folder), "TMPDIR": str(cache)}
    command = [sys.executable, "-c", ALONE.format(blocked=BLOCKED, port=free_port())]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as program:
        try:
            url = re.search(r"The app runs at (\S+)", program.stdout.readline())[1]
            found = Client(url, verbose=False).predict(handle_file(tmp_path / "siren.wav"), api_name="/predict")
            assert found["top"][0]["class_name"] == "siren"
            assert list(cache.rglob("siren.wav"))
        finally:
            program.send_signal(signal.SIGTERM)
    assert not list(cache.rglob("siren.wav"))


def test_a_space_that_cannot_be_replaced_stays(folder, monkeypatch):
    (folder / "mine.txt").touch()
    replace = Path.replace

    def stop(path, target):
        if target == folder and path.name == folder.name:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", stop)
        space.write_space(folder)
    assert (folder / "mine.txt").exists()
    assert {path.name for path in folder.parent.iterdir()} == {"space"}
    (folder / "mine.txt").unlink()


def test_a_space_is_replaced_but_nothing_else(folder, tmp_path):
    (folder / "stale.txt").touch()
    assert space.write_space(folder) == folder
    assert not (folder / "stale.txt").exists()
    assert {path.name for path in folder.parent.iterdir()} == {"space"}
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ResultsError, match="is not a Space"):
        space.write_space(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

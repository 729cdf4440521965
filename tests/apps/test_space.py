"""The folder for Hugging Face Spaces: its pins agree with the project's, and the app runs from it alone."""

import os
import re
import signal
import socket
import subprocess
import sys
import tomllib

import pytest
import soundfile
import yaml
from gradio_client import Client, handle_file

from esc50.apps import space
from esc50.audio import synthesis
from esc50.classifier.model_io import CLASSIFIER_FILE
from esc50.classifier.predict import SoundClassifier
from esc50.config import FEATURES_DIR, PROJECT_DIR, ResultsError
from esc50.dataset.clips import class_names
from esc50.yamnet.frames import GOLDEN_FILE
from esc50.yamnet.hub_module import YAMNET_VARIABLE, _find_source

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


def pins():
    lines = (PROJECT_DIR / "constraints.txt").read_text().splitlines()
    return {normalise(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


def normalise(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def front_matter(folder):
    _, block, _ = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(block)


def test_the_front_matter_names_the_pinned_gradio_python_and_the_app(folder):
    matter = front_matter(folder)
    assert matter["sdk"] == "gradio"
    assert matter["sdk_version"] == pins()["gradio"]
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())["project"]
    assert project["requires-python"].startswith(f">={matter['python_version']},")
    assert (folder / matter["app_file"]).read_text() == (PROJECT_DIR / "main.py").read_text()
    assert len(matter["short_description"]) <= 60  # what Spaces takes


def test_the_requirements_are_the_pins_of_what_the_app_needs(folder):
    lines = (folder / "requirements.txt").read_text().splitlines()
    found = dict(line.split("==") for line in lines if "==" in line)
    assert found.items() <= pins().items()
    assert {line for line in lines if "==" not in line} <= {"setuptools", "wheel"}  # pip's own, never pinned
    assert {"tensorflow", "gradio", "librosa", "soxr", "fastapi", "llvmlite"} <= set(found)
    assert not {"jupyterlab", "voila", "pytest", "playwright"} & set(found)


@pytest.mark.yamnet
def test_the_app_runs_from_the_folder_alone_and_leaves_no_file(folder, tmp_path):
    """As a Space runs it; stopped by a signal, it has deleted what was uploaded."""
    soundfile.write(tmp_path / "siren.wav", synthesis.example("siren"), 16_000)
    cache = tmp_path / "cache"
    cache.mkdir()
    environment = os.environ | {"PYTHONPATH": str(folder), "TMPDIR": str(cache), YAMNET_VARIABLE: yamnet_folder()}
    code = ALONE.format(blocked=sorted(space.NOTEBOOK_PACKAGES | {"nbval", "playwright", "pytest"}), port=free_port())
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as program:
        try:
            url = re.search(r"The app runs at (\S+)", program.stdout.readline())[1]
            found = Client(url, verbose=False).predict(handle_file(tmp_path / "siren.wav"), api_name="/predict")
            assert found["top"][0]["class_name"] == "siren"
            assert found["probabilities"]["siren"] == pytest.approx(
                of_the_default_model(tmp_path / "siren.wav"), abs=1e-6
            )
            assert list(cache.rglob("siren.wav"))
        finally:
            program.send_signal(signal.SIGTERM)
    assert not list(cache.rglob("siren.wav"))


def of_the_default_model(path):
    return SoundClassifier.load().predict(path).probabilities[class_names().index(path.stem)]


def test_the_default_model_and_all_that_it_reads_is_in_the_folder(folder):
    for file in (CLASSIFIER_FILE, CLASSIFIER_FILE.with_suffix(".json"), FEATURES_DIR / "yamnet.npz", GOLDEN_FILE):
        assert (folder / file.relative_to(PROJECT_DIR)).read_bytes() == file.read_bytes()


def yamnet_folder():
    return str(_find_source().folder)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_space_is_replaced_but_nothing_else(folder, tmp_path):
    (folder / "stale.txt").touch()
    assert space.write_space(folder) == folder
    assert not (folder / "stale.txt").exists()
    assert {path.name for path in folder.parent.iterdir()} == {"space"}
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ResultsError, match="is not a Space"):
        space.write_space(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

"""The wheel in an empty environment works in another folder, without HOME, network, checkout or study packages."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import soundfile
from helpers import NO_NETWORK

from esc50.audio import synthesis
from esc50.config import PROJECT_DIR

pytestmark = pytest.mark.slow

SOURCES = ("esc50", "pyproject.toml", "README.md", "LICENSE", "LICENSES", "NOTICE")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
HIDDEN = {
    "HOME",
    "USERPROFILE",
    "XDG_CACHE_HOME",
    "PYTHONPATH",
    "ESC50_DATA",
}  # variables that the runtime does without


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: what an earlier build left in build/ must not get in."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        source = PROJECT_DIR / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, copy]
    run_to_the_end(build)
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment with the wheel, what it requires at the locked versions, and nothing else."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    constraints = folder.parent / "constraints.txt"
    constraints.write_text("\n".join(pins()))
    python = folder / SCRIPTS / "python"
    if shutil.which("uv") and not subprocess.run(["uv", "--version"], capture_output=True).returncode:
        commands = [["uv", "venv", "--python", sys.executable, folder], ["uv", "pip", "install", "--python", python]]
    else:
        commands = [[sys.executable, "-m", "venv", folder], [python, "-m", "pip", "install"]]
    commands[1] += ["--quiet", "--constraint", constraints, wheel]
    for command in commands:
        run_to_the_end(command)
    [packages] = [path for path in folder.rglob("site-packages") if (path / "esc50").is_dir()]
    (packages / "sitecustomize.py").write_text(NO_NETWORK)
    return folder


def run_to_the_end(command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def pins():
    """The lines of the lock without hashes, which pip would then demand for the wheel too."""
    lines = (PROJECT_DIR / "requirements.lock").read_text().splitlines()
    return [line.removesuffix(" \\") for line in lines if re.match(r"[\w.-]+==", line)]


@pytest.fixture(scope="module")
def run(environment, tmp_path_factory):
    """Run a command of the environment in a folder that must stay as it is."""
    folder = tmp_path_factory.mktemp("elsewhere")
    soundfile.write(folder / "siren.wav", synthesis.example("siren"), 16_000)
    folder.chmod(0o555)
    variables = {name: value for name, value in os.environ.items() if name not in HIDDEN}

    def run_in_folder(program, *arguments):
        before = files_of(folder, environment)
        command = [environment / SCRIPTS / program, *arguments]
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, encoding="utf-8")
        assert files_of(folder, environment) == before  # root may write even where the mode forbids it
        return done

    yield run_in_folder
    folder.chmod(0o755)


def files_of(*folders):
    paths = [path for folder in folders for path in folder.rglob("*")]
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file() and "__pycache__" not in path.parts}


def test_the_wheel_has_models_and_licences_but_nothing_of_the_checkout(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"esc50"}
    assert [name for name in names if name.startswith("esc50/models/") and name.endswith(".onnx")]
    licences = {name.split("/licenses/")[1] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE", "LICENSES/Apache-2.0.txt"}
    assert "esc50/py.typed" in names and "esc50/apps/recorder.js" in names


def test_the_runtime_needs_nothing_of_the_study(run):
    names = ("tensorflow", "keras", "pandas", "sklearn", "scipy", "matplotlib", "librosa", "gradio")
    code = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    assert run("python", "-c", code).stdout == "[]\n"


def test_predict(run):
    done = run("esc50", "predict", "--format", "csv", "siren.wav")
    assert done.returncode == 0, done.stderr
    first = next(csv.DictReader(io.StringIO(done.stdout)))
    assert (first["file"], first["class_name"]) == ("siren.wav", "siren")


def test_predict_timeline(run):
    done = run("esc50", "predict", "--timeline", "--format", "csv", "siren.wav")
    assert done.returncode == 0, done.stderr
    assert "siren" in {row["class_name"] for row in csv.DictReader(io.StringIO(done.stdout))}


def test_embed(run, tmp_path):
    done = run("esc50", "embed", "--output", tmp_path / "sounds.npz", "siren.wav")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "sounds.npz") as rows:
        assert rows["embeddings"].shape[1] == 1024 and len(rows["embeddings"]) == len(rows["start_seconds"])


def test_from_python(run):
    code = "from esc50 import SoundClassifier; print(SoundClassifier.load().predict('siren.wav').verdict)"
    done = run("python", "-c", code)
    assert "siren" in done.stdout, done.stderr


@pytest.mark.parametrize(("command", "extra"), [("train", "study"), ("readme", "study"), ("run", "notebook")])
def test_commands_of_the_study_say_in_one_line_what_they_need(run, command, extra):
    done = run("esc50", command)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "checkout" in line and f"pip install 'esc50[{extra}]'" in line


def test_the_app_says_in_one_line_which_extra_it_needs(run):
    done = run("esc50", "app")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "pip install 'esc50[app]'" in line

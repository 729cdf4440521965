"""The app as a Hugging Face Space: a folder ready to push, with the versions that the app was tested with."""

import re
import shutil
import tempfile
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from esc50.config import BUILD_DIR, PROJECT_DIR, ResultsError

SPACE_DIR = BUILD_DIR / "space"
NOTEBOOK_PACKAGES = {"ipykernel", "ipywidgets", "jupyterlab", "papermill", "voila"}  # what the app does without
FILES = (
    "main.py",
    "LICENSE",
    "esc50",
    "data/features/yamnet.npz",
    "data/meta/esc50.csv",
    "data/models/audio-classifier.json",
    "data/models/audio-classifier.keras",
)
SYSTEM_PACKAGES = "ffmpeg\n"  # for m4a and webm
LARGE_FILES = "*.npz filter=lfs diff=lfs merge=lfs -text\n*.keras filter=lfs diff=lfs merge=lfs -text\n"
# https://huggingface.co/docs/hub/spaces-config-reference
README = """---
title: What do we hear?
emoji: 👂
colorFrom: indigo
colorTo: blue
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: main.py
license: cc-by-nc-3.0
short_description: Which of 50 environmental sounds is it, or none of them?
---

# What do we hear?

Give it a sound and see which of the 50 classes of [ESC-50](https://github.com/karolpiczak/ESC-50) it is taken for, or
that it is none of them. YAMNet listens in frames of 0.96 s, a small dense head names them. YAMNet (Apache-2.0, by the
Google AudioSet team) is fetched at the first start.

The code is MIT; the head was trained on ESC-50 (K. J. Piczak, ACM Multimedia 2015, CC BY-NC 3.0) and is for
non-commercial use like it. No recording of ESC-50 is in this Space: the examples are made by code.

This folder was written by `python -m esc50 space`.
"""


def write_space(folder=SPACE_DIR):
    """Write the folder of a Space.

    Parameters
    ----------
    folder : path-like
        Made here; an earlier one of the same name is replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ResultsError
        The folder holds something that is not a Space, and is left as it is.
    """
    folder = Path(folder)
    if folder.exists() and not _is_space(folder):
        raise ResultsError(f"{folder} is there and is not a Space: choose another --output")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".space-") as scratch:
        beside = Path(scratch) / folder.name
        _fill(beside)
        if folder.exists():
            folder.replace(Path(scratch) / "old")
        beside.replace(folder)
    return folder


def space_requirements():
    """Every package that the app needs, and what these need in turn, with the project's pins.

    Returns
    -------
    list of str
        Lines of a ``requirements.txt``, such as ``gradio==6.31.0``.
    """
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed, waiting = set(), [Requirement(name) for name in project["dependencies"] if name not in NOTEBOOK_PACKAGES]
    while waiting:
        requirement = waiting.pop()
        key = canonicalize_name(requirement.name), tuple(sorted(requirement.extras))
        if key not in needed:
            needed.add(key)
            waiting += _needs_of(requirement)
    pins = _pins()
    return sorted({f"{name}=={pins[name]}" if name in pins else name for name, _ in needed})


def _fill(folder):
    for name in FILES:
        source, target = PROJECT_DIR / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    texts = {
        "README.md": README.format(gradio=_pins()["gradio"]),
        "requirements.txt": "\n".join(space_requirements()) + "\n",
        "packages.txt": SYSTEM_PACKAGES,
        ".gitattributes": LARGE_FILES,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _is_space(folder):
    readme = folder / "README.md"
    return readme.is_file() and "sdk: gradio" in readme.read_text(encoding="utf-8")


def _pins():
    lines = (PROJECT_DIR / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (re.fullmatch(r"([\w.-]+)==(\S+)", line) for line in lines)
    return {canonicalize_name(pair[1]): pair[2] for pair in pairs if pair}


def _needs_of(requirement):
    """Requirements of an installed package on this machine, those of the wanted extras included."""
    every = [Requirement(text) for text in requires(requirement.name) or []]
    extras = ("", *requirement.extras)
    return [need for need in every if not need.marker or any(need.marker.evaluate({"extra": e}) for e in extras)]

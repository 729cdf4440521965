"""The app as a Hugging Face Space: a folder ready to push, with the versions that the app was tested with."""

import re
import shutil
import tempfile
from pathlib import Path

from esc50.config import BUILD_DIR, PROJECT_DIR, ResultsError

SPACE_DIR = BUILD_DIR / "space"
FILES = ("main.py", "LICENSE", "LICENSES", "NOTICE", "esc50")
REQUIREMENTS = "requirements-app.txt"  # without hashes: a Space is built by a pip call that names other packages too
LARGE_FILES = "*.npz filter=lfs diff=lfs merge=lfs -text\n*.onnx filter=lfs diff=lfs merge=lfs -text\n"
# https://huggingface.co/docs/hub/spaces-config-reference
README = """---
title: What do we hear?
emoji: 👂
colorFrom: indigo
colorTo: blue
sdk: gradio
sdk_version: {gradio}
python_version: "3.12"
app_file: main.py
license: cc-by-nc-3.0
short_description: Which of 50 environmental sounds is it, or none of them?
---

# What do we hear?

Give it a sound and see which of the 50 classes of [ESC-50](https://github.com/karolpiczak/ESC-50) it is, or that it is
none of them. YAMNet (Apache-2.0, by the Google AudioSet team) analyses it in frames of 0.96 s, and a small dense head
classifies them.

The code is MIT; the head was trained on ESC-50 (K. J. Piczak, ACM Multimedia 2015, CC BY-NC 3.0) and is for
non-commercial use like it: see NOTICE. No recording of ESC-50 is in this Space: the examples are made by code.

This folder was written by `esc50 space`.
"""


def write_space(folder=SPACE_DIR):
    """Write the folder of a Space; an earlier one is replaced, anything else is left as it is and refused."""
    folder = Path(folder)
    check_replaceable(folder, "space", "a Space")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".space-") as scratch:
        beside, old = Path(scratch) / folder.name, Path(scratch) / "old"
        _fill(beside)
        try:
            if folder.exists():
                folder.replace(old)
            beside.replace(folder)
        finally:
            if old.exists() and not folder.exists():
                old.replace(folder)  # stopped in between
    return folder


def _fill(folder):
    folder.mkdir()
    for source in (PROJECT_DIR / name for name in FILES):
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / source.name)
    requirements = (PROJECT_DIR / REQUIREMENTS).read_text(encoding="utf-8")
    texts = {
        "README.md": README.format(gradio=re.search(r"^gradio==(\S+)", requirements, flags=re.M)[1]),
        "requirements.txt": requirements,
        ".gitattributes": LARGE_FILES,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def check_replaceable(folder, command, kind):
    """Refuse a folder that is neither missing nor empty nor, by its README, written by the same command."""
    readme = folder / "README.md"
    if readme.is_file() and f"was written by `esc50 {command}`" in readme.read_text(encoding="utf-8", errors="replace"):
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ResultsError(f"{folder} is there and is not {kind}: choose another --output")

"""Rewrite notebooks in the form in which they are committed; exit with code 1 if any was changed."""

import sys
from pathlib import Path

import nbformat

from esc50.reporting.notebooks import tidy


def tidy_file(path):
    """Rewrite the file if it is not tidy; return whether it was changed."""
    before = path.read_text(encoding="utf-8")
    after = nbformat.writes(tidy(nbformat.reads(before, as_version=4))) + "\n"
    if after != before:
        path.write_text(after, encoding="utf-8")
        print(f"tidied {path}")
    return after != before


if __name__ == "__main__":
    sys.exit(any([tidy_file(Path(name)) for name in sys.argv[1:]]))

"""Files that are written whole or not at all."""

import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path):
    """Write a file beside its place and rename it when all is well; otherwise the old one stays.

    Parameters
    ----------
    path : Path
        The file to make or replace; its folder is made where it is missing.

    Returns
    -------
    context manager
        Gives the path to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
        beside = Path(scratch) / path.name
        yield beside
        beside.replace(path)

"""Where commands write: a file, whole or not at all, a device or a pipe; never over a recording or an input."""

import errno
import os
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from esc50.config import OutputError, atomic_write, find_stream, open_stream

STANDARD = "-"  # input or output
TEXT = {"mode": "w", "encoding": "utf-8", "errors": "backslashreplace", "newline": ""}


@contextmanager
def open_output(output, inputs, *, mode, **how):
    """Open what is written to: a file by its path, or the standard output (None or "-").

    A plain file appears under its name only when all is well: raise, if only click's `Exit`, and the old one stays.
    None of the inputs, which are names of files, "-" or None, and no recording is overwritten. `TEXT` is how text is
    opened.
    """
    from esc50.classifier.formats import check_output, printable  # opens sounds, which a help text need not

    is_standard = output is None or str(output) == STANDARD
    name = "the standard output" if is_standard else printable(output)
    _refuse_inputs(1 if is_standard else output, inputs, name)
    if not is_standard:
        check_output(output)
    try:
        with _standard_output(mode) if is_standard else _open(output, mode, **how) as file:
            yield file
    except OSError as error:
        if error.errno == errno.EPIPE:  # who read it has enough: click ends quietly
            raise
        fault = f"{name} cannot be written ({error.strerror or error}): choose another place"
        raise click.ClickException(fault) from error


def _open(output, mode, **how):
    stream = find_stream(output)
    return _replacing(output, mode, **how) if stream is None else open_stream(stream, mode, **how)


@contextmanager
def _replacing(output, mode, **how):
    """Collect in a file without a name, beside the place, what then appears there."""
    if output.exists():
        output.open("ab").close()  # refuses what this user may not write, before the work is done
    folder = Path(os.path.realpath(output)).parent
    with tempfile.TemporaryFile(mode.replace("w", "w+"), dir=folder, **how) as store:
        yield store
        store.seek(0)
        with atomic_write(output) as beside, beside.open(mode, **how) as file:
            shutil.copyfileobj(store, file)


@contextmanager
def _standard_output(mode):
    if sys.stdout is None:
        raise OutputError("the standard output is closed: give --output")
    yield sys.stdout.buffer if "b" in mode else sys.stdout


def _refuse_inputs(output, inputs, name):
    from esc50.classifier.formats import NAME_OUTPUT

    found = _identify(output)
    if found and found in (_identify(0 if file == STANDARD else file) for file in inputs):
        raise OutputError(f"{name} is one of the files to read, and would be overwritten: {NAME_OUTPUT}")


def _identify(file):
    """Device and number of a plain file, the same for each of its names; else None."""
    with suppress(OSError, ValueError, TypeError):
        found = os.stat(file)  # noqa: PTH116  (it may be the number of an open file)
        return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None

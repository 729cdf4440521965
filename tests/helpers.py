"""What test modules share: a free port, a terminal, a sound, and what to do where something is missing."""

import os
import socket
from contextlib import suppress

import numpy as np
import pytest

from esc50.audio import synthesis
from esc50.config import PROJECT_DIR

MICROPHONE_EXAMPLE = "siren"  # what the browser's fake microphone gives, again and again
NO_NETWORK = """
import socket
def refuse(*_):
    raise OSError("this test allows no network")
socket.socket.connect = socket.getaddrinfo = refuse
"""  # as sitecustomize.py of an environment


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def whistle(seed):
    """A slide whistle: a tone that glides up or down, and a little noise."""
    rng = np.random.default_rng(seed)
    low, high, seconds = rng.uniform(300, 900), rng.uniform(1_500, 2_500), rng.uniform(1.2, 3)
    start, end = (low, high) if seed % 2 else (high, low)
    glide = synthesis.chirp(start_hz=start, end_hz=end, seconds=seconds, amplitude=0.4)
    return glide + rng.normal(0, 0.003, len(glide)).astype(np.float32)


def rms(waveform):
    return np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))


def tick_labels(axis):
    axis.axes.figure.canvas.draw()
    return [label.get_text() for label in axis.get_ticklabels()]


def skip_or_fail(reason):
    """Skip a test that lacks something, but not in continuous integration, which must run it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def refuse_to_list(monkeypatch, folder):
    """Let a folder be one that may not be listed; root may list every one."""
    scandir = os.scandir

    def refuse(top="."):
        if str(top) == str(folder):
            raise PermissionError(13, "Permission denied", str(top))
        return scandir(top)

    monkeypatch.setattr(os, "scandir", refuse)


def at_a_terminal(script, *, folder=".", columns=80, stop_at=None):
    """What a script of the shell shows on a terminal; Ctrl-C is pressed as soon as `stop_at` is shown."""
    import fcntl
    import pty
    import struct
    import termios

    process, terminal = pty.fork()
    if process == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(PROJECT_DIR)
        os.execvp("bash", ["bash", "-c", script])
    shown = b""
    with suppress(OSError):  # the end
        while part := os.read(terminal, 10_000):
            shown += part
            if stop_at and stop_at in shown:
                os.write(terminal, b"\x03")
                stop_at = None
    os.waitpid(process, 0)
    return shown.decode()

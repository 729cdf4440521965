"""The process of a command: by a signal, a full disk or a closed output it ends in one line, with nothing half-made."""

import atexit
import os
import signal
import sys
import time
from contextlib import suppress

SIGNALS = tuple(  # those that the system has
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
CAN_ASK_AGAIN = hasattr(signal, "setitimer")
PATIENCE_SECONDS = 2.0  # who sends a second signal sooner means the same; later, the process ends at once
MAX_SECONDS = 10.0  # after the first signal
AGAIN_SECONDS = 0.01  # until it ends: the exception may have had to wait, or got lost


def main(*arguments, **options):
    """Run the command line."""
    stop = _Stop()
    try:
        from esc50.apps.cli import cli  # takes a tenth of a second, in which a signal may come

        cli(*arguments, **options)
    except OSError as error:
        sys.exit(f"Error: {error.filename or 'output'}: {error.strerror or error}")
    finally:
        _let_go_of_output()
        stop.finish()


class Stopped(SystemExit):
    """A signal came: unwinds the program, so that every temporary file is deleted."""


class _Stop:
    """Raises `Stopped` on a signal, and again where it got lost."""

    def __init__(self):
        self.number, self.since, self.is_over = None, None, False
        self.taken = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]  # as nohup sets it
        for each in self.taken:
            signal.signal(each, self)
        atexit.register(self.leave)  # the first that is registered comes last

    def __call__(self, number, frame):
        """Take a signal."""
        patience = PATIENCE_SECONDS if self.is_over or number in self.taken else MAX_SECONDS
        if self.since is not None and time.monotonic() - self.since > patience:
            os._exit(128 + (self.number or number))  # something hangs, as a thread whose lock was never released
        if self.is_over or _is_unwinding():
            return
        if self.number is None:
            self.number, self.since = number, time.monotonic()
            _say(f"Stopped by {signal.Signals(number).name}.")
            self.ask_again(AGAIN_SECONDS)
        if not (CAN_ASK_AGAIN and _is_in_extension(frame)):
            raise Stopped(128 + self.number)

    def ask_again(self, seconds):
        """Have this called soon, and again; 0: no more."""
        if CAN_ASK_AGAIN:
            signal.signal(signal.SIGALRM, self)
            signal.setitimer(signal.ITIMER_REAL, seconds, seconds)

    def finish(self):
        """Leave the rest to Python's own end; if stopped, exit so, whatever was made of the exception on its way."""
        self.is_over, self.since = True, self.since or time.monotonic()
        if self.number is not None:
            sys.exit(128 + self.number)

    def leave(self):
        """Let no signal disturb the last moments; if stopped at a terminal, end as a shell's loop expects."""
        self.ask_again(0.0)
        for each in self.taken:
            signal.signal(each, signal.SIG_IGN)
        if os.name == "posix" and self.number == signal.SIGINT and sys.stdin is not None and sys.stdin.isatty():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)


def _is_in_extension(frame):
    """Whether a compiled module is just being imported, some of which abort when an exception comes by."""
    while frame is not None and not frame.f_code.co_qualname.startswith("ExtensionFileLoader."):
        frame = frame.f_back
    return frame is not None


def _is_unwinding():
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error is not None


def _say(line):
    """Write to stderr as a signal's handler may, which can come in the middle of any other writing."""
    if sys.stderr is not None:  # closed by the caller; its number may be that of another file by now
        after_bar = "\n" if os.isatty(2) else ""
        with suppress(OSError):
            os.write(2, f"{after_bar}{line}\n".encode())


def _let_go_of_output():
    """Write what waits to be written; where that fails, as has been told, Python shall not try it again."""
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):
        sys.stdout = None

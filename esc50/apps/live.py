"""``esc50 live``: report sound events as they happen, from the microphone or through a pipe."""

import json
import shutil
import signal
import sys
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import chain
from queue import SimpleQueue
from threading import Semaphore, Thread

import click
import numpy as np

from esc50.apps.commands import CLASSES, KEEP, MODEL, Esc50Command, is_terminal
from esc50.apps.outputs import STANDARD
from esc50.apps.start import SIGNALS
from esc50.config import AudioError, AudioSettings

BLOCK_SECONDS = 0.1  # that are taken at once
MAX_WAITING = 64  # pieces that are read from a pipe ahead of the classifier
LEVELS = " ▁▂▃▄▅▆▇█"
DECIBELS_PER_LEVEL = 6
MOST_COLUMNS = 79
ONGOING_SECONDS = 1.5  # an event that ended no longer ago still goes on
NO_HEADER = "standard input has no header of a sound ({}): pipe wav, or give the --rate of raw 16-bit samples"
BROKEN = "standard input is damaged, or its format changes ({}): start again what sends it"
NO_PORTAUDIO = "the microphone needs the library PortAudio: install it (Debian: apt install libportaudio2)"
NO_MICROPHONE = "no microphone can be opened ({}): plug one in, name one by --device, or pipe sound to `esc50 live -`"
UNPLUGGED = "the microphone gives no more sound: plug it in and start again"
NO_FILE = "`esc50 live` takes the microphone, or - for a pipe; for a file: `esc50 predict --timeline {}`"


def _check_source(ctx, parameter, source):
    if source not in (None, STANDARD):
        raise click.UsageError(NO_FILE.format(source))
    return source


@click.command(cls=Esc50Command, extra="live", short_help="Report sound events as they happen.")
@click.argument("source", required=False, metavar="[-]", callback=_check_source)
@click.option("--only", multiple=True, metavar="CLASS,…", help="Report these classes alone, such as siren,dog.")
@click.option("--rate", type=click.IntRange(1_000, 384_000), help="Sample rate of raw 16-bit samples on a pipe, in Hz.")
@click.option("--channels", type=click.IntRange(1, 32), help="Channels of raw samples, by default 1.")
@click.option("--device", help="Name of the microphone, or a part of it, where there are several.")
@MODEL
@KEEP
@CLASSES
@click.pass_context
def live(ctx, source, only, rate, channels, device, model, **load):
    """Report sound events as they happen: each when it begins, and again when it is over.

    Sound comes from the microphone, or with "-" from standard input: wav, mp3, ogg and others, or raw samples. The
    end of an event is reported some ten seconds late, when no later sound can change it; it is then the same as in
    `esc50 predict --timeline`. A false start is withdrawn.

    On a terminal you get lines to read, elsewhere a line of JSON for each change: "event" is begin, end or withdrawn.

    \b
    Examples:
      esc50 live --only siren,dog
      arecord -f S16_LE -r 48000 | esc50 live -
      arecord -t raw -f S16_LE -r 16000 | esc50 live - --rate 16000 >> sounds.jsonl
    """  # noqa: D301  (click's \b keeps the lines of the examples)
    from esc50.classifier.live import stream_events
    from esc50.classifier.predict import SoundClassifier

    if rate and source is None:
        raise click.UsageError("--rate describes raw samples on standard input: add -")
    if channels and not rate:
        raise click.UsageError("--channels describes raw samples: give their --rate too")
    classifier = SoundClassifier.load(model, **load)
    wanted = _class_names(only, classifier.class_names)
    with _read_pipe(rate, channels or 1) if source else _record(device) as feed, _ending_by_signal(feed):
        ctx.obj.cancel()
        click.echo(f"Listening to {feed.name} (stop with Ctrl-C) …", err=True)
        with _screen(None if source else datetime.now()) if is_terminal(sys.stdout) else _json_lines() as out:
            stream_events(classifier, out.watch(_sound_of(feed)), _Filter(out.tell, wanted))
        if feed.error:
            raise feed.error


class _Feed:
    """Pieces of sound from another thread, (sample rate, samples), until it ends; `end` may be called by a signal."""

    def __init__(self, name):
        self.name, self.pieces, self.room = name, SimpleQueue(), Semaphore(MAX_WAITING)
        self.error = None  # why it is over, where that is no good end

    def put(self, piece):
        """Give a piece, whoever waits."""
        self.pieces.put(piece)

    def end(self, error=None):
        """Let it be over after what was given, well or by an error."""
        self.pieces.put(error)

    def __iter__(self):
        """Yield each piece as soon as it is there."""
        while isinstance(piece := self.pieces.get(), tuple):
            self.room.release()
            yield piece
        self.error = piece


def _sound_of(feed):
    """Blocks of mono float32 at 16 kHz."""
    from esc50.audio.streams import SoundStream

    pieces = iter(feed)
    rate, samples = first = next(pieces, (None, None))
    if rate is None:
        raise feed.error or AudioError(f"no sound came from {feed.name}: is the program before the pipe running?")
    n_channels = samples.shape[1]
    block = round(rate * BLOCK_SECONDS) * n_channels
    return SoundStream(rate, n_channels, chain([first], pieces), name=feed.name, block_samples=block)


@contextmanager
def _read_pipe(rate, channels):
    if sys.stdin is None:
        raise AudioError("standard input is closed: pipe sound to it")
    feed = _Feed("standard input")
    Thread(target=_pump, args=(sys.stdin.buffer, feed, rate, channels), daemon=True).start()
    yield feed


def _pump(pipe, feed, rate, channels):
    from esc50.audio.ffmpeg import FFmpegError, decode_pipe

    refusal = NO_HEADER
    try:
        for piece in decode_pipe(pipe, raw_sample_rate_hz=rate, raw_channels=channels):
            feed.room.acquire()
            feed.put(piece)
            refusal = BROKEN
        feed.end()
    except AudioError as error:
        feed.end(error)
    except (FFmpegError, IndexError) as error:
        feed.end(AudioError(refusal.format(getattr(error, "strerror", None) or "no audio track in it")))


@contextmanager
def _record(device):
    try:
        import sounddevice
    except OSError as error:
        raise AudioError(NO_PORTAUDIO) from error
    feed = _Feed("the microphone")
    about = {"device": device, "channels": 1, "dtype": "int16"}
    about |= {"callback": lambda samples, *_: feed.put((rate, samples.copy()))}
    try:
        microphone = sounddevice.InputStream(**about, finished_callback=lambda: feed.end(AudioError(UNPLUGGED)))
        rate = float(microphone.samplerate)
        with microphone:
            yield feed
    except (sounddevice.PortAudioError, ValueError) as error:  # a device that is not there
        raise AudioError(NO_MICROPHONE.format(str(error).partition("\n")[0])) from error


@contextmanager
def _ending_by_signal(feed):
    """Let the first signal end the sound, as its end would; a second one stops the program as usual."""

    def end(*_):
        restore()
        feed.end()

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup sets it
    before = {number: signal.getsignal(number) for number in taken}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        restore()


def _class_names(only, known):
    """The classes to report, None for all."""
    if not only:
        return None
    from esc50.classifier.describe import class_named

    names = {text.strip(): class_named(text, known) for text in ",".join(only).split(",") if text.strip()}
    if not names:
        raise click.UsageError("--only names no class: give one, as in --only siren,dog")
    if unknown := sorted(text for text, name in names.items() if name is None):
        raise click.UsageError(f"no class named {', '.join(unknown)}: `esc50 classes` lists them")
    return {*names.values()}


class _Filter:
    """Passes on changes of events that are known to be one of some classes, when they begin or once they are over."""

    def __init__(self, tell, names):
        self.tell, self.names, self.told = tell, names, set()

    def __call__(self, change):
        """Take a change."""
        kind, number, event = change
        is_wanted = self.names is None or (event.is_known and event.class_name in self.names)
        if number not in self.told and is_wanted and kind != "withdrawn":
            self.told.add(number)
            self.tell("begin", number, event)
        if number in self.told and kind != "begin":
            if kind != "update":
                self.told.remove(number)
            self.tell(kind, number, event)


@contextmanager
def _json_lines():
    yield _JsonLines()


class _JsonLines:
    def watch(self, blocks):
        return blocks

    def tell(self, kind, number, event):
        from esc50.classifier.timeline import event_record

        if kind == "update":
            return
        record = event_record(event)
        if kind != "end":
            del record["end_seconds"]
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        click.echo(json.dumps({"event": kind, "number": number, "time": now, **record}))


@contextmanager
def _screen(started):
    from tqdm import tqdm

    columns = min(MOST_COLUMNS, shutil.get_terminal_size().columns - 1)
    with tqdm(bar_format="{desc}", leave=False, ncols=columns, file=sys.stdout) as bar:
        yield _Screen(bar, started)


class _Screen:
    """Lines of events, and below them one that changes: the time, the level, the events that go on."""

    def __init__(self, bar, started):
        self.bar, self.started, self.open = bar, started, {}  # number -> name and end so far

    def watch(self, blocks):
        """The same blocks; the last line shows their level and the events that go on."""
        n_samples = 0
        for block in blocks:
            n_samples += len(block)
            decibels = 20 * np.log10(max(float(np.abs(block).max(initial=0)), 1e-6))
            level = LEVELS[int(np.clip(len(LEVELS) + decibels // DECIBELS_PER_LEVEL, 0, len(LEVELS) - 1))]
            seconds = n_samples / AudioSettings.sample_rate_hz
            sounding = [name for name, end in self.open.values() if end > seconds - ONGOING_SECONDS]
            line = f"{self._clock(seconds):>10} {level} {', '.join(sounding)}"
            self.bar.set_description_str(line[: self.bar.ncols])
            yield block

    def tell(self, kind, number, event):
        """Write a line of an event."""
        from esc50.classifier.describe import class_label, event_label

        name = class_label(event_label(event.class_name, is_known=event.is_known))
        if kind in ("begin", "update"):
            self.open[number] = name, event.end_seconds
        else:
            self.open.pop(number, None)
        if kind == "update":
            return
        start, end = self._clock(event.start_seconds), self._clock(event.end_seconds)
        span = f"{start:>10} – {end if kind == 'end' else '':<10}"
        more = {"begin": " …", "withdrawn": ": withdrawn"}.get(kind, f"  {100 * event.confidence:.0f} %")
        self.bar.write(f"{span}  {name}{more}", file=sys.stdout)

    def _clock(self, seconds):
        from esc50.classifier.formats import clock

        return f"{self.started + timedelta(seconds=seconds):%H:%M:%S}" if self.started else clock(seconds)

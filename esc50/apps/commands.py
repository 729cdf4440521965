"""The commands that anyone can use: ``predict``, ``embed`` and ``app``; and what all commands share."""

import os
import shutil
import sys
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Timer

import click
from click.shell_completion import CompletionItem

from esc50.apps.outputs import STANDARD, TEXT, open_output
from esc50.config import META_DIR, N_CLASSES, AudioError, Esc50Error, YamnetSettings

MODELS = ("multilayer", "plain")  # esc50.classifier.model_io's, which would load ONNX Runtime for a help text
FORMATS = ("table", "json", "csv", "audacity")
OUTPUT = click.Path(readable=False, path_type=Path)  # `open_output` says what is wrong with it, in one line
NOTICE_SECONDS = 1.0  # a command that takes longer says that it is running
NEEDS_CHECKOUT = (
    "`esc50 {}` needs a checkout of the project, whose data/ is not part of the wheel, and the packages of the extra: "
    "pip install 'esc50[{}]'"
)


@dataclass(frozen=True)
class AppSettings:
    """What the browser app accepts and how long it keeps it."""

    host: str = "127.0.0.1"
    port: int = 7860
    max_file_megabytes: int = 100
    max_timeline_seconds: float = 3_600.0  # what is too long for one answer gets a timeline alone
    top: int = 5
    predictions_at_once: int = 2
    max_waiting: int = 100  # further requests are told that the queue is full
    keep_files_seconds: int = 1_800  # uploads and downloads are deleted after this time, and all at the end
    sweep_seconds: int = 300


class Esc50Command(click.Command):
    """A command that ends with one line and exit code 1 where a user can mend what went wrong.

    `extra` is the optional dependency it needs, None where the runtime suffices.
    """

    def __init__(self, *args, extra="study", **kwargs):
        super().__init__(*args, context_settings={"show_default": True}, **kwargs)
        self.extra, self.is_study = extra, extra not in (None, "app", "live", "scale")

    def invoke(self, ctx):
        """Run the command; turn `Esc50Error` and a missing package into a message."""
        if self.is_study and not META_DIR.exists():
            raise click.ClickException(NEEDS_CHECKOUT.format(self.name, self.extra))
        with _notice(f"Running `esc50 {self.name}` …") as ctx.obj:
            try:
                return super().invoke(ctx)
            except Esc50Error as error:
                raise click.ClickException(str(error)) from error
            except ModuleNotFoundError as error:
                if self.extra is None or error.name.startswith("esc50"):
                    raise
                message = f"`esc50 {self.name}` needs {error.name}: pip install 'esc50[{self.extra}]'"
                raise click.ClickException(message) from error


class ModelChoice(click.Choice):
    """The names of the models that come with the package; "layers", as "multilayer" was called, is still taken."""

    def convert(self, value, param, ctx):
        """Give the name that is used now."""
        return super().convert(MODELS[0] if value == "layers" else value, param, ctx)


MODEL = click.option(
    "--model",
    type=ModelChoice(MODELS),
    default=MODELS[0],
    help='A head on many of YAMNet\'s layers, or the "plain" one on its embedding alone.',
)

FILES = click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILES…",
    callback=lambda ctx, parameter, names: tuple(_walk(names)),
    shell_complete=lambda ctx, parameter, start: [CompletionItem(start, type="file")],
)

KEEP = click.option(
    "--keep",
    type=float,
    metavar="SHARE",
    help='Share of known sounds to keep rather than reject as "none of these", from 0.5 to 0.99; by default 0.95.',
)

CLASSES = click.option(
    "--classes",
    type=click.Path(path_type=Path),
    metavar="FILE.esc50",
    help="File written by `esc50 teach`; adds your classes to the 50.",
)


@click.command(cls=Esc50Command, extra=None, short_help="Classify sounds.")
@FILES
@click.option("--top", default=5, type=click.IntRange(1, N_CLASSES), help="Classes shown of each.")
@click.option("--timeline", is_flag=True, help="Show which sounds occur when, in recordings of any length.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table")
@click.option("--output", type=OUTPUT, help="Output file; never left half-written.")
@MODEL
@KEEP
@CLASSES
@click.pass_context
def predict(ctx, files, top, timeline, form, output, **load):
    """Classify sounds, or show which sounds occur when in long recordings.

    FILES are wav, flac, ogg, mp3, m4a, webm, aiff and the like, videos with sound, or folders of these; "-" is
    standard input, and example:siren a sound that the package makes itself.

    A file that cannot be read is named on stderr, and the others are answered; the exit code is then 1.

    \b
    Examples:
      esc50 predict dog.wav
      esc50 predict --format csv --output answers.csv *.wav
      esc50 predict --timeline garden.flac
      esc50 predict --timeline --format audacity --output labels.txt garden.flac
    """  # noqa: D301  (click's \b keeps the lines of the examples)
    _check_format(form, timeline, files)
    if timeline and ctx.get_parameter_source("top") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--top does not apply to timelines: drop one of the two")
    is_seen = output is None and is_terminal(sys.stdout)  # then answer after answer, and no bar runs through them
    is_waiting = is_terminal(sys.stderr) and (not is_seen or (timeline and len(files) == 1))
    how = {"top": None if timeline else top, "progress": is_waiting}
    records = _records(files, load, **how)
    failed = []
    with open_output(output, [*files, load["classes"]], **TEXT) as out:
        columns = shutil.get_terminal_size().columns if is_terminal(out) else None
        for text in _writer(form, timeline, out.encoding, columns)(_report_errors(records, failed, ctx.obj)):
            out.write(text)
            out.flush()
        if len(failed) == len(files):
            ctx.exit(1)  # no answer: an old file stays as it is
    ctx.exit(1 if failed else 0)


@click.command(cls=Esc50Command, extra=None, short_help="Write YAMNet's embeddings of sounds.")
@FILES
@click.option("--output", type=OUTPUT, required=True, help="The .npz file to write.")
@click.pass_context
def embed(ctx, files, output):
    """Write the YAMNet embeddings of sounds of any length to one .npz file.

    It holds one row for each frame of 0.96 s, every 0.48 s: embeddings (n, 1024), filename (n,), start_seconds (n,).

    \b
    Example:
      esc50 embed --output sounds.npz *.wav
    """  # noqa: D301
    import numpy as np

    failed, parts = [], []
    with open_output(output, files, mode="wb") as file, closing(_embeddings(files)) as answers:
        for name, rows in answers:
            if isinstance(rows, AudioError):
                report_error(rows, failed)
            else:
                starts = np.arange(len(rows)) * YamnetSettings.patch_hop_seconds
                parts.append((rows, np.full(len(rows), name), starts))
        if not parts:
            ctx.exit(1)
        embeddings, filename, starts = map(np.concatenate, zip(*parts, strict=True))
        np.savez_compressed(file, embeddings=embeddings, filename=filename, start_seconds=starts)
    ctx.exit(1 if failed else 0)


@click.command(cls=Esc50Command, extra="app", short_help="Serve the app for the browser.")
@MODEL
@CLASSES
@click.option("--store", metavar="STORE", help='What `esc50 index` made, for the part "My recordings"; needs [scale].')
@click.option("--host", default=AppSettings.host, envvar="GRADIO_SERVER_NAME", help="0.0.0.0 lets other machines in.")
@click.option("--port", type=click.IntRange(1, 65_535), default=AppSettings.port, envvar="GRADIO_SERVER_PORT")
@click.option("--share", is_flag=True, help="Ask Gradio for a public address, by a tunnel through its servers.")
def app(**options):
    """Serve the app for the browser: upload or record a sound and see what it is."""
    from esc50.apps.serve import serve

    serve(**options)


def _check_format(form, timeline, files):
    if form == "audacity" and not timeline:
        raise click.UsageError("--format audacity needs --timeline")
    if form == "audacity" and len(files) > 1:
        raise click.UsageError("--format audacity takes one recording: give one file")


def _writer(form, timeline, encoding, columns):
    """Function that makes text of records; a table of so many columns, or None of any."""
    from esc50.classifier import formats

    if form == "csv":
        return partial(formats.as_csv, columns=formats.EVENT_COLUMNS if timeline else formats.TOP_COLUMNS)
    if form == "audacity":
        return formats.as_audacity
    if form == "json":
        return partial(formats.as_json, encoding=encoding)
    return partial(formats.as_table, encoding=encoding, columns=columns)


def _records(files, load, *, top, progress):
    """Answer to each file: the most probable classes, or a timeline where `top` is None."""
    from tqdm.auto import tqdm

    from esc50.classifier import formats
    from esc50.classifier.predict import SoundClassifier
    from esc50.classifier.timeline import detect_events

    classifier, is_one = SoundClassifier.load(**load), top is None and len(files) == 1
    for name in tqdm(files, desc="predicting", unit="sound", leave=False, disable=not progress or is_one):
        try:
            if top is None:
                timeline = detect_events(classifier, _source(name), progress=progress and is_one)
                yield formats.timeline_record(name, timeline)
            else:
                yield formats.prediction_record(name, classifier.predict(_source(name)), top=top)
        except AudioError as error:
            yield formats.error_record(name, error)


def _embeddings(files):
    """Name and embeddings of each file, (n_frames, 1024), or why there are none; several files at a time."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from tqdm.auto import tqdm

    from esc50.audio.sound import open_sound
    from esc50.classifier.timeline import embed_stream
    from esc50.yamnet.runtime import load_runtime

    runtime, size, is_watched = load_runtime(), YamnetSettings.embedding_size, is_terminal(sys.stderr)
    is_over = Event()

    def end_early(*_):
        if is_over.is_set():
            raise AudioError("stopped")

    def embed_file(source):
        try:
            with open_sound(source) as stream:
                parts = embed_stream(runtime.embed, stream, progress=is_watched and is_one, on_block=end_early)
                return np.concatenate([part[:, -size:].copy() for part in parts])  # not a view, which keeps the rest
        except AudioError as error:
            return error

    pool, is_one = ThreadPoolExecutor(os.cpu_count()), len(files) == 1
    bar = {"total": len(files), "unit": "sound", "leave": False, "disable": not is_watched or is_one}
    try:
        yield from zip(files, tqdm(pool.map(embed_file, map(_source, files)), **bar), strict=True)
    finally:
        is_over.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _walk(names):
    """The same names, but of a folder the sounds in it; one without sounds, or that cannot be listed, is reported."""
    for name in names:
        if not os.path.isdir(name):  # noqa: PTH112 - where a name is too long, Path raises
            yield name
            continue
        from esc50.audio.files import walk_sounds

        unlisted = []
        found = [*walk_sounds(name, on_error=unlisted.append)]
        yield from sorted(map(str, [*found, *(error.filename for error in unlisted)])) or [name]


def _source(name):
    if name != STANDARD:
        return name
    if sys.stdin is None:
        raise AudioError("standard input is closed: give the name of a file")
    if is_terminal(sys.stderr):
        click.echo("Reading standard input …", err=True)
    return sys.stdin.buffer.read()


def is_terminal(stream):
    """Whether somebody sees it as it comes."""
    return stream is not None and stream.isatty()


def _report_errors(records, failed, notice):
    for record in records:
        notice.cancel()
        if "error" in record:
            report_error(record["error"], failed)
        yield record


def report_error(error, failed):
    """Write an error on stderr and add it to those that failed."""
    with suppress(OSError):  # where stderr cannot be written, the rest is answered all the same
        say(f"Error: {error}")
    failed.append(error)


def say(line):
    """Write a line on stderr, above the bar if there is one."""
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        click.echo(line, err=True)


@contextmanager
def _notice(text):
    """Write a line on stderr when the work takes long; the timer that is given can be cancelled."""

    def announce():
        import tqdm  # noqa: F401  (takes a while, in which the timer may be cancelled)

        if not timer.finished.is_set():
            say(text)

    timer = Timer(NOTICE_SECONDS, announce)
    timer.daemon = True
    timer.start()
    try:
        yield timer
    finally:
        timer.cancel()

"""The commands that hear sounds: ``predict`` and ``embed``."""

import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from esc50.classifier import formats
from esc50.classifier.model_io import DEFAULT_MODEL, MODELS
from esc50.config import N_CLASSES, AudioError, TimelineSettings, YamnetSettings, atomic_write

FORMATS = ("table", "json", "csv", "audacity")
OUTPUT = click.Path(dir_okay=False, writable=True, path_type=Path)
MODEL = click.option(
    "--model",
    type=click.Choice(list(MODELS)),
    default=DEFAULT_MODEL,
    show_default=True,
    help='What answers: a head on many of YAMNet\'s layers, or the "plain" one on its embedding alone.',
)


@click.command(short_help="Say what sounds are.")
@click.argument("files", nargs=-1, required=True, metavar="FILES…")
@click.option("--top", default=5, show_default=True, type=click.IntRange(1, N_CLASSES), help="Classes shown of each.")
@click.option("--timeline", is_flag=True, help="Tell what is heard when, in recordings of any length.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--output", type=OUTPUT, help="File to write instead of the terminal.")
@MODEL
@click.pass_context
def predict(ctx, files, top, timeline, form, output, model):
    """Say what sounds are, or what is heard when in long recordings.

    FILES are wav, flac, ogg, mp3, aiff and the like (m4a and webm with ffmpeg), "-" for standard input, or
    example:siren and other sounds that the package makes itself.

    A file that is not sound is named on stderr and does not stop the rest; the exit code is then 1.

    \b
    Examples:
      python -m esc50 predict dog.wav
      python -m esc50 predict --format csv --output formats.csv *.wav
      python -m esc50 predict --timeline garden.flac
      python -m esc50 predict --timeline --format audacity --output labels.txt garden.flac
    \f

    Parameters
    ----------
    ctx : click.Context
        Takes the exit code.
    files : tuple of str
        Names, as given.
    top : int
        Classes shown of each.
    timeline : bool
        Whether events are wanted.
    form : str
        One of `FORMATS`.
    output : Path or None
        Where to write; standard output by default.
    model : str
        A key of `esc50.classifier.model_io.MODELS`.
    """  # noqa: D301  (click's \b keeps the lines of the examples, its \f ends the help text)
    _check_format(form, timeline, files)
    if timeline and ctx.get_parameter_source("top") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("a timeline tells one class at a time: leave out --top or --timeline")
    make = _timelines if timeline else partial(_predictions, top=top, progress=_is_watched(output))
    make = partial(make, model=model)
    columns = formats.EVENT_COLUMNS if timeline else formats.TOP_COLUMNS
    write = {
        "table": formats.as_table,
        "json": formats.as_json,
        "csv": partial(formats.as_csv, columns=columns),
        "audacity": formats.as_audacity,
    }[form]
    failed = []
    with _destination(output) as out:
        for text in write(_reported(make(files), failed)):
            click.echo(_writable(text), file=out, nl=False)
    ctx.exit(1 if failed else 0)


@click.command(short_help="Write YAMNet's embeddings of sounds.")
@click.argument("files", nargs=-1, required=True, metavar="FILES…")
@click.option("--output", type=OUTPUT, required=True, help="The .npz file to write.")
@click.pass_context
def embed(ctx, files, output):
    """Write the YAMNet embeddings of sounds of any length to one .npz file.

    It holds one row for each frame of 0.96 s, every 0.48 s: embeddings (n, 1024), filename (n,), start_seconds (n,).

    \b
    Example:
      python -m esc50 embed --output sounds.npz *.wav
    \f

    Parameters
    ----------
    ctx : click.Context
        Takes the exit code.
    files : tuple of str
        Names, as given.
    output : Path
        The file to write.
    """  # noqa: D301
    import numpy as np

    failed, parts = [], {"embeddings": [], "filename": [], "start_seconds": []}
    for name, rows in _embeddings(files):
        if isinstance(rows, AudioError):
            _report(rows, failed)
            continue
        parts["embeddings"].append(rows)  # (n_frames, 1024)
        parts["filename"].append(np.full(len(rows), name))
        parts["start_seconds"].append(np.arange(len(rows)) * YamnetSettings().patch_hop_seconds)
    if parts["filename"]:
        with _replacing(output) as beside, beside.open("wb") as file:
            np.savez_compressed(file, **{key: np.concatenate(values) for key, values in parts.items()})
    ctx.exit(1 if failed else 0)


def _check_format(form, timeline, files):
    if form == "audacity" and not timeline:
        raise click.UsageError("a label track is made of a timeline: add --timeline")
    if form == "audacity" and len(files) > 1:
        raise click.UsageError("a label track belongs to one recording: give one file")


def _predictions(files, *, model, top, progress):
    from esc50.classifier.predict import SoundClassifier

    classifier = SoundClassifier.load(model)
    sources = [_source(name) for name in files]
    for name, (_, answer) in zip(files, classifier.predict_many(sources, progress=progress), strict=True):
        is_error = isinstance(answer, AudioError)
        yield formats.error_record(name, answer) if is_error else formats.prediction_record(name, answer, top=top)


def _timelines(files, *, model):
    from esc50.classifier.predict import SoundClassifier
    from esc50.classifier.timeline import detect_events

    classifier = SoundClassifier.load(model, warm_up=False)
    for name in files:
        try:
            yield formats.timeline_record(name, detect_events(classifier, _source(name), progress=sys.stderr.isatty()))
        except AudioError as error:
            yield formats.error_record(name, error)


def _embeddings(files):
    import numpy as np

    from esc50.audio.sound import open_source
    from esc50.classifier.timeline import embed_stream
    from esc50.yamnet.hub_module import load_yamnet

    yamnet = load_yamnet()
    for name in files:
        try:
            with open_source(_source(name)) as stream:
                heard = embed_stream(yamnet.embed, stream, settings=TimelineSettings(), progress=sys.stderr.isatty())
                yield name, np.concatenate(list(heard))
        except AudioError as error:
            yield name, error


def _source(name):
    return sys.stdin.buffer.read() if name == "-" else name


def _writable(text):
    """As UTF-8 can hold it: a byte of a file's name that is none becomes an escape, which JSON reads as that name."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _reported(records, failed):
    for record in records:
        if "error" in record:
            _report(record["error"], failed)
        yield record


def _report(error, failed):
    click.echo(f"Error: {error}", err=True)
    failed.append(error)


def _is_watched(output):
    """Whether a progress bar would be seen, and not run through the answers."""
    return sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())


@contextmanager
def _destination(output):
    """Give the text stream to write to; a file appears under its name only when all is written."""
    if output is None:
        yield sys.stdout
        return
    with _replacing(output) as beside, beside.open("w", encoding="utf-8", newline="") as out:
        yield out


@contextmanager
def _replacing(output):
    try:
        with atomic_write(output) as beside:
            yield beside
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written ({error.strerror}): choose another place") from error

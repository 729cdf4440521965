"""The commands ``index`` and ``find``: your own recordings, brought into a store and searched by example."""

import json
import sys
from pathlib import Path

import click

from esc50.apps import commands
from esc50.apps.commands import FORMATS, Esc50Command
from esc50.apps.outputs import TEXT, open_output
from esc50.apps.start import Stopped

STORE = click.option("--store", required=True, metavar="STORE", help="Folder of the store, or s3://…, gs://….")
COLUMNS = ("file", "start_seconds", "end_seconds", "similarity")
ONE_RECORDING = "a label track belongs to one recording, and these hits are from several: choose another --format"


@click.command(cls=Esc50Command, extra="scale", short_help="Bring recordings into a store.")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDERS…")
@STORE
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler, tcp://HOST:8786, whose workers do the work.")
@click.option("--processes", type=click.IntRange(1), help="Without a scheduler: by default one for each core.")
@click.pass_context
def index(ctx, folders, store, scheduler, processes):
    """Bring all recordings under some folders into a store.

    New and changed recordings are read; those that are gone are marked, also where a whole folder is gone. Hidden files
    and folders are left out. Run the same command again to resume. A recording that cannot be read is named on stderr,
    and in the store with the reason; the exit code is then 1. Later calls count it as still unreadable, with exit code
    0, until it changes.

    \b
    Examples:
      esc50 index recordings --store my-store
      esc50 index /archive/2025 --store s3://bucket/store --scheduler tcp://head:8786
    """  # noqa: D301  (click's \b keeps the lines of the examples)
    from esc50.classifier.describe import count_of
    from esc50.library.index import index as index_folders

    is_watched, failed = commands.is_terminal(sys.stderr), []
    try:
        report = index_folders(folders, store, scheduler=scheduler, processes=processes, progress=is_watched)
    except Stopped:
        commands.say("Run the same command again to resume.")
        raise
    for reason in report.unreadable.values():
        commands.report_error(reason, failed)
    click.echo(
        f"{count_of(report.n_done, 'recording')} indexed ({report.seconds / 3600:.2f} hours, "
        f"{count_of(report.n_windows, 'window')}), {report.n_unchanged:,} unchanged, {report.n_deleted:,} gone, "
        f"{len(failed):,} unreadable"
        + (f", {report.n_still_unreadable:,} still unreadable" if report.n_still_unreadable else "")
    )
    ctx.exit(1 if failed else 0)


@click.command(cls=Esc50Command, extra="scale", short_help="Find sounds like an example in a store.")
@click.argument("example")
@STORE
@click.option("--from", "start", type=click.FloatRange(0), metavar="SECONDS", help="Where the example begins.")
@click.option("--to", "end", type=click.FloatRange(0), metavar="SECONDS", help="Where it ends.")
@click.option("--also", "positives", multiple=True, metavar="FILE", help="A further example; repeatable.")
@click.option("--unlike", "negatives", multiple=True, metavar="FILE", help="A counter-example; repeatable.")
@click.option("--top", default=20, type=click.IntRange(1), help="Places shown.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table")
@click.option("--output", type=commands.OUTPUT, help="Output file; never left half-written.")
@click.pass_context
def find(ctx, example, store, form, output, **query):
    """Find the places that sound most like an example.

    EXAMPLE is a recording, or the part of it that --from and --to name; a class (see `esc50 classes`), whose most
    probable places are found; or a built-in sound such as example:siren.

    \b
    Examples:
      esc50 find dog.wav --store my-store
      esc50 find garden.flac --from 2.1 --to 3.0 --store my-store --format csv --output hits.csv
    """  # noqa: D301
    from esc50.classifier.formats import audacity_line, csv_lines
    from esc50.library.store import Store

    inputs = [example, *query["positives"], *query["negatives"], *Path(store).glob("*")]
    with open_output(output, inputs, **TEXT) as out:
        hits = Store.open(store).find(example, **query)
        if form == "audacity" and len({hit.file for hit in hits}) > 1:
            raise click.UsageError(ONE_RECORDING)
        ctx.obj.cancel()
        rows = [{name: _round(getattr(hit, name)) for name in COLUMNS} for hit in hits]
        if form == "json":
            out.write(json.dumps(rows, ensure_ascii=out.encoding.lower() != "utf-8", indent=1) + "\n")
        elif form == "csv":
            out.write(csv_lines([COLUMNS, *(row.values() for row in rows)]))
        elif form == "audacity":
            out.writelines(
                audacity_line(h.start_seconds, h.end_seconds, f"{h.similarity:.2f}", is_known=True) for h in hits
            )
        else:
            out.writelines(map(_line, hits))


def _round(value):
    return round(value, 4) if isinstance(value, float) else value


def _line(hit):
    from esc50.classifier.formats import clock, printable

    span = f"{clock(hit.start_seconds):>10} - {clock(hit.end_seconds):<10}"
    return f"{hit.similarity:5.2f}  {span}  {printable(hit.file)}\n"

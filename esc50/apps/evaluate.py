"""The commands ``evaluate`` and ``classes``: how good answers are on recordings of any kind, and which there can be."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from esc50.apps import commands
from esc50.apps.commands import Esc50Command
from esc50.apps.outputs import STANDARD, TEXT, open_output
from esc50.config import find_stream

FORM = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
ANY_PATH = click.Path(path_type=Path)
IN_FOLDER = {"report": "evaluation.json", "predictions": "predictions.csv", "picture": "evaluation.png"}
ENDINGS = {"report": (".json",), "predictions": (".csv",), "picture": (".png", ".svg", ".pdf")}
PICTURE_DPI = 150


@click.command(cls=Esc50Command, extra=None, short_help="List the classes.")
@FORM
def classes(form):
    """List the classes by theme, named as in the labels that `esc50 evaluate` takes."""
    from esc50.classifier.describe import group_by_theme
    from esc50.classifier.model_io import load_model

    themes = group_by_theme(load_model()[1])
    if form == "json":
        click.echo(json.dumps(themes, indent=1))
    else:
        click.echo("\n".join(line for theme, names in themes.items() for line in (theme, *(f"  {n}" for n in names))))


@click.command(cls=Esc50Command, short_help="Measure the classifier on labelled recordings.")
@click.argument("labels", type=ANY_PATH, metavar="LABELS")
@click.option("--audio", type=ANY_PATH, help="Folder of the recordings; by default that of LABELS.")
@click.option("--model", default=commands.MODELS[0], metavar="NAME|FILE", help="multilayer, plain, or a head's file.")
@click.option(
    "--gain",
    "gain_decibels",
    default=0.0,
    type=click.FloatRange(-120, 60),
    metavar="DB",
    help="Gain applied to each recording, in dB; negative is quieter.",
)
@commands.KEEP
@commands.CLASSES
@FORM
@click.option("--output", type=ANY_PATH, metavar="FOLDER|FILE.json", help="Report to write, or folder for everything.")
@click.option("--picture", type=ANY_PATH, metavar="FILE.png", help="Picture to write (png, svg, pdf).")
@click.option("--predictions", type=ANY_PATH, metavar="FILE.csv", help="Table of all answers to write.")
@click.option("--probabilities", is_flag=True, help="Put the probabilities of all classes into that table.")
@click.option("--resume/--no-resume", default=True, help="Take answers from earlier calls and keep new ones.")
@click.option("--progress/--no-progress", default=None, help="Show a bar on stderr; by default on a terminal.")
@click.pass_context
def evaluate(ctx, labels, form, output, picture, predictions, probabilities, progress, **options):
    """Measure the classifier on labelled recordings.

    LABELS is a CSV file with the columns filename and category: a class (see `esc50 classes`), or none for a sound of
    no class. The columns source and recording are optional: the report has a row per source, and intervals
    draw whole recordings. Or LABELS is a folder in which each class has a folder of recordings.

    A recording that cannot be read is named on stderr and not counted; the exit code is then 1. Answers are kept:
    the command resumes if interrupted, and a second run is quick.

    \b
    Examples:
      esc50 evaluate labels.csv --audio recordings
      esc50 evaluate labels.csv --output results
    """  # noqa: D301  (click's \b keeps the lines of the examples)
    from esc50.experiments import evaluation
    from esc50.reporting.evaluation import format_report

    outputs = _name_outputs(output, {"picture": picture, "predictions": predictions})
    if probabilities and "predictions" not in outputs:
        raise click.UsageError("--probabilities belongs to a table of answers: add --predictions FILE.csv")
    progress = commands.is_terminal(sys.stderr) if progress is None else progress
    failed = []
    with ExitStack() as stack:
        inputs = [labels, options["classes"], options["model"]]
        files = {kind: stack.enter_context(_open(kind, path, inputs)) for kind, path in outputs.items()}
        screen = stack.enter_context(open_output(None, inputs, **TEXT))
        if progress:
            ctx.obj.cancel()
        found = evaluation.evaluate(labels, progress=progress, **options)
        for row in found.report["unreadable"]:
            commands.report_error(row["error"], failed)
        screen.write(_as_json(found.report, screen.encoding) if form == "json" else format_report(found.report))
        for kind, file in files.items():
            _write(kind, found, file, probabilities, outputs[kind])
    for path in (path for path in outputs.values() if not _is_stream(path)):
        click.echo(f"wrote {path}", err=True)
    ctx.exit(1 if failed else 0)


evaluate.is_study = False  # it needs packages of the study, but no checkout


def _name_outputs(output, others):
    """What is written where: in a folder everything, each file under its own name."""
    named = {} if output is None else {kind: output / name for kind, name in IN_FOLDER.items()}
    if output is not None and not output.is_dir() and (output.suffix or _is_stream(output)):
        named = {"report": output}
    named |= {kind: path for kind, path in others.items() if path is not None}
    for kind, path in named.items():
        if path.suffix.lower() not in ENDINGS[kind] and not _is_stream(path):
            raise click.UsageError(f"{path} does not end in {' or '.join(ENDINGS[kind])}: name the {kind} so")
    return named


def _is_stream(path):
    return str(path) == STANDARD or find_stream(path) is not None


def _open(kind, path, inputs):
    if kind == "picture":
        from esc50.reporting import plots

        plots.plot_evaluation  # noqa: B018  (what it needs is missed before the work, not after)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{path.parent} cannot be made ({error.strerror}): choose another folder") from error
    return open_output(path, inputs, **({"mode": "wb"} if kind == "picture" else TEXT))


def _write(kind, found, file, with_probabilities, path):
    from esc50.experiments.evaluation import PROBABILITY

    if kind == "report":
        file.write(_as_json(found.report))
    elif kind == "predictions":
        probabilities = found.probabilities.add_prefix(PROBABILITY)
        table = found.predictions.join(probabilities) if with_probabilities else found.predictions
        table.to_csv(file, index=False, float_format="%.6g", lineterminator="\n")
    elif kind == "picture":
        _draw(found).savefig(file, format=path.suffix[1:].lower() or "png", dpi=PICTURE_DPI)


def _draw(found):
    import matplotlib

    from esc50.reporting import plots

    matplotlib.use("agg")
    plots.set_style()
    return plots.plot_evaluation(found)


def _as_json(report, encoding="utf-8"):
    """Indented; in ASCII for an output that may lack characters."""
    return json.dumps(report, ensure_ascii=encoding.lower() != "utf-8", indent=1, allow_nan=False) + "\n"

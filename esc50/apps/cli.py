"""The command line: ``esc50``, or ``python -m esc50``."""

import sys
from pathlib import Path

import click

from esc50 import __version__
from esc50.apps import commands, evaluate, library, live, start, teach
from esc50.apps.commands import MODEL, Esc50Command
from esc50.config import BUILD_DIR, RAW_DIR

FOLDER = click.Path(file_okay=False, path_type=Path)


class Esc50Group(click.Group):
    """All commands; the help lists those that anyone can use before those of the study."""

    command_class = Esc50Command

    def main(self, *args, **kwargs):
        """Run; what the encoding of standard output lacks is written as an escape."""
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        return super().main(*args, **kwargs)

    def format_commands(self, ctx, formatter):
        """Write a section of the help for each of the two."""
        for title, is_study in {"Use it": False, "Study (in a checkout of the project)": True}.items():
            found = [command for command in self.commands.values() if command.is_study is is_study]
            with formatter.section(title):
                formatter.write_dl([(command.name, command.get_short_help_str(80)) for command in found])


@click.group(cls=Esc50Group)
@click.version_option(__version__, prog_name="esc50")
def cli():
    """Environmental sound classification on ESC-50 with YAMNet."""


cli.add_command(commands.predict)
cli.add_command(commands.embed)
cli.add_command(library.index)
cli.add_command(library.find)
cli.add_command(live.live)
cli.add_command(commands.app)
cli.add_command(teach.teach)
cli.add_command(evaluate.evaluate)
cli.add_command(evaluate.classes)
main = start.main  # the console command


@cli.command(short_help="Download the recordings (646 MB).")
@click.option("--destination", type=FOLDER, default=RAW_DIR, help="Folder in which ESC-50/ is made.")
def fetch(destination):
    """Download, check and unpack the recordings (646 MB)."""
    from esc50 import dataset

    root = dataset.fetch_dataset(destination)
    click.echo(f"ESC-50 is complete in {root}\nLicence: {dataset.LICENCE}\nCite: {dataset.CITATION}")


@cli.command(short_help="Compute feature files from the recordings.")
@click.argument("names", nargs=-1, metavar="[NAMES]…")
def features(names):
    """Compute the committed feature files from the recordings (log_mel, yamnet, clip_statistics).

    Those of the layers, "layers", "layers_often", "layers_slow", "layers_fast", "levelled", "degraded" and
    "degraded_anew", 0.2 to 0.6 GB each, are computed only when named. So are "ood_sounds", "ood_sounds_layers" and
    "ood_sounds_levelled", of the sounds that are not in ESC-50: they need espeak-ng and the sound theme of
    freedesktop.org, and no recordings. "view" and those that begin so hold one vector a clip, of maxima and bands:
    "view_slow", "view_fast", "view_looped", "view_quiet", "view_loud", "view_degraded" and "view_degraded_anew", the
    last two also with "_slow" or "_fast" at the end.
    """
    from esc50.dataset import feature_files

    names = names or feature_files.CLIP_FEATURES
    _refuse_unknown(names, feature_files.PARAMETERS, "features")
    for name in names:
        click.echo(f"wrote {feature_files.compute_and_save(name)}")


@cli.command(short_help="Train and test experiments.")
@click.argument("names", nargs=-1, metavar="[NAMES]…")
def train(names):
    """Train and test experiments and write data/results. Resumes if interrupted.

    NAMES are experiments of esc50.experiments, or "protocols": the dense head under splits that leak. All by default.
    "finetuned" needs the recordings, and hours.
    """
    from esc50 import experiments

    known = (*experiments.find_experiments(), "protocols")
    _refuse_unknown(names, known, "experiments")
    for name in names or known:
        if name == "protocols":
            runs = experiments.protocols_of(retrain=True).groupby("protocol", sort=False)
        else:
            runs = experiments.results_of(name, retrain=True).cross_validation.groupby("model")
        for title, rows in runs:
            click.echo(f"{title}: accuracy {100 * rows['accuracy'].mean():.2f} % (mean over seeds and folds)")


@cli.command(short_help="Validate choices inside the training folds.")
@click.argument(
    "kind", type=click.Choice(["heads", "layers", "kernel_ridge", "pooled", "pooled_head"]), default="heads"
)
def nested_cv(kind):
    """Validate choices inside each official fold's training folds, and write data/results/nested_cv_KIND.csv.

    KIND is "heads" (the settings of notebook 04's heads, by default), "layers" (which of YAMNet's: 50 trainings),
    "kernel_ridge" (kernel ridge regression and what is distilled from it), "pooled" (kernel ridge regression on richer
    poolings and averages over views) or "pooled_head" (what is distilled from that).
    """
    from esc50.experiments import nested_cv

    click.echo(nested_cv.choices(nested_cv.validate(kind)).to_string(index=False))


@cli.command(short_help="Audit the protocol, the labels or the inference time.")
@click.argument("what", type=click.Choice(["protocol", "labels", "costs"]), default="protocol")
def audit(what):
    """Measure how much protocol shortcuts inflate accuracy, which labels look wrong, or each model's inference time.

    WHAT is "protocol" (data/results/protocol_audit.csv; two hundred small trainings, resumes if interrupted),
    "labels" (data/results/label_audit.csv; needs the recordings) or "costs" (data/results/costs.csv).
    """
    from esc50.experiments import ablation, label_audit, protocol_audit

    module = {"protocol": protocol_audit, "labels": label_audit, "costs": ablation}[what]
    click.echo(
        f"wrote {module.save_costs(module.measure_costs()) if what == 'costs' else module.save(module.measure())}"
    )


@cli.command(short_help="Measure calibration and rejection.")
@MODEL
def trust(model):
    """Measure calibration and rejection, and write them to data/results and into the saved head's metadata.

    Trains 30 heads (the plain ones in five minutes). Resumes if interrupted. Needed after a model's recipe changes. The
    plain model needs nothing but committed files; "multilayer" needs the recordings, espeak-ng and the sound theme of
    freedesktop.org, unless their features are in data/features from an earlier call.
    """
    from esc50.classifier.model_io import command
    from esc50.experiments import trust_report
    from esc50.experiments.keras_heads import update_trust

    measured = trust_report.measure(model=model)
    click.echo(f"wrote {trust_report.save_trust(measured)}")
    if file := update_trust(measured.report):
        click.echo(f"updated the metadata of {file}")
    else:
        click.echo(f"the saved head has another recipe: run `{command('ship', model)}`, which saves it anew")
    click.echo(measured.report["rejection"]["meaning"])


@cli.command(short_help="Measure accuracy on degraded clips.")
def robustness():
    """Measure how accuracy falls with level, noise, reverberation and other faults, and write it to data/results.

    One network a fold, by the shipped recipe; needs the recordings and 15 minutes. Resumes if interrupted.
    """
    from esc50.experiments.robustness import run_robustness

    click.echo(f"wrote {run_robustness()}")


@cli.command(short_help="Measure detectors of unknown classes.")
@click.option(
    "--scores",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Scores of a detector of your own: filename, fold, group, score (higher for the known).",
)
def openset(scores):
    """Measure detectors of unknown classes by the open-set benchmark, and write data/results/openset_….

    Trains 25 heads, each without ten classes, in five minutes or less. Needs the recordings, unless the features are in
    data/features from an earlier call. With --scores nothing is trained or written: the figures of the file are shown
    beside the committed ones.

    \b
    Example:
      esc50 openset --scores mine.csv
    """  # noqa: D301  (click's \b keeps the lines of the examples)
    from esc50.experiments import openset

    summary = openset.run_benchmark() if scores is None else openset.compare_detector(scores)
    click.echo(openset.format_summary(summary).to_string())


@cli.command(short_help="Measure which vectors find sounds best.")
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Further recordings among which sounds are looked for, in the folder audio beside it.",
)
def retrieval(labels):
    """Measure which vectors find sounds best, and write data/results/retrieval.csv and the projection of `esc50 index`.

    Takes ten minutes. Needs the recordings, unless their features are in data/features from an earlier call.
    """
    from esc50.experiments import retrieval

    retrieval.save_projection()
    click.echo(retrieval.run_retrieval(labels).to_string())


@cli.command(short_help="Evaluate user-defined classes.")
@click.option("--only-known", is_flag=True, help="Only write teaching.npz: a minute.")
def teaching(only_known):
    """Evaluate user-defined classes: how well they are learnt from a number of labels, and what that costs the others.

    Takes twenty minutes. Writes data/results/teaching….csv, and esc50/models/teaching.npz, the short vectors of
    ESC-50's clips that serve as negatives: needed after the shipped model changed.
    """
    from esc50.experiments import teaching

    click.echo(f"wrote {teaching.save_known_clips()}")
    if not only_known:
        curves, forms = teaching.run_teaching()
        click.echo(f"{curves.to_string(index=False)}\n\n{forms.to_string(index=False)}")


@cli.command(short_help="Train a model on all clips and save it.")
@MODEL
def ship(model):
    """Train a model on all clips, as its recipe says, and save it in data/models with its metadata.

    Its cross-validation must be in data/results (`esc50 train`), and should have been followed by `esc50 trust`. The
    plain model needs nothing but committed files; "multilayer" needs the recordings, unless their features are in
    data/features from an earlier call.
    """
    from esc50.experiments import shipping

    click.echo(f"wrote {shipping.ship(model)}")


@cli.command(short_help="Write the models as ONNX or TFLite files.")
@click.option("--format", "form", type=click.Choice(["onnx", "tflite"]), default="onnx")
@click.option(
    "--output", type=FOLDER, help="Folder to write; by default that of the package for onnx, build/ for tflite."
)
def export(form, output):
    """Write YAMNet and the saved heads as the files that the runtime reads, or for phones and small boards."""
    from esc50.experiments.export import export_models

    for path in export_models(format=form, folder=output):
        click.echo(f"wrote {path}")


@cli.command(short_help="Measure timelines on joined clips.")
@MODEL
def timelines(model):
    """Measure timelines on soundscapes: recordings joined from clips that the heads were not trained on.

    Overwrites data/results/timeline.json. The default timeline settings are the best found for the shipped model.
    """
    from esc50.experiments.timelines import run_timelines

    found = run_timelines(model=model)
    click.echo("\n".join(f"{name}: {value}" for name, value in (found["pooled"] | found["in_use"]).items()))


@cli.command(extra="notebook", short_help="Run the notebooks with papermill.")
@click.argument("names", nargs=-1, metavar="[NAMES]…")
@click.option("--retrain", multiple=True, metavar="NAME", help="Notebook to run with retrain=True; repeatable.")
@click.option("--publish", is_flag=True, help="Replace committed pages, results and heads.")
@click.option(
    "-p", "--parameter", "pairs", type=(str, str), multiple=True, help="Parameter NAME VALUE (Python literal)."
)
def run(names, retrain, publish, pairs):
    """Run the notebooks in order with papermill: all, or those named (04, 04_train_head).

    Executed notebooks, and what they train, go to build/; with --publish they replace what is committed.
    """
    from esc50.reporting import notebooks

    parameters = {name: _literal(value) for name, value in pairs}
    for line in notebooks.run_notebooks(names, retrain=retrain, parameters=parameters, publish=publish):
        click.echo(line)


@cli.command(short_help="Write the numbers of README.md, RESULTS.md and docs, and MODEL_CARD.md.")
def readme():
    """Write the numbers in the documents, from data/results.

    These are the parts between markers in README.md, RESULTS.md and docs/index_and_find.md, and all of MODEL_CARD.md.
    """
    from functools import partial

    from esc50.reporting.model_card import update_model_card
    from esc50.reporting.readme import COLAB, DOCUMENTS, update_colab, update_readme

    updates = {name: partial(update_readme, name) for name in DOCUMENTS}
    updates |= {"MODEL_CARD.md": update_model_card, COLAB: update_colab}
    for name, update in updates.items():
        click.echo(f"{name}: updated" if update() else f"{name}: unchanged")


@cli.command(short_help="Write the app for Hugging Face Spaces.")
@click.option("--output", type=FOLDER, default=BUILD_DIR / "space", help="Folder to write.")
def space(output):
    """Write the app as a folder that can be pushed to Hugging Face Spaces."""
    from esc50.apps.space import write_space

    click.echo(f"wrote {write_space(output)}")


@cli.command(extra="test", short_help="Build the static page.")
@click.option("--output", type=FOLDER, default=BUILD_DIR / "page", help="Folder to write; an earlier page in it goes.")
def page(output):
    """Build the page that classifies sounds in the browser, as a folder that any web server can serve.

    Needs Node.js, which comes with the extra "test", and on the first call the npm registry.
    """
    from esc50.apps.page import build_page

    click.echo(f"wrote {build_page(output)}")


def _literal(text):
    import ast

    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _refuse_unknown(names, known, what):
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"no {what} named {', '.join(unknown)}; there are {', '.join(known)}")

"""The command line: ``python -m esc50``."""

from pathlib import Path

import click

from esc50.apps import commands
from esc50.classifier.model_io import DEFAULT_MODEL, MODELS
from esc50.config import BUILD_DIR, FOLDS, N_CLIPS, RAW_DIR, SEEDS, AppSettings, Esc50Error, FinetuneSettings

SHIPPED = click.option(
    "--model",
    type=click.Choice(list(MODELS)),
    default=DEFAULT_MODEL,
    show_default=True,
    help="Which of the models that come with the project: how its heads are made is in the model card.",
)


class OneLineErrors:
    """Commands that end with one line and exit code 1 where a user can mend what went wrong."""

    def invoke(self, ctx):
        """Run the command; turn `Esc50Error` into its message."""
        try:
            return super().invoke(ctx)
        except Esc50Error as error:
            raise click.ClickException(str(error)) from error


class Esc50Group(OneLineErrors, click.Group):
    """The group of all commands."""


class Esc50Command(OneLineErrors, click.Command):
    """A command that is also run without the group."""


class SeveralValuesCommand(click.Command):
    """A command whose repeatable options take several values at once: --folds 1 2 is --folds 1 --folds 2."""

    def parse_args(self, ctx, args):
        """Write the option before each of its values, then parse."""
        repeatable = {name for option in self.params if option.multiple for name in option.opts}
        spread, last = [], None
        for arg in args:
            if last in repeatable and not arg.startswith("-"):
                spread += [] if spread[-1] == last else [last]
            elif arg.startswith("-"):
                last = arg
            spread.append(arg)
        return super().parse_args(ctx, spread)


@click.group(cls=Esc50Group)
def cli():
    """Environmental sound classification on ESC-50 with YAMNet."""


@cli.command(short_help="Download the recordings (646 MB).")
@click.option(
    "--destination",
    type=click.Path(file_okay=False, path_type=Path),
    default=RAW_DIR,
    show_default=True,
    help="Folder in which ESC-50/ is made.",
)
def fetch(destination):
    """Download, check and unpack the recordings (646 MB)."""
    from esc50 import dataset

    root = dataset.fetch_dataset(destination)
    click.echo(f"ESC-50 is complete in {root}\nLicence: {dataset.LICENCE}\nCite: {dataset.CITATION}")


@cli.command(short_help="Compute feature files from the recordings.")
@click.argument("names", nargs=-1, metavar="[NAMES]…")
def features(names):
    """Compute the committed feature files from the recordings (log_mel, yamnet, clip_statistics).

    Those of the layers, "layers", "layers_often", "layers_slow" and "layers_fast", 0.2 to 0.6 GB each, are computed
    only when named. So are "foreign" and "foreign_layers", of the sounds that are not in ESC-50: they need
    espeak-ng and the sound theme of freedesktop.org, and no recordings.
    """
    from esc50.dataset import feature_files

    names = names or feature_files.CLIP_FEATURES
    _refuse_unknown(names, feature_files.PARAMETERS, "features")
    for name in names:
        click.echo(f"wrote {feature_files.compute_and_save(name)}")


@cli.command(short_help="Train and test experiments.")
@click.argument("names", nargs=-1, metavar="[NAMES]…")
def train(names):
    """Train and test experiments and write data/results; goes on where it was stopped.

    NAMES are experiments of esc50.experiments.study, or "protocols": the dense head under splits that leak. All by default.
    """
    from esc50.experiments import study

    known = (*study.EXPERIMENTS, "protocols")
    _refuse_unknown(names, known, "experiments")
    for name in names or known:
        if name == "protocols":
            runs = study.protocols_of("head_frames", retrain=True).groupby("protocol", sort=False)
        else:
            runs = study.results_of(name, retrain=True).cross_validation.groupby("model")
        for title, rows in runs:
            click.echo(f"{title}: accuracy {100 * rows['accuracy'].mean():.2f} % (mean over seeds and folds)")


@cli.command(cls=SeveralValuesCommand, short_help="Train YAMNet further, end to end.")
@click.option(
    "--folds",
    multiple=True,
    type=click.IntRange(min(FOLDS), max(FOLDS)),
    default=FOLDS,
    show_default=True,
    help="Official folds to test, each by a network trained on the others.",
)
@click.option(
    "--seeds",
    multiple=True,
    type=click.IntRange(0),
    default=SEEDS,
    show_default=True,
    help="One training of each fold for each.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=FinetuneSettings.epochs,
    show_default=True,
    help="Of end-to-end training, after the head alone.",
)
def finetune(folds, seeds, epochs):
    """Train YAMNet further, end to end, from the recordings; goes on where it was stopped.

    A run of all folds and seeds with the default epochs goes into data/results; any other is only shown. Log,
    table and checkpoint of each epoch are in build/finetune.
    """
    from esc50.experiments.finetune import is_whole, run_finetuning
    from esc50.experiments.results import save_results

    chosen = {"folds": sorted({*folds}), "seeds": sorted({*seeds}), "settings": FinetuneSettings(epochs=epochs)}
    found = run_finetuning(**chosen)
    rows = found.cross_validation
    click.echo(rows.to_string(index=False, float_format="%.4f"))
    click.echo(f"accuracy {100 * rows['accuracy'].mean():.2f} % (mean over seeds and folds)")
    if is_whole(**chosen):
        save_results(found)
        click.echo("wrote data/results")
    else:
        click.echo("data/results stays as it is: this run was partial or had other settings")


@cli.command(short_help="Validate choices inside the training folds.")
@click.option("--layers", is_flag=True, help="YAMNet's layers instead (50 trainings).")
@click.option("--kernel", is_flag=True, help="Kernel ridge regression and what is distilled from it.")
def select(layers, kernel):
    """Validate choices inside each official fold's training folds: by default the settings of notebook 04's heads.

    Writes data/results/selection.csv, selection_layers.csv or selection_kernel.csv.
    """
    if layers and kernel:
        raise click.UsageError("one at a time: --layers or --kernel")

    from esc50.experiments import nested_cv

    of_kernel = nested_cv.validate_kernel if kernel else nested_cv.validate
    validate = nested_cv.validate_layers if layers else of_kernel
    click.echo(nested_cv.choices(validate()).to_string(index=False))


@cli.command(short_help="Measure calibration and rejection.")
@SHIPPED
def trust(model):
    """Measure calibration and rejection, and write them to data/results and into the saved head's card.

    Trains 30 heads (the plain ones in five minutes); goes on where it was stopped. Needed after a model's recipe
    changes. The plain model needs nothing but committed files; "layers" needs the recordings, espeak-ng and the sound
    theme of freedesktop.org, unless their features are in data/features from an earlier call.
    """
    from esc50.classifier import model_io
    from esc50.experiments import trust_report

    measured = trust_report.measure(model=model)
    click.echo(f"wrote {trust_report.save_trust(measured)}")
    if file := model_io.update_trust(measured.card):
        click.echo(f"updated the card of {file}")
    else:
        click.echo(f"the saved head has another recipe: run `{model_io.command('ship', model)}`, which saves it anew")
    click.echo(measured.card["rejection"]["meaning"])


@cli.command(short_help="Train a model on all clips and save it.")
@SHIPPED
def ship(model):
    """Train a model on all clips, as its recipe says, and save it in data/models with its card.

    Its cross-validation must be in data/results (`python -m esc50 train`), and should have been followed by
    `python -m esc50 trust`. The plain model needs nothing but committed files; "layers" needs the recordings, unless
    their features are in data/features from an earlier call.
    """
    from esc50.experiments import shipping

    click.echo(f"wrote {shipping.ship(model)}")


@cli.command(short_help="Run the notebooks with papermill.")
@click.argument("names", nargs=-1, metavar="[NAMES]…")
@click.option("--retrain", multiple=True, metavar="NAME", help="Notebook to run with retrain=True; repeatable.")
@click.option("--publish", is_flag=True, help="Replace each notebook by its executed form when all is well.")
@click.option(
    "-p", "--parameter", "pairs", type=(str, str), multiple=True, help="Parameter NAME VALUE (Python literal)."
)
def run(names, retrain, publish, pairs):
    """Run the notebooks in order with papermill: all, or those named (04, 04_train_head)."""
    from esc50.reporting import notebooks

    notebooks.quiet_environment()
    chosen = [notebooks.resolve(name) for name in names] if names else notebooks.list_notebooks()
    again = [notebooks.resolve(name) for name in retrain]
    for path in chosen:
        click.echo(f"{path.stem} …")
        parameters = {name: _literal(value) for name, value in pairs} | ({"retrain": True} if path in again else {})
        click.echo(f"wrote {notebooks.run_notebook(path, parameters=parameters, publish=publish)}")


@cli.command(cls=Esc50Command, short_help="Serve the app for the browser.")
@commands.MODEL
@click.option(
    "--host",
    default=AppSettings.host,
    show_default=True,
    envvar="GRADIO_SERVER_NAME",
    help="Address to listen at; 0.0.0.0 lets other machines in.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=AppSettings.port,
    show_default=True,
    envvar="GRADIO_SERVER_PORT",
    help="Port to listen at.",
)
@click.option("--share", is_flag=True, help="Ask Gradio for a public address, by a tunnel through its servers.")
def app(model, host, port, share):
    """Serve the app for the browser: upload or record a sound and see what it is taken for."""
    from esc50.apps.web import serve

    serve(model=model, host=host, port=port, share=share)


@cli.command(short_help="Time the app under load.")
@click.option("--clients", default=20, show_default=True, type=click.IntRange(1, 100), help="How many ask at once.")
def app_benchmark(clients):
    """Let many clients ask the app at once, and write how long they waited to data/results."""
    import os
    import tempfile

    from benchmarks.app import run_app_benchmark
    from esc50.apps.web import launch, write_examples
    from esc50.classifier.predict import SoundClassifier

    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # what the clients send goes with it
        served = launch(SoundClassifier.load(), port=None)
        try:
            found = run_app_benchmark(served.local_url, list(write_examples(folder).values()), n_clients=clients)
        finally:
            served.close(verbose=False)
    click.echo("\n".join(f"{key}: {value}" for key, value in found.items()))


@cli.command(short_help="Write the app for Hugging Face Spaces.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=BUILD_DIR / "space",
    show_default="build/space",
    help="Folder to write.",
)
def space(output):
    """Write the app as a folder that can be pushed to Hugging Face Spaces."""
    from esc50.apps.space import write_space

    click.echo(f"wrote {write_space(output)}")


@cli.command(short_help="Write README's tables and MODEL_CARD.md.")
def readme():
    """Write the tables between the markers of README.md, and MODEL_CARD.md, from the results."""
    from esc50.reporting.model_card import update_model_card
    from esc50.reporting.readme import update_readme

    for name, update in {"README.md": update_readme, "MODEL_CARD.md": update_model_card}.items():
        click.echo(f"{name} was brought up to date" if update() else f"{name} is up to date")


@cli.command(short_help="Time the embedding of all clips.")
@click.option(
    "--clips",
    default=N_CLIPS,
    show_default=True,
    type=click.IntRange(1, N_CLIPS),
    help="How many to embed; the result of all is kept, that of fewer only shown.",
)
def bench(clips):
    """Time the embedding of all clips against the plain clip-by-clip loop, and write data/results."""
    from benchmarks.embedding import run_benchmark

    found = run_benchmark(n_clips=clips)
    click.echo("\n".join(f"{key}: {value}" for key, value in found.items()))


@cli.command(short_help="Measure timelines on stitched recordings.")
@SHIPPED
def timeline_benchmark(model):
    """Measure timelines on recordings stitched from clips that the heads never heard, and write data/results.

    The file is of one model, the last that was measured; the settings of timelines are those that were best for it.
    """
    from esc50.experiments.timelines import run_timeline_benchmark

    found = run_timeline_benchmark(model=model)
    click.echo("\n".join(f"{name}: {value}" for name, value in (found["pooled"] | found["in_use"]).items()))


cli.add_command(commands.predict)


cli.add_command(commands.embed)


def _literal(text):
    import ast

    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _refuse_unknown(names, known, what):
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"no {what} named {', '.join(unknown)}; there are {', '.join(known)}")


if __name__ == "__main__":
    cli(prog_name="python -m esc50")

"""The command line: ``python -m esc50``."""

from pathlib import Path

import click

from esc50.config import RAW_DIR
from esc50.errors import Esc50Error


class Esc50Group(click.Group):
    """A group whose commands end with one line and exit code 1 where a user can mend what went wrong."""

    def invoke(self, ctx):
        """Run the command; turn `Esc50Error` into its message."""
        try:
            return super().invoke(ctx)
        except Esc50Error as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Esc50Group)
def cli():
    """Environmental sound classification on ESC-50 with YAMNet."""


@cli.command()
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


if __name__ == "__main__":
    cli(prog_name="python -m esc50")

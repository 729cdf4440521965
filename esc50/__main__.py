"""``python -m esc50``: the command line."""

from esc50.apps.cli import cli

if __name__ == "__main__":
    cli(prog_name="python -m esc50")

"""Start the app for the browser: ``python main.py``, the same as ``python -m esc50 app``."""

from esc50.apps.cli import app

if __name__ == "__main__":
    app(prog_name="python main.py")

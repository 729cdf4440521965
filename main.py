"""Start the browser app: ``python main.py`` is the same as ``esc50 app``."""

from esc50.apps.commands import app

if __name__ == "__main__":
    app(prog_name="python main.py")

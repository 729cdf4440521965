"""The widget as a page of its own, by Voila: ``python -m esc50.apps.widget_page``; further options are Voila's."""

import sys
from pathlib import Path

from esc50.config import BUILD_DIR

CELL = """from esc50 import SoundClassifier, plots
from esc50.apps.widget import prediction_widget

plots.set_style()
prediction_widget(SoundClassifier.load())"""


def write_page(folder=BUILD_DIR):
    """Write the notebook that Voila serves; gives its path."""
    import nbformat
    from nbformat import v4

    path = Path(folder) / "widget.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    cells = [v4.new_markdown_cell("# What do we hear?"), v4.new_code_cell(CELL)]
    nbformat.write(v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


if __name__ == "__main__":
    from voila.app import main

    main([str(write_page()), *sys.argv[1:]])

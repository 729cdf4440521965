"""Run the notebooks with papermill, and keep them as pages that read well on the web."""

import os
from contextlib import contextmanager
from pathlib import Path

from esc50.config import (
    BUILD_DIR,
    FIGURES_DIR,
    NOTEBOOKS_DIR,
    OUTPUT_VARIABLE,
    PROJECT_DIR,
    NotebookError,
    atomic_write,
)

EXECUTED_DIR = BUILD_DIR / "notebooks"
AUDIO_TAG = "audio"  # cells that play recordings: no output is kept, ESC-50 must not be republished
FOLDED = {"jupyter": {"source_hidden": True, "outputs_hidden": True}}  # until a reader opens it
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # no chatter when kernels start


def list_notebooks():
    """Notebooks of the study in order."""
    return sorted(NOTEBOOKS_DIR.glob("[0-9][0-9]_*.ipynb"))


def run_notebooks(names=(), *, retrain=(), parameters=None, publish=False):
    """Run notebooks in order, all by default; yields what to tell the user on the way.

    What they train, and the executed pages, go to build/; with `publish` they replace what is committed. Figures are
    written to figures/ in any case: the last line names those that show something else than before.
    """
    paths, again = [*map(find_notebook, names)] or list_notebooks(), [*map(find_notebook, retrain)]
    before = _read_figures()
    for path in paths:
        yield f"{path.stem} …"
        values = {**(parameters or {}), **({"retrain": True} if path in again else {})}
        yield f"wrote {run_notebook(path, parameters=values, publish=publish)}"
    changed = [name for name, content in _read_figures().items() if before.get(name) != content]
    yield f"figures that changed: {', '.join(changed)}" if changed else "figures/ is as it was"


def run_notebook(path, *, parameters=None, publish=False, progress=True):
    """Execute a notebook into ``build/notebooks``; with `publish` and no failure, its tidied form replaces it.

    Returns the executed notebook. Where a cell fails, papermill raises PapermillExecutionError, and the notebook
    itself is as it was.
    """
    import nbformat
    import papermill

    EXECUTED_DIR.mkdir(parents=True, exist_ok=True)
    executed = EXECUTED_DIR / path.name
    how = {"progress_bar": progress, "cwd": PROJECT_DIR, "kernel_name": "python3", "coalesce_streams": True}
    with _environment({} if publish else {OUTPUT_VARIABLE: str(BUILD_DIR)}):
        papermill.execute_notebook(path, executed, parameters=parameters or {}, **how)
    if publish:
        with atomic_write(path) as beside:
            nbformat.write(tidy(nbformat.read(executed, as_version=4)), beside)
    return executed


def tidy(notebook):
    """Remove from an executed notebook what does not belong on a page, in place.

    Execution times, injected parameters, progress bars, library chatter on stderr and recordings go;
    figures with their alternative text, tables, text and players of synthesised sounds stay.
    """
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = ({"tags": tags} if tags else {}) | (FOLDED if "solution" in tags else {})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _belongs_on_page(output, tags)]
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count  # nbval takes a cell without one for a cell that was never run
        for output in cell.outputs:
            if output.output_type != "stream":
                output.metadata = {form: about for form, about in output.metadata.items() if form.startswith("image/")}
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook


def find_notebook(name):
    """Find a notebook by its number, name or path, such as ``04`` or ``04_train_head``."""
    stem = Path(name).stem
    found = [path for path in list_notebooks() if path.stem == stem or path.stem.split("_")[0] == stem]
    if len(found) != 1:
        raise NotebookError(f"no notebook {name!r}: choose from {', '.join(p.stem for p in list_notebooks())}")
    return found[0]


def _belongs_on_page(output, tags):
    if AUDIO_TAG in tags or output.get("name") == "stderr":
        return False
    return "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


def _read_figures():
    return {path.name: path.read_bytes() for path in sorted(FIGURES_DIR.glob("*.png"))}


@contextmanager
def _environment(variables):
    """Set variables that kernels inherit, but for those that the user has set."""
    before = dict(os.environ)
    os.environ.update(variables | QUIET | before)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

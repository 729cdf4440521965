"""Run the notebooks with papermill, and keep them as pages that read well on the web."""

import os
from pathlib import Path

from esc50.config import BUILD_DIR, NOTEBOOKS_DIR, PROJECT_DIR, NotebookError, atomic_write

EXECUTED_DIR = BUILD_DIR / "notebooks"
AUDIO_TAG = "audio"  # cells that play recordings: no output is kept, ESC-50 must not be republished


def list_notebooks():
    """Notebooks of the study in order.

    Returns
    -------
    list of Path
        ``01_….ipynb`` first.
    """
    return sorted(NOTEBOOKS_DIR.glob("[0-9][0-9]_*.ipynb"))


def run_notebook(path, *, parameters=None, publish=False, progress=True):
    """Execute one notebook with papermill into ``build/notebooks``.

    Parameters
    ----------
    path : Path
        The notebook.
    parameters : dict, optional
        Values for its ``parameters`` cell.
    publish : bool
        When it ran to its end, replace the notebook by its executed, tidied form.
    progress : bool
        Show papermill's progress bar.

    Returns
    -------
    Path
        The executed notebook.

    Raises
    ------
    papermill.PapermillExecutionError
        A cell failed; the executed notebook shows where, and the notebook itself is as it was.
    """
    import nbformat
    import papermill

    EXECUTED_DIR.mkdir(parents=True, exist_ok=True)
    executed = EXECUTED_DIR / path.name
    papermill.execute_notebook(
        path, executed, parameters=parameters or {}, progress_bar=progress, cwd=PROJECT_DIR, kernel_name="python3"
    )
    if publish:
        with atomic_write(path) as beside:
            nbformat.write(tidy(nbformat.read(executed, as_version=4)), beside)
    return executed


def tidy(notebook):
    """Remove from an executed notebook what does not belong on a page.

    Execution times, injected parameters, progress bars, library chatter on stderr and recordings go;
    figures, tables and text stay.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Changed in place.

    Returns
    -------
    nbformat.NotebookNode
        The same notebook.
    """
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec", "language_info")}
    notebook.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _kept(output, tags))]
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count  # nbval takes a cell without one for a cell that was never run
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook


def _kept(output, tags):
    if AUDIO_TAG in tags:
        return None
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    data = output.get("data", {})
    if "application/vnd.jupyter.widget-view+json" in data:
        return None
    output.metadata = {}
    return output


def quiet_environment():
    """Set what the kernels inherit: no TensorFlow start-up lines, no frozen-modules warning of the debugger."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")


def resolve(name):
    """Find a notebook by its number, name or path.

    Parameters
    ----------
    name : str
        Such as ``04``, ``04_train_head`` or ``notebooks/04_train_head.ipynb``.

    Returns
    -------
    Path
        The notebook.

    Raises
    ------
    NotebookError
        None or several fit; the message lists those there are.
    """
    stem = Path(name).stem
    found = [path for path in list_notebooks() if path.stem == stem or path.stem.split("_")[0] == stem]
    if len(found) != 1:
        raise NotebookError(f"no notebook {name!r}: choose from {', '.join(p.stem for p in list_notebooks())}")
    return found[0]

import os

import nbformat
import papermill
import pytest
from click.testing import CliRunner

from esc50 import config
from esc50.config import NotebookError
from esc50.reporting import notebooks

pytestmark = pytest.mark.slow  # they start kernels

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Write a notebook of given cells and run it in a folder of its own."""
    monkeypatch.setattr(notebooks, "EXECUTED_DIR", tmp_path / "executed")

    def write(*sources, tags=()):
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
        notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
        notebook.cells[0].metadata["tags"] = ["parameters"]
        for cell in notebook.cells[1:]:
            cell.metadata["tags"] = list(tags)
        path = tmp_path / "09_small.ipynb"
        nbformat.write(notebook, path)
        return path

    return write


def outputs(path):
    return [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]


def test_parameters_reach_the_notebook_and_the_page_is_tidy(small):
    path = small("n = 1", "import sys; print(n); print('noise', file=sys.stderr)")
    notebooks.run_notebook(path, parameters={"n": 5}, publish=True, progress=False)
    page = nbformat.read(path, as_version=4)
    assert page.cells[0].source == "n = 1"
    assert len(page.cells) == 2
    assert [output.text for output in outputs(path)] == ["5\n"]
    assert [cell.execution_count for cell in page.cells] == [1, 2]
    assert set(page.metadata) == {"kernelspec", "language_info"}
    assert all(not set(cell.metadata) - {"tags"} for cell in page.cells)


def test_a_failing_notebook_is_left_as_it_was(small):
    path = small("n = 1", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        notebooks.run_notebook(path, publish=True, progress=False)
    assert path.read_bytes() == before


def test_recordings_are_not_kept(small):
    source = "from IPython.display import Audio; import numpy as np; Audio(np.zeros(16000), rate=16000)"
    path = small("n = 1", source, tags=["audio"])
    notebooks.run_notebook(path, publish=True, progress=False)
    assert not outputs(path)


def test_without_publish_the_notebook_keeps_its_outputs(small):
    path = small("n = 1", "print(n)")
    before = path.read_bytes()
    executed = notebooks.run_notebook(path, progress=False)
    assert path.read_bytes() == before
    assert outputs(executed)[0].text == "1\n"


def test_notebooks_are_found_by_number_and_name():
    numbers = [int(path.stem[:2]) for path in notebooks.list_notebooks()]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert notebooks.find_notebook("04") == notebooks.find_notebook("04_train_head") == notebooks.list_notebooks()[3]


def test_an_unknown_notebook_lists_those_there_are():
    with pytest.raises(NotebookError, match=r"no notebook '99': choose from 01_.* 04_train_head"):
        notebooks.find_notebook("99")


@pytest.mark.parametrize("arguments", [["99"], ["--retrain", "99", "04"]])
def test_the_command_line_names_the_notebooks_in_one_line(arguments):
    from esc50.apps.cli import cli

    result = CliRunner().invoke(cli, ["run", *arguments])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("Error: no notebook '99': choose from 01_")


def test_what_is_trained_goes_to_build_unless_it_is_to_be_published(small, monkeypatch):
    monkeypatch.delenv(config.OUTPUT_VARIABLE, raising=False)
    path = small("n = 1", "from esc50 import config; print(config.output_path(config.RESULTS_DIR))")
    [private] = outputs(notebooks.run_notebook(path, progress=False))
    notebooks.run_notebook(path, publish=True, progress=False)
    [published] = outputs(path)
    assert private.text.strip() == str(config.BUILD_DIR / "data" / "results")
    assert published.text.strip() == str(config.RESULTS_DIR)
    assert config.OUTPUT_VARIABLE not in os.environ


def test_a_run_names_the_figures_that_changed(small, tmp_path, monkeypatch):
    path = small("n = 1", f"open({str(tmp_path / 'new.png')!r}, 'w').write(str(n))")
    (tmp_path / "old.png").write_text("")
    monkeypatch.setattr(notebooks, "FIGURES_DIR", tmp_path)
    monkeypatch.setattr(notebooks, "list_notebooks", lambda: [path])
    assert list(notebooks.run_notebooks())[-1] == "figures that changed: new.png"
    assert list(notebooks.run_notebooks(["09"]))[-1] == "figures/ is as it was"
    assert list(notebooks.run_notebooks(parameters={"n": 2}))[-1] == "figures that changed: new.png"


def test_the_cnn_notebook_trains_for_real_when_told_to(tmp_path, monkeypatch):
    """Small: the classical baselines and two epochs of each network on one fold; committed results stay as they are."""
    from esc50.experiments.results import load_manifest

    monkeypatch.setattr(notebooks, "EXECUTED_DIR", tmp_path)
    before = load_manifest()
    small = {"retrain": True, "folds": [2], "epochs": 1, "live_epochs": 1, "figures_dir": str(tmp_path / "figures")}
    notebooks.run_notebook(notebooks.find_notebook("02"), parameters=small, progress=False)
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"02_training_curves.png", "02_models.png", "02_per_class.png"} <= figures
    assert load_manifest() == before

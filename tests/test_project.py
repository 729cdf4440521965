"""Lock files, import contracts, documentation and the format of notebooks."""

import ast
import copy
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import nbformat
import numpydoc.validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import esc50
from esc50.config import FIGURES_DIR, PROJECT_DIR
from esc50.reporting import notebooks

LOCK = (PROJECT_DIR / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOTEBOOKS = notebooks.list_notebooks()
RAW_NAMES = {"src_file"}  # a column of ESC-50 that notebook 01 is about
COLUMNS = 90  # characters of code on a page of 900 pixels
UNDOCUMENTED = {
    "GL08",
    "PR01",
    "PR02",
    "RT01",
}  # numpydoc's codes: no docstring, a parameter or the return value missing


def locked():
    """Each package of the lock that this Python and machine get, with its version."""
    lines = re.findall(r"^([\w.-]+==.*?) \\$", LOCK, flags=re.M)
    found = [Requirement(line) for line in lines]
    return {r.name: str(r.specifier)[2:] for r in found if r.marker is None or r.marker.evaluate()}


def test_every_requirement_is_locked():
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK, flags=re.M))
    for requirement in map(Requirement, PROJECT["dependencies"] + extras):
        if requirement.name != "esc50":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_the_extra_for_all_names_every_other_one():
    [everything] = map(Requirement, PROJECT["optional-dependencies"]["all"])
    assert everything.extras == set(PROJECT["optional-dependencies"]) - {"all"}


def test_the_lock_has_hashes_and_names_no_registry():
    assert LOCK.count("--hash=sha256:") > LOCK.count("==")
    assert "://" not in LOCK and "index-url" not in LOCK and "find-links" not in LOCK


def test_what_is_installed_is_what_is_locked():
    assert {name: version(name) for name in locked()} == locked(), "run `make env`"


def test_conda_installs_the_lock():
    environment = yaml.safe_load((PROJECT_DIR / "environment.yml").read_text(encoding="utf-8"))
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["--require-hashes", "--requirement requirements.lock"]


def test_rooms_import_what_the_contracts_allow():
    linter = shutil.which("lint-imports", path=Path(sys.executable).parent)
    done = subprocess.run([linter, "--no-cache"], cwd=PROJECT_DIR, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout


def public_functions():
    """Functions that `esc50` offers, and methods of its classes, by their full names."""
    for item in (getattr(esc50, name) for name in esc50.__all__):
        if inspect.isclass(item):
            methods = [name for name in vars(item) if callable(getattr(item, name)) and name[0] != "_"]
            yield from (f"{item.__module__}.{item.__qualname__}.{name}" for name in methods)
        elif callable(item):
            yield f"{item.__module__}.{item.__qualname__}"


@pytest.mark.parametrize("name", [*public_functions()])
def test_the_public_api_is_documented(name):
    found = numpydoc.validate.validate(name)
    has_parameters = set(inspect.signature(numpydoc.validate.Validator._load_obj(name)).parameters) - {"self", "cls"}
    wanted = UNDOCUMENTED if has_parameters else {"GL08"}
    assert not [text for code, text in found["errors"] if code in wanted]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_have_the_form_of_the_study(path):
    notebook = nbformat.read(path, as_version=4)
    first, second = notebook.cells[:2]
    assert first.source.startswith("# ") and "**Reads**" in first.source and "**Writes**" in first.source
    assert second.metadata["tags"] == ["parameters"]
    for node in ast.parse(second.source).body:
        assert isinstance(node, ast.Assign)
        ast.literal_eval(node.value)
    assert all("#" in line for line in second.source.splitlines())
    assert path.stat().st_size < 2_000_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_tidy_with_outputs_and_without_recordings(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebooks.tidy(copy.deepcopy(notebook)) == notebook, "run `pre-commit run tidy-notebooks --all-files`"
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    text = path.read_text(encoding="utf-8")
    others = [cell for cell in cells if "own-sound" not in cell.metadata.get("tags", [])]
    assert not [cell for cell in others if "<audio" in str(cell.outputs) or "data:audio" in str(cell.outputs)]
    assert not re.search(r"(?<![\w.])/(tmp|home|root|work)/", text), "a folder of one machine"
    checked = [cell for cell in cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    assert checked, "no cell of this notebook is compared by nbval"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_of_a_notebook_is_in_figures_and_has_an_alternative_text(path):
    notebook = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    named = set(re.findall(rf'"({path.stem[:2]}_\w+)"', code))
    assert named == {figure.stem for figure in FIGURES_DIR.glob(f"{path.stem[:2]}_*.png")}
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == len(named)
    assert all(picture.metadata["image/png"]["alt"].endswith(".") for picture in pictures)
    assert all(picture.metadata["image/png"]["width"] <= 900 for picture in pictures)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_tell_a_story_from_one_to_the_next(path):
    cells = nbformat.read(path, as_version=4).cells
    first, place = cells[0].source, NOTEBOOKS.index(path)
    before, after = NOTEBOOKS[place - 1 : place], NOTEBOOKS[place + 1 : place + 2]
    assert first.count("\n- ") == 3 and "**You will learn**" in first and "**Takes**" in first
    assert all(f"({other.name})" in first for other in (*before, *after))
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "## Exercises\n\n1. " in prose and "## References\n" in prose and "doi.org/10." in prose
    solutions = [cell for cell in cells if "solution" in cell.metadata.get("tags", [])]
    assert len(solutions) == 2 and all(cell.outputs for cell in solutions)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_need_few_names_and_show_no_raw_ones(path):
    cells = nbformat.read(path, as_version=4).cells
    imports = [node for node in ast.walk(ast.parse(cells[2].source)) if isinstance(node, ast.ImportFrom)]
    own = [node for node in imports if node.module.startswith("esc50")]
    assert sum(len(node.names) for node in own) <= 10 and len(own) <= 3
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    tables = " ".join(str(output.get("data", {}).get("text/html", "")) for output in outputs)
    entries = re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", tables)
    raw = {name for entry in entries for name in re.findall(r"\b[a-z]+(?:_[a-z]+)+(?![\w.])", entry)} - RAW_NAMES
    assert entries and not raw and "auroc" not in tables and "<tbody>\n  </tbody>" not in tables
    alts = " ".join(output.get("metadata", {}).get("image/png", {}).get("alt", "") for output in outputs)
    assert "_" not in alts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_line_of_a_notebook_is_cut_off_on_a_page_of_900_pixels(path):
    cells = nbformat.read(path, as_version=4).cells
    printed = [output.text for c in cells for output in c.get("outputs", []) if output.output_type == "stream"]
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert [line for text in (*code, *printed) for line in text.splitlines() if len(line) > COLUMNS] == []


def test_makefile_documents_its_targets():
    text = (PROJECT_DIR / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", text, flags=re.M)
    assert targets == re.findall(r"^([a-z-]+):.*## ", text, flags=re.M)
    declared = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", text, flags=re.M)[1]
    assert sorted(targets) == sorted(declared.replace("\\\n", " ").split())

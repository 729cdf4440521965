"""What holds the project together: pins, import time, import direction, documentation, notebooks' form."""

import ast
import re
import subprocess
import sys
import time
import tomllib

import nbformat
import pytest
import yaml

from esc50.config import FIGURES_DIR, PROJECT_DIR
from esc50.reporting import notebooks

PACKAGE_DIR = PROJECT_DIR / "esc50"
MODULES = sorted(path for path in PACKAGE_DIR.rglob("*.py") if path.name != "__main__.py")
NOTEBOOKS = notebooks.list_notebooks()


def dotted(path):
    parts = path.relative_to(PROJECT_DIR).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


PARTS = {dotted(path).split(".")[1] for path in MODULES if "." in dotted(path)}  # modules, and packages as one
SHELLS = {"app", "commands", "widget", "__main__"}


def pins():
    lines = (PROJECT_DIR / "constraints.txt").read_text().splitlines()
    return dict(re.fullmatch(r"([\w.-]+)==(\S+)", line).groups() for line in lines if line and line[0] != "#")


def normalise(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_once():
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    assert all(re.fullmatch(r"[\w.-]+", name) for name in wanted), "versions belong into constraints.txt"
    assert {normalise(name) for name in wanted} <= {normalise(name) for name in pins()}


def test_conda_uses_the_same_pins():
    environment = yaml.safe_load((PROJECT_DIR / "environment.yml").read_text())
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[test]"]
    assert {entry for entry in environment["dependencies"] if isinstance(entry, str)} == {"python=3.11", "pip", "make"}


def test_what_is_installed_is_what_is_pinned():
    from importlib.metadata import version

    for name in ("tensorflow", "keras", "tensorflow-hub", "numpy", "librosa", "scikit-learn", "papermill", "nbval"):
        assert version(name) == pins()[name]


def test_importing_the_package_is_quick_and_without_tensorflow():
    code = "import sys; import esc50; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3


IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "tensorflow" in sys.modules:
        sys.exit(f"{name} imports TensorFlow")
"""


def first_that_imports_tensorflow(names):
    """What a process says that imports modules one after the other; nothing where none of them does."""
    done = subprocess.run([sys.executable, "-c", IMPORTS, *names], capture_output=True, text=True)
    assert done.returncode in (0, 1)
    return done.stderr if done.returncode else ""


def test_no_module_imports_tensorflow_by_itself():
    assert first_that_imports_tensorflow([dotted(path) for path in MODULES]) == ""


def test_a_module_that_imports_tensorflow_would_be_named(tmp_path, monkeypatch):
    (tmp_path / "tensorflow.py").write_text("")
    (tmp_path / "heavy.py").write_text("import tensorflow")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert first_that_imports_tensorflow(["esc50", "heavy", "json"]) == "heavy imports TensorFlow\n"


def public_functions(tree):
    """Functions of the module and methods of its classes; properties and what is nested deeper left out."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    bodies = [tree.body, *(node.body for node in classes)]
    functions = [node for body in bodies for node in body if isinstance(node, ast.FunctionDef)]
    is_property = [any(getattr(d, "id", "") == "property" for d in f.decorator_list) for f in functions]
    return [f for f, skip in zip(functions, is_property, strict=True) if not (skip or f.name.startswith("_"))]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_every_public_function_documents_its_parameters_and_returns(path):
    for node in public_functions(ast.parse(path.read_text())):
        doc = ast.get_docstring(node) or ""
        names = [a.arg for a in [*node.args.args, *node.args.kwonlyargs] if a.arg not in ("self", "cls")]
        assert doc, f"{path.stem}.{node.name}"
        assert not names or "Parameters\n-----" in doc, f"{path.stem}.{node.name}: Parameters"
        for name in names:
            assert re.search(rf"\b{name}\b", doc), f"{path.stem}.{node.name}: {name}"
        if any(isinstance(n, ast.Return) and n.value for n in ast.walk(node)):
            assert "Returns\n-----" in doc, f"{path.stem}.{node.name}: Returns"


def imports_of(name):
    files = sorted((PACKAGE_DIR / name).glob("*.py")) or [PACKAGE_DIR / f"{name}.py"]
    found = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.ImportFrom) and node.module == "esc50":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("esc50."):
            found.add(node.module.split(".")[1])
    return found - {"__version__", name}


def test_imports_flow_one_way():
    order = [
        "errors config published backend files recorder",
        "shipped audio synthesis features evaluation augmentation models dataset notebooks calibration verdict answers",
        "yamnet backbone plots training results",
        "feature_files foreign rejection saved layers fusion kernel distil runs",
        "finetune_data finetune_network",
        "study",
        "selection ablation",
        "report",
        "recipes predict benchmark space",
        "attention open_set model_card timeline stitching timeline_benchmark app_benchmark explain teach",
        "finetune",
        "widget app commands",
        "__main__",
    ]
    level = {name: height for height, names in enumerate(order) for name in names.split()}
    assert set(level) == PARTS | {"__main__"}
    for name, height in level.items():
        above = {other for other in imports_of(name) if level[other] > height}
        assert not above, f"{name} imports {above}"
    assert not imports_of("config")


def test_nothing_imports_a_shell():
    for name in PARTS:
        assert not imports_of(name) & SHELLS - {name}, name


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
def test_notebooks_are_committed_with_outputs_and_without_recordings(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    text = path.read_text()
    assert "data:audio" not in text and "<audio" not in text
    assert not re.search(r"(?<![\w.])/(tmp|home|root|work)/", text), "a folder of one machine"
    for cell in cells:
        if notebooks.AUDIO_TAG in cell.metadata.get("tags", []):
            assert not cell.outputs
    checked = [cell for cell in cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    assert checked, "no cell of this notebook is compared by nbval"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_of_a_notebook_is_in_figures(path):
    source = path.read_text()
    named = set(re.findall(rf'save_figure\(\w+, \\"({path.stem[:2]}_\w+)\\"', source))
    assert named
    committed = {figure.stem for figure in FIGURES_DIR.glob(f"{path.stem[:2]}_*.png")}
    assert named <= committed


def test_makefile_documents_its_targets():
    text = (PROJECT_DIR / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):", text, flags=re.M)
    documented = re.findall(r"^([a-z]+):.*## ", text, flags=re.M)
    assert set(targets) == set(documented)
    assert {"env", "data", "features", "run", "reproduce", "test", "lab", "lint", "bench", "clean"} <= set(targets)

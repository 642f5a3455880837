"""A Raspberry Pi loads what it needs and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edge_emotion
from tests import patches, tiny

PACKAGE = Path(edge_emotion.__file__).parent
HEAVY = (
    "tensorflow", "keras", "sklearn", "scipy", "matplotlib", "onnx", "tf2onnx", "ai_edge_litert",
    "imagehash", "optuna", "pandas", "dlib",
)  # fmt: skip

HELP = """
import contextlib, runpy, sys
sys.argv = ["edge-emotion", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):
    from edge_emotion.cli import main
    main()
"""
PREDICT = """
from edge_emotion import Predictor
labels = [p.label for p in Predictor(sys.argv[1]).predict_many(sys.argv[2:])]
assert labels == ["happy"], labels
"""
FIND = """
import contextlib, dataclasses, hashlib, io, json, pathlib
from edge_emotion import faces
data = pathlib.Path(sys.argv[1]).read_bytes()
faces.YUNET = dataclasses.replace(
    faces.YUNET, sha256=hashlib.sha256(data).hexdigest(), size=len(data)
)
sys.argv = ["edge-emotion", "predict", "--json", "--faces", "auto", "--detector", *sys.argv[1:]]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as answers:
    from edge_emotion.cli import main
    main()
assert len(json.loads(answers.getvalue())["faces"]) == 1, answers.getvalue()
"""
REPORT = "\nprint(*sorted({name.split('.')[0] for name in sys.modules}))"


def loaded(code: str, *arguments: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    command = [sys.executable, "-c", f"import sys\n{code}{REPORT}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy():
    modules = loaded("import edge_emotion")
    assert {"numpy", "PIL"} <= modules
    assert not modules & {*HEAVY, "onnxruntime", "typer", "rich", "platformdirs", "urllib3"}


def test_help_loads_nothing_heavy_and_no_engine():
    modules = loaded(HELP)
    assert "typer" in modules
    assert not modules & {*HEAVY, "onnxruntime"}


def test_prediction_with_onnx_loads_nothing_heavy(model_folder, tmp_path):
    from PIL import Image

    path = tmp_path / "face.png"
    Image.fromarray(tiny.shade(250)).save(path)
    for model in (model_folder, model_folder / "model-int8.onnx"):
        assert not loaded(PREDICT, str(model), str(path)) & {*HEAVY, "typer", "rich"}


def test_finding_faces_with_yunet_loads_nothing_heavy_and_no_dlib(model_folder, tmp_path):
    path = tmp_path / "photograph.png"
    patches.scene((320, 240), [(32, 112, 112)]).save(path)
    arguments = [str(patches.FILE), "--model", str(model_folder), str(path)]
    modules = loaded(FIND, *arguments)
    assert "onnxruntime" in modules
    assert not modules & {*HEAVY, "rich"}


def modules() -> dict[str, ast.Module]:
    paths = sorted(PACKAGE.rglob("*.py"))
    assert len(paths) > 15
    return {p.relative_to(PACKAGE).as_posix(): ast.parse(p.read_text("utf-8")) for p in paths}


MODULES = modules()


def imports(tree: ast.AST) -> set[str]:
    """Absolute names that the nodes below import."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "edge_emotion imports absolutely"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def at_import(tree: ast.Module) -> set[str]:
    """What importing the module imports: all but what stands in functions or for type checkers."""
    found = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= imports(node)
        pending += ast.iter_child_nodes(node)
    return found


def within(names: set[str], *packages: str) -> set[str]:
    return {n for n in names if any(n == p or n.startswith(f"{p}.") for p in packages)}


ROOMS = ("edge_emotion.exporters", "edge_emotion.benchmarks", "exporters", "benchmarks", "models")


@pytest.mark.parametrize("name", MODULES)
def test_exporters_and_benchmarks_are_imported_in_cli_functions_only(name):
    tree = MODULES[name]
    assert not within(at_import(tree), *ROOMS)
    if not name.startswith("cli/"):
        assert not within(imports(tree), *ROOMS)


@pytest.mark.parametrize("name", MODULES)
def test_tensorflow_is_imported_by_the_keras_runtime_and_training_only(name):
    names = ("tensorflow", "keras", "tf2onnx")
    if name == "cli/train.py":  # in a function
        assert not within(at_import(MODULES[name]), *names)
    elif name != "runtimes/keras.py" and not name.startswith("training/"):
        assert not within(imports(MODULES[name]), *names)


@pytest.mark.parametrize("name", [m for m in MODULES if not m.startswith("training/")])
def test_no_extra_is_needed_to_import_a_module(name):
    assert not within(at_import(MODULES[name]), *HEAVY)


def test_reading_data_sets_needs_no_tensorflow():
    """A benchmark on a Raspberry Pi reads labelled pictures too."""
    code = "import edge_emotion.training.data, edge_emotion.training.loading"
    assert not loaded(code) & set(HEAVY)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import keras.layers", {"keras.layers"}),
        ("try:\n    from keras import layers\nexcept ImportError: pass", {"keras.layers"}),
        ("def f():\n    import keras", set()),
        ("class A:\n    import keras", {"keras"}),
        ("if typing.TYPE_CHECKING:\n    import keras", set()),
    ],
)
def test_this_file_s_own_reading_of_imports(source, expected):
    assert at_import(ast.parse(source)) == expected

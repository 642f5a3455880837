"""What a user gets from ``pip install``: the wheel, built once from a copy of the source."""

from __future__ import annotations

import email
import itertools
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

import edge_emotion

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = PROJECT["tool"]["setuptools"]["package-dir"]  # package -> folder
SHIPPED = sorted(path.parent for path in ROOT.glob("models/*/model.keras"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, open. From a copy: a build leaves folders in its source tree."""
    source = tmp_path_factory.mktemp("source")
    rubbish = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ROOMS.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=rubbish)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # Without isolation, so that no network is needed; setuptools is in the dev group.
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (path,) = source.glob("dist/*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_name_is_pure_python_and_this_version(wheel):
    assert Path(wheel.filename).name == f"edge_emotion-{edge_emotion.__version__}-py3-none-any.whl"


def test_version_is_said_once_in_each_place():
    assert PROJECT["project"]["version"] == edge_emotion.__version__


def test_only_edge_emotion_is_installed(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"edge_emotion", f"edge_emotion-{edge_emotion.__version__}.dist-info"}


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_of_a_room_is_inside(wheel, package):
    folder = ROOT / ROOMS[package]
    inside = set(wheel.namelist())
    for path in sorted(folder.rglob("*.py")):
        name = f"{package.replace('.', '/')}/{path.relative_to(folder).as_posix()}"
        assert name in inside, f"{name}: is its package listed in pyproject.toml?"


def test_types_and_licence_are_inside(wheel):
    names = wheel.namelist()
    assert "edge_emotion/py.typed" in names
    assert f"edge_emotion-{edge_emotion.__version__}.dist-info/licenses/LICENSE" in names


def test_no_tests_caches_or_results_are_inside(wheel):
    unwanted = re.compile(r"(^|/)(tests|test_\w+\.py|conftest\.py|__pycache__|results)(/|$)|\.pyc$")
    assert [name for name in wheel.namelist() if unwanted.search(name)] == []


def test_a_model_is_shipped():
    assert ROOT / "models" / "edge-cnn" in SHIPPED


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_model_is_whole(wheel, folder):
    prefix = f"edge_emotion/models/{folder.name}/"
    card = json.loads(wheel.read(f"{prefix}card.json"))
    expected = {export["file"]: export["sha256"] for export in card["exports"]}
    expected["model.keras"] = card["keras_sha256"]
    for file, checksum in expected.items():
        assert sha256(wheel.read(prefix + file)).hexdigest() == checksum, file


def test_entry_point(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert wheel.read(name).decode().split() == [
        "[console_scripts]", "edge-emotion", "=", "edge_emotion.cli:main",
    ]  # fmt: skip


def test_base_requirements_are_light(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    required = email.message_from_bytes(wheel.read(name)).get_all("Requires-Dist", [])
    base = {re.split(r"\W", line)[0] for line in required if "extra ==" not in line}
    assert base == {"msgspec", "numpy", "onnxruntime", "pillow", "platformdirs", "rich", "typer"}


def test_constraints_pin_every_requirement():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[a-z0-9.]+", line) for line in lines)
    pinned = {line.partition("==")[0] for line in lines}
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *itertools.chain(*project["optional-dependencies"].values()),
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    ]
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in wanted} - {project["name"]}
    assert names <= pinned

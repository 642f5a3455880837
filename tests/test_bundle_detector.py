"""A face detector in a bundle: asked for, checked, and found where it was installed."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from edge_emotion import faces, fetch
from edge_emotion.bundle import make, make_bundle
from edge_emotion.bundle.targets import FILES
from edge_emotion.faces import BUNDLED
from tests.test_bundle import PI, bundle, fake_own_wheel


@pytest.fixture
def stub(tiny_yunet: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stub detector in the place of the real one; nothing is built."""
    monkeypatch.setattr(make, "YUNET", faces.YUNET)
    monkeypatch.setattr(make, "own_wheel", fake_own_wheel)
    return tiny_yunet


def test_a_detector_is_packed_with_its_licence(tmp_path: Path, stub: Path) -> None:
    named = tmp_path / "any name"
    shutil.copy(stub, named)
    result = bundle("--out", tmp_path / "b", "--no-wheels", "--detector", named)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / 'b'}: tflite-int8, YuNet, Python 3.11, 3.13, ")
    assert (tmp_path / "b" / BUNDLED).read_bytes() == stub.read_bytes()
    assert sorted(p.name for p in (tmp_path / "b" / BUNDLED).parent.iterdir()) == [
        "LICENSE", "yunet.onnx",
    ]  # fmt: skip
    licence = (tmp_path / "b" / "detector" / "LICENSE").read_text()
    assert licence.startswith("MIT License\n\nCopyright (c) 2020 Shiqi Yu")
    listed = (tmp_path / "b" / "MANIFEST.sha256").read_text()
    assert f"{hashlib.sha256(stub.read_bytes()).hexdigest()}  {BUNDLED}\n" in listed


def test_a_detector_that_is_there_is_not_packed_without_being_asked(
    tmp_path: Path, stub: Path
) -> None:
    assert faces.detector_path() == stub
    assert not make_bundle(tmp_path / "b", PI, wheels=False).detector
    assert not (tmp_path / "b" / "detector").exists()


@pytest.mark.parametrize("how", ["missing", "folder", "cut", "flipped", "another"])
def test_another_file_than_the_detector_is_one_line(tmp_path: Path, stub: Path, how: str) -> None:
    path, data = tmp_path / "detector.onnx", stub.read_bytes()
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        bad = {"cut": data[:-1], "flipped": data[:-1] + b"\0", "another": b"Dear customer"}
        path.write_bytes(bad[how])
    result = bundle("--out", tmp_path / "new" / "b", "--detector", path)
    assert (result.exit_code, result.stdout) == (4, "")
    reason = {"missing": "No such file or directory", "folder": "Is a directory"}.get(
        how, f"damaged, or not {faces.YUNET.name}"
    )
    assert result.stderr == (
        f"edge-emotion: detector {path}: {reason}; get the right one with: edge-emotion fetch yunet"
        "\n"
    )
    assert not (tmp_path / "new").exists()


def test_the_installed_environment_s_detector_is_found(
    tmp_path: Path, stub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whatever runs in it: the command line, and the user's own programs."""
    monkeypatch.delenv(fetch.DETECTOR_VARIABLE)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert faces.detector_path() is None
    (tmp_path / BUNDLED).parent.mkdir()
    shutil.copy(stub, tmp_path / BUNDLED)
    assert faces.detector_path() == tmp_path / BUNDLED
    assert faces.open_finder("yunet").name == "yunet"
    monkeypatch.setenv(fetch.DETECTOR_VARIABLE, "/another")  # what is named goes before
    assert faces.detector_path() == Path("/another")


def test_installer_and_unit_mean_the_same_place() -> None:
    assert f'"$new/{BUNDLED}"' in (FILES / "install.sh").read_text()
    unit = (FILES / "edge-emotion-watch.service").read_text()
    assert f'{fetch.DETECTOR_VARIABLE}=@PREFIX@/current/{BUNDLED}"' in unit

"""onnxruntime's wheels report to Microsoft unless told not to before they are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests import patches

VARIABLE = "ORT_DISABLE_TELEMETRY"

#: Prints the variable at the moment at which onnxruntime begins to be loaded.
SPY = f"""
import os, sys
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print("loading with", os.environ.get("{VARIABLE}"), file=sys.__stdout__, flush=True)
sys.meta_path.insert(0, Spy())
"""
PREDICT = """
from edge_emotion import Predictor
Predictor(sys.argv[1]).predict(sys.argv[2])
"""
FIND = """
from pathlib import Path
from edge_emotion.faces import YuNet
YuNet(Path(sys.argv[3]))
"""
COMMAND = """
import contextlib
from edge_emotion.cli import main
sys.argv = ["edge-emotion", "predict", "--faces", "off", "--model", sys.argv[1], sys.argv[2]]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):
    main()
"""
RUNTIME = """
from pathlib import Path
from edge_emotion.runtimes.onnx import OnnxRuntime
OnnxRuntime(Path(sys.argv[4]), 1)
"""


def said(code: str, model: Path, folder: Path, **variables: str) -> str:
    """What a clean interpreter says of loading onnxruntime."""
    Image.new("L", (48, 48), 250).save(folder / "a.png")
    arguments = [model, folder / "a.png", patches.FILE, model / "model-int8.onnx"]
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", SPY + code, *map(str, arguments)],
        env=environment | variables, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("code", [PREDICT, FIND, COMMAND, RUNTIME])
def test_it_is_told_before_it_is_loaded(code: str, model_folder: Path, tmp_path: Path) -> None:
    assert said(code, model_folder, tmp_path) == "loading with 1\n"


def test_what_the_user_says_of_it_stays(model_folder: Path, tmp_path: Path) -> None:
    assert said(PREDICT, model_folder, tmp_path, **{VARIABLE: "0"}) == "loading with 0\n"


def test_this_file_s_spy_sees_an_onnxruntime_that_was_told_nothing(
    model_folder: Path, tmp_path: Path
) -> None:
    code = "import importlib.util\nimportlib.util.find_spec('onnxruntime')"
    assert said(code, model_folder, tmp_path) == "loading with None\n"

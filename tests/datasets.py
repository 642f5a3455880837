"""Data sets in every layout, written by code."""

from __future__ import annotations

import csv
import errno
import io
import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests import pictures

FERPLUS_HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)
USAGE = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}

#: Folder -> votes for neutral, happiness, surprise, sadness, anger, disgust, fear, contempt,
#: unknown, no face; ten raters.
FERPLUS: dict[str, list[tuple[int, ...]]] = {
    "FER2013Train": [
        (0, 10, 0, 0, 0, 0, 0, 0, 0, 0),  # happy
        (1, 0, 0, 6, 3, 0, 0, 0, 0, 0),  # sad, three say angry
        (3, 0, 0, 0, 4, 0, 3, 0, 0, 0),  # angry by plurality
        (0, 0, 0, 5, 5, 0, 0, 0, 0, 0),  # tied
        (0, 2, 0, 0, 0, 0, 0, 0, 8, 0),  # unknown
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 10),  # no face
        (9, 1, 0, 0, 0, 0, 0, 0, 0, 0),  # neutral
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),  # nobody voted
    ],
    "FER2013Valid": [
        (0, 6, 0, 0, 4, 0, 0, 0, 0, 0),  # happy
        (0, 5, 0, 0, 4, 0, 0, 0, 1, 0),  # happy, no majority
    ],
    "FER2013Test": [
        (0, 0, 0, 0, 7, 0, 3, 0, 0, 0),  # angry
        (0, 0, 0, 4, 3, 0, 3, 0, 0, 0),  # sad, no majority
        (0, 0, 0, 10, 0, 0, 0, 0, 0, 0),  # sad
    ],
}


def noise(seed: int, height: int = 48, width: int = 48, channels: int = 1) -> NDArray[np.uint8]:
    """A picture that is like no other: smooth noise, so that it survives JPEG and resizing."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    image = Image.fromarray(small[:, :, 0] if channels == 1 else small)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def write_picture(path: Path, seed: int) -> Path:
    """A PNG or JPEG, by the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed)).save(path)
    return path


def write_class_folders(root: Path, files: Iterable[str]) -> Path:
    """One picture for each path below `root`, each of its own."""
    for seed, name in enumerate(files):
        write_picture(root / name, seed)
    return root


def ferplus_files(votes: dict[str, list[tuple[int, ...]]] = FERPLUS) -> dict[str, bytes]:
    """Path -> content in FER+'s official layout."""
    files = {}
    seed = 0
    for folder, rows in votes.items():
        table = io.StringIO()
        writer = csv.writer(table)
        for row in rows:
            name = f"fer{seed:07}.png"
            writer.writerow([name, "(0, 0, 48, 48)", *row])
            files[f"{folder}/{name}"] = pictures.encode(Image.fromarray(noise(seed)), "PNG")
            seed += 1
        files[f"{folder}/label.csv"] = table.getvalue().encode()
    return files


def write_ferplus(root: Path, files: dict[str, bytes] | None = None) -> Path:
    """A folder in FER+'s layout."""
    for name, data in (files or ferplus_files()).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_ferplus_zip(path: Path, prefix: str, files: dict[str, bytes] | None = None) -> Path:
    """The same as a zip, below a folder of any name."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (files or ferplus_files()).items():
            archive.writestr(f"{prefix}{name}", data)
    return path


def write_fer2013(
    path: Path, emotions: Sequence[int], usages: Sequence[str], side: int = 48
) -> Path:
    """A csv in FER2013's layout."""
    lines = ["emotion,pixels,Usage"]
    for seed, (emotion, usage) in enumerate(zip(emotions, usages, strict=True)):
        pixels = " ".join(map(str, noise(seed, side, side).ravel()))
        lines.append(f"{emotion},{pixels},{usage}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_votes(path: Path, usages: Sequence[str], votes: Sequence[tuple[int, ...]]) -> Path:
    """fer2013new.csv."""
    lines = [FERPLUS_HEADER]
    for number, (usage, row) in enumerate(zip(usages, votes, strict=True)):
        lines.append(f"{usage},fer{number:07}.png,{','.join(map(str, row))}")
    path.write_text("\n".join(lines) + "\n")
    return path


def close_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A folder that cannot be listed, even by root."""
    listing = os.scandir

    def scandir(path="."):
        if Path(os.fsdecode(path)) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)

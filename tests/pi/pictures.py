"""The pictures that both sides read: generated ones, and synthetic faces where they are at hand."""

from __future__ import annotations

import re
from pathlib import Path

from tests.generated import LABELS, draw_face
from tests.pictures import CASES, encode

GENERATED = 50
SYNTHETIC = 12


def write_pictures(folder: Path, synthetic: Path | None = None) -> int:
    """Write GENERATED pictures into `folder`, and SYNTHETIC ones from class folders if given.

    The generated ones are every format and mode that `tests.pictures` has as a file, then drawn
    faces as JPEG of many sizes, which are decoded at a fraction of it.

    Returns:
        How many there are.
    """
    folder.mkdir(parents=True)
    files = {name: data for name, case in CASES.items() if isinstance(data := case.make(), bytes)}
    number = 0
    while len(files) < GENERATED:
        face = draw_face(LABELS[number % 3], number, size=64 + 97 * number)
        files[f"face {number:02d}"] = encode(face, "JPEG", quality=90 - 5 * (number % 4))
        number += 1
    for name, data in files.items():
        # No ending: what a file is, its first bytes say.
        (folder / re.sub(r"\W+", "-", name)).write_bytes(data)
    found = sorted(synthetic.rglob("*.jpg")) if synthetic and synthetic.is_dir() else []
    for path in found[:: max(1, len(found) // SYNTHETIC)][:SYNTHETIC]:
        (folder / f"synthetic-{path.stem}").write_bytes(path.read_bytes())
    return len(list(folder.iterdir()))

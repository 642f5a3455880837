"""Reports of every kind as JSON, and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from edge_emotion.errors import InputError

R = TypeVar("R")


def check_version(found: int, wanted: int) -> None:
    """Refuse a report of another schema.

    Raises:
        ValueError: it is of another; `from_json` makes an InputError of it.
    """
    if found != wanted:
        raise ValueError(
            f"schema_version {found} is not {wanted}: measure again with this edge-emotion"
        )


def to_json(report: object) -> bytes:
    """UTF-8 JSON, indented, ending in a newline. Lists of numbers stay on one line."""
    text = msgspec.json.format(msgspec.json.encode(report), indent=1).decode()
    # A string in JSON holds no line break, so this cannot reach into one.
    return re.sub(r"\[\n[-+.\deE,\s]+\]", _one_line, text).encode() + b"\n"


def from_json(kind: type[R], data: bytes | str, where: str) -> R:
    """Read a report of any kind.

    Raises:
        InputError: not one of this kind and schema.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not a benchmark report: {error}") from error


def read_json(kind: type[R], path: Path) -> R:
    """Read a report's file.

    Raises:
        InputError: it cannot be read, or is not one of this kind and schema.
    """
    try:
        return from_json(kind, path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _one_line(numbers: re.Match[str]) -> str:
    return "[" + ", ".join(numbers[0][1:-1].replace(",", " ").split()) + "]"

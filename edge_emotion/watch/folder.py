"""The pictures of a watched folder, and which of them are written to the end."""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from edge_emotion.errors import InputError
from edge_emotion.preprocess import PICTURE_SUFFIXES

#: New pictures kept in mind at a time, the oldest: what bounds the memory when a folder of a
#: million is watched for the first time.
MOST_WAITING = 10_000


@dataclass(frozen=True)
class Found:
    """A picture as it was seen: another size or time is another picture."""

    path: str  # from the root
    size: int  # bytes
    mtime_ns: int  # nanoseconds since 1970

    @cached_property
    def key(self) -> int:
        """`picture_key` of it."""
        return picture_key(self.path, self.size, self.mtime_ns)


def picture_key(path: str, size: int, mtime_ns: int) -> int:
    """64 bits that stand for a picture.

    Among a million pictures, a new one is taken for an old one with a probability of 5e-14.
    """
    text = f"{size}:{mtime_ns}:{path}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def pictures(folder: Path, unreadable: Callable[[str, OSError], None]) -> Iterator[Found]:
    """Every picture in a folder and its sub-folders, in no order and in constant memory.

    Passed over: names that begin with a dot (half-written files of rsync and of careful writers),
    endings that are no picture's, symbolic links (to a picture: it would be predicted under each
    name; to a folder: it may lead in a circle), and whatever is no regular file.

    Args:
        folder: from the root.
        unreadable: is told of sub-folders that cannot be listed.

    Raises:
        InputError: `folder` itself cannot be listed.
    """
    with suppress(OSError):  # told of below
        # As a service's view of it outlives it. Some network drives count no links at all.
        if not folder.stat().st_nlink and not os.listdir(folder):  # noqa: PTH208
            raise InputError(f"cannot watch {folder}: it was deleted; name a folder of pictures")
    pending = [str(folder)]
    while pending:
        path = pending.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif os.path.splitext(entry.name)[1].lower() in PICTURE_SUFFIXES:  # noqa: PTH122
                        try:
                            status = entry.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            continue  # gone since it was listed
                        if stat.S_ISREG(status.st_mode):
                            yield Found(entry.path, status.st_size, status.st_mtime_ns)
        except OSError as error:
            if path == str(folder):
                raise InputError(
                    f"cannot watch {folder}: {error.strerror or error}; name a folder of pictures"
                ) from error
            if not isinstance(error, FileNotFoundError):
                unreadable(path, error)


class Waiting:
    """New pictures, and at how many looks in a row each was seen unchanged.

    A writer is at work as long as size or time changes from look to look. No clock is asked: a Pi
    has none before it finds a network.
    """

    def __init__(self, done: Container[int]) -> None:
        self._done = done  # keys
        self._looks: dict[int, int] = {}

    def look(self, found: Iterator[Found]) -> list[tuple[Found, int]]:
        """The oldest new pictures, oldest first, each with its number of looks (1 or more)."""
        fresh = (picture for picture in found if picture.key not in self._done)
        oldest = heapq.nsmallest(MOST_WAITING, fresh, key=lambda p: (p.mtime_ns, p.path))
        self._looks = {p.key: self._looks.get(p.key, 0) + 1 for p in oldest}
        return [(p, self._looks[p.key]) for p in oldest]

"""The results file of a watched folder: one JSON object a line, whole lines only."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from edge_emotion.errors import OutputError
from edge_emotion.watch.folder import picture_key

#: No line is longer; paths end at 4 KiB.
MAX_LINE = 1 << 20
_HEAD = b'{"path": "'


class Results:
    """Appends lines, and remembers by 64 bits each which pictures have one.

    Only one process at a time may hold a results file. Memory: about 100 bytes a line.
    """

    def __init__(self, path: Path, note: Callable[[str], None] = lambda line: None) -> None:
        """Open or make the file, and read it.

        A last line without its end, as a power cut leaves it, is cut off.

        Args:
            path: the file.
            note: is told of repairs.

        Raises:
            OutputError: it cannot be written, is not a results file, or another process has it.
        """
        self.path = path
        self._note = note
        self._fd = -1
        self._size = 0  # bytes, all of them whole lines
        self._done: set[int] = set()
        self._open()

    def __contains__(self, key: object) -> bool:
        return key in self._done

    def __len__(self) -> int:
        return len(self._done)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def refresh(self) -> None:
        """Open the file anew if somebody moved, removed or changed it.

        What has no line in the file that is there now is new again, as after a restart.

        Raises:
            OutputError: see `__init__`.
        """
        mine = os.fstat(self._fd)
        with suppress(FileNotFoundError):
            now = self.path.stat()
            same_file = (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino)
            if same_file and mine.st_size == self._size:
                return
        self.close()
        self._open()
        self._note(f"{self.path} was moved or changed: it has {len(self)} pictures now")

    def append(self, row: dict[str, Any]) -> None:
        """Write one line and wait until it is on the disk.

        Args:
            row: with "path", "size" and "mtime_ns", which say what picture it is of.

        Raises:
            OutputError: it cannot be written. What was written of it is taken back.
        """
        line = json.dumps(row).encode() + b"\n"
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            os.fsync(self._fd)
        except OSError as error:
            with suppress(OSError):  # if not even that works, the next start does it
                os.ftruncate(self._fd, self._size)
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}; free space and start again: "
                "no line is lost, and none comes twice"
            ) from error
        self._size += len(line)
        self._done.add(picture_key(row["path"], row["size"], row["mtime_ns"]))

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._fd = os.open(self.path, flags, 0o644)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise OutputError(f"{self.path} is no regular file: name another place")
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(self._fd, "rb", closefd=False) as file:
                self._read(file)
            self._sync_folder()
        except BlockingIOError as error:
            self.close()
            raise OutputError(
                f"{self.path} is being written by another edge-emotion watch: name another file, "
                "or end that one"
            ) from error
        except OSError as error:
            self.close()
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}; name another place"
            ) from error
        except OutputError:
            self.close()
            raise

    def _read(self, file: BinaryIO) -> None:
        self._size = 0
        self._done = set()
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            key = _key_of(line)
            if key is not None:
                self._done.add(key)
                self._size += len(line)
                continue
            # One line at a time is on its way to the disk: only the last can be torn. Its parts
            # may have got there in any order, and what did not reads as zeros.
            torn = not line.endswith(b"\n") or 0 in line
            ours = all(byte in (0, head) for byte, head in zip(line, _HEAD, strict=False))
            if file.read(1) or not (torn and ours):
                raise OutputError(
                    f"{self.path}: line {number} is not one of edge-emotion watch: "
                    "name another file, or repair it"
                )
            os.ftruncate(self._fd, self._size)
            os.fsync(self._fd)
            self._note(f"{self.path}: the last line was torn; its picture is predicted again")

    def _sync_folder(self) -> None:
        """The file's own name must outlast a power cut too."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # some network file systems cannot
                os.fsync(folder)
        finally:
            os.close(folder)


def _key_of(line: bytes) -> int | None:
    """The key of a whole line's picture, or None."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
        path, size, mtime_ns = row["path"], row["size"], row["mtime_ns"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not (isinstance(path, str) and type(size) is int and type(mtime_ns) is int):
        return None
    return picture_key(path, size, mtime_ns)

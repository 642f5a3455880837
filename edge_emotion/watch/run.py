"""The loop of a watched folder."""

from __future__ import annotations

import io
import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from edge_emotion.errors import OutputError, PictureError
from edge_emotion.preprocess import MAX_BYTES
from edge_emotion.reading import Reader, answer_row
from edge_emotion.watch.attempts import MOST_ATTEMPTS, Attempts
from edge_emotion.watch.folder import Found, Waiting, pictures
from edge_emotion.watch.results import Results
from edge_emotion.watch.stop import Stop

#: Looks at which a new picture is tried: unchanged since the look before; and, if it was damaged
#: then, once more after its writer may have been held up. Then it gets a line that says so.
FIRST_TRY, LAST_TRY = 2, 12
#: With nothing new, looking at the folder takes this share of the time at most: with 100,000 files
#: in it, looks get rarer.
LOOKING_SHARE = 0.1


class Watcher:
    """Looks at a folder again and again, and writes a line for each new picture."""

    def __init__(
        self,
        folder: Path,
        results: Results,
        read: Reader,
        stop: Stop,
        *,
        interval: float = 1.0,
        note: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Nothing is read before `run`.

        Args:
            folder: of pictures, with its sub-folders.
            results: where the lines go.
            read: turns a picture's bytes into its answer.
            stop: asked before each picture.
            interval: seconds between two looks, at least.
            note: is told of pictures and folders that cannot be read.
        """
        self.folder = folder.resolve()  # one name, however it was given
        self.results = results
        self.failed = 0  # pictures that got an error line, and folders that could not be listed
        self._read_picture = read
        self._stop = stop
        self._interval = interval
        self._note = note
        self._waiting = Waiting(results)
        self._unreadable: set[str] = set()

    def run(self, once: bool = False) -> None:
        """Watch until told to stop.

        Args:
            once: end when every picture has its line.

        Raises:
            InputError: the folder cannot be listed (any more).
            OutputError: the results cannot be written.
            KeyboardInterrupt: Ctrl-C, between two pictures.
        """
        attempts = Attempts(self.results.path)
        try:
            self._run(once, attempts)
        except (KeyboardInterrupt, OutputError):  # Ctrl-C, a full disk: no picture's fault
            attempts.close()
            raise
        attempts.close()  # after any other exception they are counted

    def _run(self, once: bool, attempts: Attempts) -> None:
        while not self._stop.asked():
            began = time.monotonic()
            self.results.refresh()
            waiting = self._waiting.look(pictures(self.folder, self._complain_of))
            looked = time.monotonic() - began
            if once and not waiting:
                return
            for picture, looks in waiting:
                if looks != FIRST_TRY and looks < LAST_TRY:
                    continue
                if self._stop.asked():
                    return
                self.results.refresh()
                if picture.key not in self.results:
                    self._read(picture, looks, attempts)
            rest = 0.0 if waiting else looked * (1 / LOOKING_SHARE - 1)
            self._stop.wait(max(self._interval, rest))

    def _read(self, picture: Found, looks: int, attempts: Attempts) -> None:
        if not attempts.begin(picture.key):
            row = self._failure(picture, f"ended the process {MOST_ATTEMPTS} times")
        else:
            try:
                data = read_whole(picture)
                if data is None:  # another picture by now, or none: the next look sees it
                    attempts.survived()
                    return
                row = {"path": picture.path, **answer_row(self._read_picture(data))}
            except PictureError as error:
                if looks < LAST_TRY:
                    attempts.survived()
                    return
                row = self._failure(picture, str(error).removeprefix("bytes: "))
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row |= {"size": picture.size, "mtime_ns": picture.mtime_ns, "time": now}
        self.results.append(row)
        attempts.survived()

    def _failure(self, picture: Found, reason: str) -> dict[str, Any]:
        self.failed += 1
        self._note(f"{picture.path!r}: {reason}")
        return {"path": picture.path, "error": reason}

    def _complain_of(self, folder: str, error: OSError) -> None:
        if folder not in self._unreadable:
            self._unreadable.add(folder)
            self.failed += 1
            self._note(f"{folder!r} cannot be watched: {error.strerror or error}")


def read_whole(picture: Found) -> bytes | None:
    """A picture's bytes, if it still is the one that was seen; None otherwise.

    Raises:
        PictureError: it cannot be read.
    """
    if picture.size > MAX_BYTES:
        raise PictureError(f"larger than {MAX_BYTES / 1e6:.0f} MB")
    try:
        # Not through a link, and not held up by a pipe, that took the file's place.
        fd = os.open(picture.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
            data = file.read(picture.size + 1)
            status = os.fstat(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PictureError(error.strerror or str(error)) from error
    except MemoryError as error:
        raise PictureError("too large for the memory that is left") from error
    unchanged = (status.st_size, status.st_mtime_ns) == (picture.size, picture.mtime_ns)
    return data if unchanged and len(data) == picture.size else None


def warm_up(read: Reader) -> None:
    """Read a black picture as large as a face finder's largest view.

    What the engines take and keep is then theirs, and not part of what `limit_memory` leaves for a
    picture: a finder that runs out of memory cannot tell it from a file that it cannot run.
    """
    picture = io.BytesIO()
    Image.new("RGB", (640, 640)).save(picture, "PNG")
    read(picture.getvalue())


def limit_memory(more: int) -> None:
    """Let this process take `more` bytes beyond what it has: the next allocation then fails.

    A picture that wants more gets an error line, where without a limit the kernel might end the
    process, or others. Does nothing where the kernel does not say what the process has.
    """
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        has = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        known = [value for value in (soft, hard) if value != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([has + more, *known]), hard))

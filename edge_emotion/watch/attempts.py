"""Which picture is being read, for the next process, should this one not survive it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

#: A picture that ended so many processes gets an error line instead of another try. Of a kill that
#: has nothing to do with the picture, several in a row hardly hit the same one.
MOST_ATTEMPTS = 3


class Attempts:
    """A small file beside the results, written over for every picture and never synchronised.

    It outlives the process, which is what a decoder's crash or the kernel's out-of-memory killer
    ends; a power cut needs no counting.
    """

    def __init__(self, results: Path) -> None:
        """Read what an earlier process left beside `results`. Without the file, nothing counts."""
        self.path = results.with_name(f".{results.name}.attempts")
        self._fd = -1
        self._last: tuple[int, int] = 0, 0  # key, number of attempts
        with suppress(OSError, ValueError):
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            key, number = os.read(self._fd, 64).split()
            self._last = int(key, 16), int(number)

    def begin(self, key: int) -> bool:
        """Note that a picture is about to be read; False: it has ended enough processes."""
        last, number = self._last
        number = number + 1 if key == last else 1
        if number > MOST_ATTEMPTS:
            return False
        self._last = key, number
        if self._fd >= 0:
            with suppress(OSError):
                os.pwrite(self._fd, b"%016x %08d\n" % (key, number), 0)
        return True

    def survived(self) -> None:
        """The picture was read, or its damage reported: this process can be tried again with it."""
        self._last = self._last[0], 0

    def close(self) -> None:
        """Let go of the file, which is of no use after a clean end."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with suppress(OSError):
                self.path.unlink()

"""Which picture is being read, for the next process, should this one not survive it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

#: A picture that ended so many processes gets an error line instead of another try. Of a kill that
#: has nothing to do with the picture, several in a row hardly hit the same one.
MOST_ATTEMPTS = 3
#: As many are remembered, and each takes a line of so many bytes: key and number.
MOST_PICTURES, LINE = 64, 26


class Attempts:
    """A small file beside the results, written over for every picture and never synchronised.

    It outlives the process, which is what a decoder's crash or the kernel's out-of-memory killer
    ends; a power cut needs no counting. It holds the picture that is being read and those that
    ended earlier processes.
    """

    def __init__(self, results: Path) -> None:
        """Read what an earlier process left beside `results`. Without the file, nothing counts."""
        self.path = results.with_name(f".{results.name}.attempts")
        self._fd = -1
        self._ended: dict[int, int] = {}  # key -> how many processes the picture has ended
        self._reading = 0  # key
        with suppress(OSError):
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            for line in os.read(self._fd, LINE * MOST_PICTURES).splitlines():
                with suppress(ValueError):
                    key, number = line[: LINE - 1].split()
                    # The first: what lies behind it may be left from a longer list.
                    self._ended.setdefault(int(key, 16), int(number))

    def begin(self, key: int) -> bool:
        """Note that a picture is about to be read; False: it has ended enough processes."""
        self._reading = key
        number = self._ended.get(key, 0) + 1
        if number > MOST_ATTEMPTS:
            return False
        noted = {key: number} | {k: n for k, n in self._ended.items() if k != key}
        lines = [b"%016x %08d\n" % pair for pair in list(noted.items())[:MOST_PICTURES]]
        if self._fd >= 0:
            with suppress(OSError):
                os.pwrite(self._fd, b"".join(lines), 0)
                os.ftruncate(self._fd, LINE * len(lines))
        return True

    def survived(self) -> None:
        """The picture was read, or its damage reported: this process can be tried again with it."""
        self._ended.pop(self._reading, None)

    def close(self) -> None:
        """Let go of the file, which is of no use after a clean end."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with suppress(OSError):
                self.path.unlink()

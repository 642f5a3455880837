"""SIGTERM and Ctrl-C as a question that is asked between pictures."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType
from typing import Any


class Stop:
    """A context in which the first SIGTERM or SIGINT only raises a flag.

    The second one acts as it would have outside. For the main thread only.
    """

    def __init__(self) -> None:
        self._number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        # The interpreter writes a byte here at a signal, so that one that comes just before the
        # wait ends the wait all the same.
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) != signal.SIG_IGN:  # a background job's SIGINT
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore()
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read_end)
        os.close(self._write_end)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        """Whether to end.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
        """
        if self._number == signal.SIGINT:
            raise KeyboardInterrupt
        return self._number != 0

    def wait(self, seconds: float) -> None:
        """Sleep, until a signal at most."""
        select.select([self._read_end], [], [], seconds)

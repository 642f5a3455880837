"""Silence for libraries that write to the terminal whatever they are told."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress

from edge_emotion.errors import EdgeEmotionError


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what the block writes to stdout and stderr, native code's too.

    If the block fails, all of it comes out on stderr.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _flush()
    with tempfile.TemporaryFile() as caught:
        saved = {fd: os.dup(fd) for fd in (1, 2)}
        for fd in saved:
            os.dup2(caught.fileno(), fd)
        text = io.StringIO()  # what Python writes, wherever its stdout goes
        try:
            with redirect_stdout(text), redirect_stderr(text):
                yield
        except EdgeEmotionError:
            raise  # says all there is to say
        except Exception:
            _flush()
            caught.seek(0)
            with suppress(OSError):  # a full disk behind stderr is not the error
                os.write(saved[2], caught.read() + text.getvalue().encode(errors="replace"))
            raise
        finally:
            _flush()
            for fd, copy in saved.items():
                os.dup2(copy, fd)
                os.close(copy)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()

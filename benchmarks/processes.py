"""Starting a worker and reading its answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge_emotion.errors import CheckError, MissingExtraError, ModelError

from .worker import (
    Answer,
    CropRequest,
    CropTimes,
    Failure,
    LayersRequest,
    LogitsRequest,
    Looked,
    Request,
    Timed,
    TimeRequest,
    Written,
)

#: The clock starts before edge_emotion is imported, so the import is part of what is measured.
BOOT = (
    "import time; started = time.perf_counter(); "
    "from edge_emotion.benchmarks.worker import main; main(started)"
)
#: Seconds for one process. TensorFlow on a slow card needs a minute only to start.
TIME_LIMIT = 600.0


def time_artefact(request: TimeRequest, limit: float = TIME_LIMIT) -> Timed:
    """Measure in a fresh process.

    Raises:
        MissingExtraError: the engine is not installed.
        ModelError: the file cannot be run.
        CheckError: the process crashed or took longer than `limit` seconds.
    """
    answer = _ask(request, limit)
    assert isinstance(answer, Timed)  # what the worker answers to a TimeRequest
    return answer


def run_artefact(request: LogitsRequest, limit: float) -> None:
    """Write an artefact's logits to `request.out`, in a fresh process.

    Raises:
        MissingExtraError, ModelError, CheckError: as `time_artefact`.
    """
    answer = _ask(request, limit)
    assert isinstance(answer, Written)  # what the worker answers to a LogitsRequest


def time_crops(request: CropRequest, limit: float = TIME_LIMIT) -> CropTimes:
    """Run an artefact on faces cut out of pictures, in a fresh process.

    Raises:
        MissingExtraError, ModelError, CheckError: as `time_artefact`.
    """
    answer = _ask(request, limit)
    assert isinstance(answer, CropTimes)  # what the worker answers to a CropRequest
    return answer


def look_into(request: LayersRequest, limit: float = TIME_LIMIT) -> Looked:
    """Compare an int8 artefact with its float original layer by layer, in a fresh process.

    Raises:
        MissingExtraError, ModelError, CheckError: as `time_artefact`.
    """
    answer = _ask(request, limit)
    assert isinstance(answer, Looked)  # what the worker answers to a LayersRequest
    return answer


def _ask(request: Request, limit: float) -> Answer:
    name = Path(request.path).name
    # -P: a file in the user's folder must not be imported for a package.
    return talk([sys.executable, "-P", "-c", BOOT], msgspec.json.encode(request), name, limit)


def talk(command: Sequence[str], request: bytes, name: str, limit: float) -> Answer:
    """Run a worker of any kind: a request on its stdin, an answer on its stdout.

    Args:
        command: the worker.
        request: JSON.
        name: what to call it in an error.
        limit: seconds.

    Raises:
        MissingExtraError, ModelError, CheckError: as `time_artefact`.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        # On Ctrl-C, as at the time limit, `run` kills the process before it raises.
        done = subprocess.run(
            command,
            input=request,
            capture_output=True,
            timeout=limit,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"{name}: no answer within {limit:.0f} s") from error
    except OSError as error:
        raise CheckError(f"{name}: cannot run {command[0]}: {error.strerror}") from error
    if done.returncode < 0:
        raise CheckError(f"{name}: killed by {_signal_name(-done.returncode)}")
    if done.returncode > 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise CheckError(f"{name}: crashed: {lines[-1] if lines else 'without a word'}")
    try:
        answer: Answer = msgspec.json.decode(done.stdout, type=Answer)
    except msgspec.DecodeError as error:
        raise CheckError(f"{name}: its answer cannot be read: {error}") from error
    if isinstance(answer, Failure):
        if answer.extra is not None:
            raise MissingExtraError(answer.what, answer.extra)
        if answer.kind == "input":
            raise ModelError(answer.message)
        raise CheckError(answer.message)
    return answer


def _signal_name(number: int) -> str:
    """SIGILL, SIGSEGV and SIGKILL (often: out of memory) are the ones to expect."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    why = {
        "SIGILL": "an instruction that this processor does not have",
        "SIGKILL": "often: out of memory",
    }.get(name)
    return f"{name} ({why})" if why else name

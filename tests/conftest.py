"""Fixtures for all rooms' tests."""

from __future__ import annotations

import functools
import gc
import os
import random
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import settings

from edge_emotion import faces, fetch
from tests import patches, tiny

# Tests that a shell started in the background ignore Ctrl-C, and so would the programs that they
# start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, so that a red build is of the change and not of the dice.
# HYPOTHESIS_PROFILE=dice throws them anew.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("dice", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """Keras draws its initialisers' seeds from here: which tests ran before decides nothing."""
    random.seed(1)


@pytest.fixture(scope="module", autouse=True)
def settled() -> None:
    """Keep later collections from going through what the modules before have left.

    TensorFlow never lets go of a training's graphs (keras-team/keras#17458), and Keras asks for a
    collection again and again.
    """
    if "tensorflow" in sys.modules:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder with real data sets, `../shared/data` beside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("NO REAL DATA: ../shared/data is not beside the repository")
    return folder


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model folder with a card and one export, `onnx-int8`; see `tests.tiny`."""
    return tiny.write_model_folder(tmp_path / "tiny")


@pytest.fixture(scope="session", autouse=True)
def user_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty data folder for the user, so that no test finds, or writes, a real detector."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        patch.delenv(fetch.DETECTOR_VARIABLE, raising=False)
        yield folder


@pytest.fixture
def tiny_yunet(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stub detector, in the place and with the checksum of the real one."""
    data = patches.FILE.read_bytes()
    stub = replace(fetch.YUNET, sha256=sha256(data).hexdigest(), size=len(data))
    monkeypatch.setattr(faces, "YUNET", stub)
    monkeypatch.setenv(fetch.DETECTOR_VARIABLE, str(patches.FILE))
    return patches.FILE


@pytest.fixture(scope="session")
def real_yunet(shared_data: Path) -> Path:
    """YuNet's own file."""
    return shared_data / "detectors" / fetch.YUNET.name


@pytest.fixture
def hardly_distilled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a training's distilled pictures 2 steps: 200 through a whole network take minutes."""
    from edge_emotion.training import outcome

    few = functools.partial(outcome.distill_pictures, steps=2)
    monkeypatch.setattr(outcome, "distill_pictures", few)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Nothing beyond 4 kB can be written, by order of the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)

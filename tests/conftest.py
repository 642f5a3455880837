"""Fixtures for all rooms' tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import tiny

# The same examples in every run, so that a red build is of the change and not of the dice.
# HYPOTHESIS_PROFILE=dice throws them anew.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("dice", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


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

"""Memory while pictures are read one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_emotion.benchmarks import endurance
from edge_emotion.benchmarks.endurance import main, resident
from edge_emotion.errors import CheckError, DataError, UsageError


def test_resident_is_in_bytes() -> None:
    before = resident()
    large = np.ones(100_000_000, np.uint8)
    assert resident() - before == pytest.approx(100_000_000, rel=0.1)
    assert large.all()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (320, 240), (90, 90, 90)).save(tmp_path / "pictures" / "a.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    ("late", "grows"), [(100_500_000, False), (103_000_000, True), (90_000_000, False)]
)
def test_growth_in_the_second_half_is_a_failed_check(
    pictures: Path,
    tiny_yunet: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    late: int,
    grows: bool,
) -> None:
    # What is loaded in the first half does not count.
    sizes = iter([50_000_000] * 4 + [100_000_000] + [late] * 5)
    monkeypatch.setattr(endurance, "resident", lambda: next(sizes))
    arguments = [str(pictures), "--count", "20", "--detector", str(tiny_yunet)]
    if grows:
        with pytest.raises(CheckError, match=r"memory still grows: by 3\.0% in the second half"):
            main(arguments)
    else:
        main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), lines[0]) == (10, "2 pictures: 50.0 MB")


def test_what_cannot_be_judged_is_refused(pictures: Path, tiny_yunet: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--count must be 2 or more, not 0"):
        main([str(pictures), "--count", "0"])
    with pytest.raises(DataError, match="no pictures"):
        main([str(tmp_path / "absent"), "--detector", str(tiny_yunet)])

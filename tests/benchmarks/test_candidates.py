"""The bodies that were timed are those of the table in EXPERIMENTS.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_emotion.benchmarks.candidates import CANDIDATES, main
from edge_emotion.training.body import parse_body

EXPERIMENTS = Path(__file__).parents[2] / "models" / "EXPERIMENTS.md"


def test_the_table_has_each_candidate_with_its_stages() -> None:
    rows = re.findall(r"^\| ([^|]+) \| `([^`|]+)` \|", EXPERIMENTS.read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == CANDIDATES
    assert all(parse_body(body) for body in CANDIDATES.values())


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--nonsense", 2)])
def test_a_word_on_the_command_line_times_nothing(
    argument: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([argument])
    assert end.value.code == code
    assert "parameters" not in capsys.readouterr().out

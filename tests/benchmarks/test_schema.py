from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path

import pytest

from edge_emotion.benchmarks import schema
from edge_emotion.benchmarks.schema import BenchReport
from edge_emotion.errors import InputError

from .made import make_artefact, make_report


def test_a_report_survives_json() -> None:
    report = make_report()
    assert BenchReport.from_json(report.to_json(), "it") == report


def test_numbers_of_a_list_share_a_line() -> None:
    text = make_report().to_json().decode()
    assert "[300, 20, 13]" in text
    assert '"labels": [\n' in text  # words do not


def test_a_list_inside_a_string_is_left_alone() -> None:
    report = make_report(verdict=["[\n1,\n2\n]", '[1,"'])
    assert BenchReport.from_json(report.to_json(), "it").verdict == ["[\n1,\n2\n]", '[1,"']


def test_another_schema_version_is_refused_with_advice() -> None:
    data = json.loads(make_report().to_json()) | {"schema_version": 2}
    with pytest.raises(InputError, match="schema_version 2 is not 1: measure again"):
        BenchReport.from_json(json.dumps(data), "old.json")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b'{"created": 1}'])
def test_what_is_no_report_is_named(damage: bytes) -> None:
    with pytest.raises(InputError, match="not a benchmark report"):
        BenchReport.from_json(damage, "it.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        BenchReport.read(tmp_path / "none.json")


def test_measured_without_timings_is_a_contradiction() -> None:
    with pytest.raises(ValueError, match="onnx-f32 is measured"):
        make_report(make_artefact("onnx-f32", 1.0, timings=[]))


def test_every_field_is_documented() -> None:
    text = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text("utf-8")
    for kind in _dataclasses(schema.BenchReport):
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in text, f"{kind.__name__}.{field.name}"


def _dataclasses(kind: type) -> set[type]:
    """A dataclass and all that its fields are made of."""
    found = {kind}
    hints = typing.get_type_hints(kind)
    for hint in hints.values():
        for part in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                found |= _dataclasses(part)
    return found

"""``export --target``: which exports are made, and which one is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge_emotion.card import RECIPES, ExportRecord
from edge_emotion.cli import app

exporters = pytest.importorskip("edge_emotion.exporters.export", reason="NEEDS THE EXTRA export")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recipes that the command asked for; nothing is exported."""
    recipes: list[str] = []
    rejected = {"onnx-f32"}

    def export_model(folder: Path, names: Sequence[str], **options: Any) -> Any:
        recipes.extend(names)
        outcomes = [
            exporters.Outcome(
                name,
                folder / RECIPES[name],
                ExportRecord.__new__(ExportRecord),
                ["worse"] if name in rejected else [],
            )
            for name in names
        ]
        return exporters.Exported(outcomes, [])

    monkeypatch.setattr(exporters, "export_model", export_model)
    monkeypatch.setattr(exporters, "raise_if_refused", lambda exported: None)
    return recipes


def export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", "edge-cnn", *arguments])


def test_a_target_alone_makes_what_is_best_there_and_names_it(asked: list[str]) -> None:
    result = export("--target", "pi5")
    assert result.exit_code == 0, result.output
    assert asked == ["tflite-int8", "onnx-int8"]
    first, second = result.stderr.splitlines()
    assert first.startswith(
        "for pi5 use tflite-int8 (model-int8.tflite): with the int8 dot product"
    )
    assert second == (
        "tflite-int8 needs pip install 'edge-emotion[litert]' there; onnx-int8 "
        "(model-int8.onnx) needs none"
    )
    assert [Path(line).name for line in result.stdout.splitlines()] == [
        "model-int8.tflite", "model-int8.onnx",
    ]  # fmt: skip


def test_recipes_that_are_asked_for_are_made_and_the_best_of_them_is_named(
    asked: list[str],
) -> None:
    result = export("--target", "pi4", "--to", "tflite-f32,tflite-int8-dynamic")
    assert asked == ["tflite-f32", "tflite-int8-dynamic"]
    assert "for pi4 use tflite-f32 (model-f32.tflite): without an int8 dot" in result.stderr
    assert result.stderr.endswith("needs pip install 'edge-emotion[litert]' there\n")


def test_a_rejected_export_is_never_named(asked: list[str]) -> None:
    assert " use " not in export("--target", "any", "--to", "onnx-f32").stderr
    assert "for any use onnx-int8" in export("--target", "any", "--to", "onnx-f32,onnx-int8").stderr


def test_one_that_needs_no_extra_is_named_without_a_word_on_extras(asked: list[str]) -> None:
    result = export("--target", "any")
    assert asked == ["onnx-int8"]
    assert len(result.stderr.splitlines()) == 1


def test_without_a_target_all_but_the_last_are_made_and_none_is_named(asked: list[str]) -> None:
    result = export()
    assert asked == list(RECIPES)[:-1]
    assert result.stderr == ""


def test_a_scale_without_labels_is_not_passed_over(asked: list[str]) -> None:
    result = export("--scale", "0.5")
    assert (result.exit_code, asked) == (2, [])
    (line,) = result.stderr.splitlines()
    assert (
        "--scale, --offset and --resize are for a Keras file without a card: name --labels" in line
    )

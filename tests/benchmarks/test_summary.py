"""README's summaries: machines side by side."""

from __future__ import annotations

from dataclasses import replace

from edge_emotion.benchmarks.peers_schema import PeerResult, PeersReport, Score, Task
from edge_emotion.benchmarks.summary import bench_summary, peers_summary
from edge_emotion.machine import Machine

from .made import make_artefact, make_distribution, make_report

PI = Machine("Cortex-A76", "Raspberry Pi 5", "aarch64", 4, ["asimddp"], None, "", "3.11", {})
TASK = Task(["angry", "happy"], 10)


def test_a_board_that_measured_times_alone_takes_no_accuracy_away() -> None:
    server = make_report(recommended="onnx-int8")
    own = [make_artefact("onnx-int8", 1.5, evaluation=None, agreement=None)]
    data = replace(server.data, kind="unlabelled")
    board = replace(server, machine=PI, artefacts=own, data=data, recommended=None)
    assert bench_summary([board, server]).splitlines() == [
        "|  | file | accuracy (95 %) | points lost | ms, Raspberry Pi 5 "
        "| ms, Made CPU, avx512_vnni |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| keras | 300 kB | 90.0% (88.0% to 92.0%) | - | - | 3.00 |",
        "| onnx-f32 | 300 kB | 90.0% (88.0% to 92.0%) | +0.10 | - | 0.440 |",
        "| onnx-int8 | 300 kB | 90.0% (88.0% to 92.0%) | +0.10 | 1.50 | **0.220** |",
    ]
    assert bench_summary([]) == "No results yet."


def peer(name: str, ms: float, ours: bool = False) -> PeerResult:
    scores = [Score(TASK.labels, 0.9, (0.8, 0.95), 0.85, {})]
    return PeerResult(
        name, ours, "measured", "", TASK.labels, "", "", 1000, make_distribution(ms), None, None,
        scores,
    )  # fmt: skip


def test_times_are_beside_the_reference_of_the_same_machine() -> None:
    server = make_report()
    first = PeersReport(
        "2026-11-29", "", PI, server.before, server.after, "FER+ test", {}, 1, 1, 0, ["m"], [TASK],
        [peer("m int8", 2.0, ours=True), peer("fer 1", 4.0)], size="48 x 48 pixels",
    )  # fmt: skip
    second = replace(
        first, machine=server.machine,
        results=[peer("m int8", 1.0, ours=True), peer("other 2", 3.0),
                 replace(peer("fer 1", 0.0), status="missing")],
    )  # fmt: skip
    assert peers_summary([first, second]).splitlines() == [
        "|  | weights | accuracy | balanced | ms, Raspberry Pi 5, 48 x 48 pixels "
        "| ms, Made CPU, avx512_vnni, 48 x 48 pixels |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| **m int8** | 1 kB | 90.0% | 85.0% | 2.00 (0.50) | 1.00 |",
        "| fer 1 | 1 kB | 90.0% | 85.0% | 4.00 | - |",
        "| other 2 | 1 kB | 90.0% | 85.0% | - | 3.00 |",
    ]
    assert peers_summary([]) == "No results yet."

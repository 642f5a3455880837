"""README's summaries: machines side by side."""

from __future__ import annotations

from dataclasses import replace

from edge_emotion.benchmarks.peers_schema import PeerResult, PeersReport, Score, Task
from edge_emotion.benchmarks.summary import bench_summary, peers_summary
from edge_emotion.machine import Machine

from .made import make_artefact, make_distribution, make_evaluation, make_report

PI = Machine("Cortex-A76", "Raspberry Pi 5", "aarch64", 4, ["asimddp"], None, "", "3.11", {})
TASK = Task(["angry", "happy"], 10)
SERVER = make_report(recommended="onnx-int8")
HEAD = "Accuracy: FER+ test, 1000 pictures; points lost against keras (negative: gained)."


def test_accuracies_are_those_of_the_report_that_knows_most() -> None:
    own = [make_artefact("onnx-int8", 1.5, evaluation=None, agreement=None)]
    board = replace(
        SERVER, machine=PI, artefacts=own, recommended=None,
        data=replace(SERVER.data, kind="unlabelled"),
    )  # fmt: skip
    table = [
        HEAD, "",
        "|  | file | accuracy (95 %) | points lost | ms, Raspberry Pi 5 "
        "| ms, Made CPU, avx512_vnni |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| keras | 300 kB | 90.0% (88.0% to 92.0%) | - | - | 3.00 |",
        "| onnx-f32 | 300 kB | 90.0% (88.0% to 92.0%) | +0.10 | - | 0.440 |",
        "| onnx-int8 | 300 kB | 90.0% (88.0% to 92.0%) | +0.10 | 1.50 | **0.220** |",
    ]  # fmt: skip
    assert bench_summary([board, SERVER]).splitlines() == table

    # Pictures of the contributor's own, training pictures, or another reference: times alone count.
    own = [make_artefact("onnx-int8", 1.5, evaluation=make_evaluation(0.5))]
    few = replace(board, artefacts=own, data=replace(SERVER.data, name="mine", samples=55))
    learnt = replace(few, data=replace(SERVER.data, protocol="training-set", samples=9000))
    other = replace(few, data=replace(SERVER.data, samples=9000), reference="onnx-f32")
    for report in (few, learnt, other):
        assert bench_summary([report, SERVER]).splitlines() == table
    assert bench_summary([]) == "No results yet."


def test_times_of_other_files_or_of_more_threads_are_left_out() -> None:
    other = [replace(make_artefact("onnx-int8", 1.5), sha256="2" * 64)]
    rows = bench_summary([SERVER, replace(SERVER, machine=PI, artefacts=other)]).splitlines()
    assert rows[-1].endswith("| **0.220** | - |")
    two = [replace(a, timings=a.timings[1:]) for a in SERVER.artefacts]
    settings = replace(SERVER.settings, threads=[2])
    slow = replace(SERVER, machine=PI, artefacts=two, settings=settings)
    assert bench_summary([slow, SERVER]) == bench_summary([SERVER])


def test_two_machines_of_one_name_are_told_apart() -> None:
    newer = replace(SERVER, machine=replace(SERVER.machine, python="3.13.1"))
    head = bench_summary([SERVER, newer]).splitlines()[2]
    assert head.endswith(
        "| ms, Made CPU, avx512_vnni, Python 3.11.7 | ms, Made CPU, avx512_vnni, Python 3.13.1 |"
    )


def peer(name: str, ms: float, ours: bool = False) -> PeerResult:
    scores = [Score(TASK.labels, 0.9, (0.8, 0.95), 0.85, {})]
    return PeerResult(
        name, ours, "measured", "", TASK.labels, "", "", 1000, make_distribution(ms), None, None,
        scores,
    )  # fmt: skip


def test_times_are_beside_the_reference_of_the_same_machine() -> None:
    first = PeersReport(
        "2026-11-29", "", PI, SERVER.before, SERVER.after, "FER+ test", {}, 1, 1, 0, ["m"], [TASK],
        [peer("m int8", 2.0, ours=True), peer("fer 1", 4.0), peer("other 2", 5.0)],
        size="48 x 48 pixels",
    )  # fmt: skip
    second = replace(
        first, machine=SERVER.machine,
        results=[peer("m int8", 1.0, ours=True), replace(peer("fer 1", 0.0), status="missing")],
    )  # fmt: skip
    table = [
        "FER+ test, 10 of angry, happy.", "",
        "|  | weights | accuracy | balanced | ms, Raspberry Pi 5, 48 x 48 "
        "| ms, Made CPU, avx512_vnni, 48 x 48 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| **m int8** | 1 kB | 90.0% | 85.0% | 2.00 (0.50) | 1.00 |",
        "| fer 1 | 1 kB | 90.0% | 85.0% | 4.00 | - |",
        "| other 2 | 1 kB | 90.0% | 85.0% | 5.00 (1.25) | - |",
    ]  # fmt: skip
    assert peers_summary([first, second]).splitlines() == table
    # Other pictures and reports without a task stand in RESULTS.md alone.
    mine = replace(first, data="mine", tasks=[Task(TASK.labels, 9)])
    large = replace(first, size="480 x 480 pixels")
    empty = replace(first, tasks=[], results=[])
    assert peers_summary([empty, mine, first, second]).splitlines() == table
    row = peers_summary([large, first, second]).splitlines()[2]
    assert row == f"{table[2]} ms, Raspberry Pi 5, 480 x 480 |"
    assert peers_summary([]) == peers_summary([empty]) == "No results yet."

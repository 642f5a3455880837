"""Tables of README.md, docs/ and the models' pages, and verdicts, made from the committed results.

``python -m edge_emotion.benchmarks.markdown`` in the repository writes them anew; with
``--check`` it only says which are out of date. A test does the same. A table called ``bench``
stands between ``<!-- bench:start -->`` and ``<!-- bench:end -->``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_emotion.errors import CheckError, UsageError
from edge_emotion.files import write_bytes

from .caveats import load, noise, unrecorded
from .figures import machine_line, method_line
from .module import run_module
from .peers_markdown import peers_block
from .peers_schema import PREFIX as PEERS_PREFIX
from .peers_schema import PeersReport
from .robustness_report import PREFIX as ROBUSTNESS_PREFIX
from .robustness_report import RobustnessReport, robustness_block
from .schema import ArtefactResult, BenchReport
from .summary import bench_summary, peers_summary
from .verdict import explain
from .words import milliseconds, pipe_table, size, threads_word

RESULTS = Path("benchmarks/results")
PAGES = ("README.md", "docs/accuracy.md", "benchmarks/RESULTS.md")
DEFAULT = "edge-cnn"

#: Counted instructions, which are no benchmark; `make pi-instructions` writes it.
INSTRUCTIONS = "pi-instructions.json"
#: How the names of results begin that are of other programs than ``bench``.
OTHERS = (PEERS_PREFIX, ROBUSTNESS_PREFIX, INSTRUCTIONS)
#: Name of a table -> what stands between its markers.
Blocks = dict[str, str]


def read_results(folder: Path) -> list[BenchReport]:
    """The committed reports of ``bench``, in the order of their names.

    Raises:
        InputError: a file that is not a report.
    """
    return [BenchReport.read(path) for path in _result_files(folder)]


def _result_files(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.json"), key=lambda path: path.stem)
    return [path for path in paths if not path.name.startswith(OTHERS)]


def markdown_table(report: BenchReport) -> str:
    """The figures of one report that belong on a first page, with what they rest on."""
    labelled = report.data.kind == "labelled"
    caveat = " (training-set figure)" if report.data.protocol == "training-set" else ""
    header = ["artefact", "file", f"model p50, ms ({threads_word(report.threads)})",
              "JPEG to label p50, ms", "first label after, s", "peak memory"]  # fmt: skip
    if labelled:
        header += [f"accuracy{caveat} (95 %)", "points lost (95 %)"]
    header.append("labels agree")
    table = pipe_table(header, [_row(report, a, labelled) for a in report.measured])
    data = report.data
    on = f" Accuracy and agreement: {data.name}, {data.samples} pictures." if labelled else ""
    if data.kind == "unlabelled":
        on = f" Agreement: {data.samples} {data.name}."
    on += "".join(f" {line}" for line in (*unrecorded(data), *noise(report), *load(report)))
    return (
        f"**{report.model.name}** on {machine_line(report)} "
        f"({report.created[:10]}). {method_line(report)}{on}\n\n{table}"
    )


def _row(report: BenchReport, artefact: ArtefactResult, labelled: bool) -> list[str]:
    timing = artefact.timing(report.threads)
    assert timing is not None  # every measured artefact has every number of threads
    s, agreement = timing.start_up, artefact.agreement
    name = f"**{artefact.recipe}**" if artefact.recipe == report.recommended else artefact.recipe
    row = [
        name,
        size(artefact.bytes or 0),
        milliseconds(timing.model.p50),
        milliseconds(timing.picture.total.p50),
        f"{s.import_s + s.load_s + s.first_prediction_s:.2f}",
        size(timing.peak_rss),
    ]
    if labelled:
        e = artefact.evaluation
        assert e is not None  # labelled pictures evaluate every measured artefact
        low, high = e.accuracy_interval
        row.append(f"{e.accuracy:.1%} ({low:.1%} to {high:.1%})")
        lost = "reference"
        if agreement and agreement.accuracy_drop is not None and agreement.accuracy_drop_interval:
            low, high = (100 * bound for bound in agreement.accuracy_drop_interval)
            lost = f"{100 * agreement.accuracy_drop:+.2f} ({low:+.2f} to {high:+.2f})"
        row.append(lost)
    row.append(f"{agreement.label_agreement:.1%}" if agreement else "reference")
    return row


def block(reports: Sequence[BenchReport]) -> str:
    """What stands between the markers: a table a report."""
    parts = [markdown_table(report) for report in reports]
    if len(parts) > 1:
        parts.insert(0, "Compare times within a table, never between two of them.")
    return "\n\n".join(parts or ["No results yet."])


def updated(text: str, blocks: Blocks) -> str:
    """A page with what is between its markers made anew; as it is, where it has none."""
    for name, made in blocks.items():
        start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
        pattern = re.compile(f"({re.escape(start)}\n).*?({re.escape(end)})", re.DOTALL)
        escaped = made.replace("\\", r"\\")
        text = pattern.sub(rf"\g<1>{escaped}\n\g<2>", text)
    return text


def pages(root: Path) -> dict[Path, Blocks]:
    """The pages of a repository with their tables: a model's page has those of its own reports,
    RESULTS.md those of all, and README a summary of the default model's.
    """
    results = root / RESULTS
    reports = read_results(results)
    peers = [PeersReport.read(path) for path in sorted(results.glob(f"{PEERS_PREFIX}*.json"))]
    robust = [
        RobustnessReport.read(path) for path in sorted(results.glob(f"{ROBUSTNESS_PREFIX}*.json"))
    ]

    def of(model: str) -> list[BenchReport]:
        return [report for report in reports if report.model.name == model]

    blocks = {
        "bench": block(reports),
        "bench-summary": bench_summary(of(DEFAULT)),
        "peers": peers_block(peers),
        "peers-summary": peers_summary(peers),
        "robustness": robustness_block(robust),
    }
    found = {root / name: blocks for name in PAGES if (root / name).exists()}
    for path in sorted((root / "models").glob("*/README.md")):
        found[path] = {"bench": block(of(path.parent.name))}
    return found


def contents(root: Path) -> dict[Path, bytes]:
    """What pages and reports of a repository should hold: today's tables and verdicts."""
    found = {
        path: updated(path.read_text("utf-8"), blocks).encode()
        for path, blocks in pages(root).items()
    }
    for path in _result_files(root / RESULTS):
        report = BenchReport.read(path)
        found[path] = replace(report, verdict=explain(report)).to_json()
    return found


def main(arguments: list[str]) -> None:
    """Refresh or check the pages of the repository in the current folder.

    Raises:
        CheckError: with --check, a page is out of date.
        UsageError: the current folder is not the repository.
    """
    parser = argparse.ArgumentParser(
        prog="python -m edge_emotion.benchmarks.markdown",
        description="Tables of the pages, made anew from the committed results.",
    )
    parser.add_argument("--check", action="store_true", help="only say which are out of date")
    chosen = parser.parse_args(arguments)
    if not RESULTS.is_dir():
        raise UsageError(f"no {RESULTS} here: run it in the repository")
    stale = {path: new for path, new in contents(Path()).items() if path.read_bytes() != new}
    if chosen.check and stale:
        raise CheckError(
            f"out of date: {', '.join(map(str, stale))}: python -m edge_emotion.benchmarks.markdown"
        )
    for path, new in stale.items():
        write_bytes(path, new)
        print(path)


if __name__ == "__main__":
    run_module(main)

"""Tables of README.md and of the models' pages, made from the committed results.

``python -m edge_emotion.benchmarks.markdown`` in the repository writes them anew; with
``--check`` it only says which are out of date. A test does the same.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_emotion.errors import CheckError, EdgeEmotionError
from edge_emotion.files import write_bytes
from edge_emotion.model_readme import BENCH_END as END
from edge_emotion.model_readme import BENCH_START as START

from .figures import machine_line, method_line
from .schema import ArtefactResult, BenchReport
from .words import milliseconds, size, threads_word

RESULTS = Path("benchmarks/results")
#: Counted instructions, which are no benchmark; `make pi-instructions` writes it.
INSTRUCTIONS = "pi-instructions.json"


def read_results(folder: Path) -> list[BenchReport]:
    """The committed reports, in the order of their names.

    Raises:
        InputError: a file that is not a report.
    """
    paths = (path for path in sorted(folder.glob("*.json")) if path.name != INSTRUCTIONS)
    return [BenchReport.read(path) for path in paths]


def markdown_table(report: BenchReport) -> str:
    """The figures of one report that belong on a first page, with what they rest on."""
    labelled = report.data.kind == "labelled"
    caveat = " (training-set figure)" if report.data.protocol == "training-set" else ""
    header = ["artefact", "file", f"model p50, ms ({threads_word(report.threads)})",
              "JPEG to label p50, ms", "first label after, s", "peak memory"]  # fmt: skip
    if labelled:
        header += [f"accuracy{caveat} (95 %)", "points lost (95 %)"]
    header.append("labels agree")
    rows = [_row(report, artefact, labelled) for artefact in report.measured]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    table = "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)
    data = report.data
    on = f" Accuracy and agreement: {data.name}, {data.samples} pictures." if labelled else ""
    if data.kind == "unlabelled":
        on = f" Agreement: {data.samples} {data.name}."
    noise = [line for line in report.verdict if line.startswith("The machine was noisy")]
    on += "".join(f" {line}" for line in noise)
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


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def block(reports: Sequence[BenchReport]) -> str:
    """What stands between the markers: a table a report."""
    parts = [markdown_table(report) for report in reports]
    if len(parts) > 1:
        parts.insert(0, "Compare times within a table, never between two of them.")
    return "\n\n".join(parts or ["No results yet."])


def updated(text: str, reports: Sequence[BenchReport]) -> str:
    """A page with what is between its markers made anew; as it is, if it has none."""
    pattern = re.compile(f"{re.escape(START)}.*?{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{START}\n{block(reports)}\n{END}", text)


def refresh(path: Path, reports: Sequence[BenchReport]) -> bool:
    """Make a page's tables anew.

    Returns:
        Whether it was out of date.
    """
    old = path.read_text("utf-8")
    new = updated(old, reports)
    if new != old:
        write_bytes(path, new.encode())
    return new != old


def is_stale(path: Path, reports: Sequence[BenchReport]) -> bool:
    """Whether a page's tables are not those of the reports."""
    text = path.read_text("utf-8")
    return updated(text, reports) != text


def pages(root: Path) -> dict[Path, list[BenchReport]]:
    """The pages of a repository, and the reports of each: README.md all, a model's page its own."""
    reports = read_results(root / RESULTS)
    found = {root / "README.md": reports} if (root / "README.md").exists() else {}
    for path in sorted((root / "models").glob("*/README.md")):
        found[path] = [r for r in reports if r.model.name == path.parent.name]
    return found


def main(arguments: Iterable[str]) -> None:
    """Refresh or check the pages of the repository in the current folder.

    Raises:
        CheckError: with --check, a page is out of date.
    """
    found = pages(Path())
    if "--check" in arguments:
        stale = [str(path) for path, reports in found.items() if is_stale(path, reports)]
        if stale:
            raise CheckError(
                f"out of date: {', '.join(stale)}: python -m edge_emotion.benchmarks.markdown"
            )
        return
    for path, reports in found.items():
        if refresh(path, reports):
            print(path)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except EdgeEmotionError as error:
        sys.exit(str(error))

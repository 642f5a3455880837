"""Figures as people write them: one place for terminal, Markdown, HTML and sentences."""

from __future__ import annotations

from collections.abc import Sequence


def size(count: int) -> str:
    """Bytes."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def milliseconds(value: float) -> str:
    """Three digits that count, without the unit: for columns."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def pipe_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first column names the row, the others are figures."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in lines
    )


def ms(value: float) -> str:
    """With the unit: for sentences."""
    return f"{milliseconds(value)} ms"


def times(ratio: float) -> str:
    """A ratio of two times."""
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:.0f} times"


def threads_word(threads: int) -> str:
    """1 thread, 2 threads."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def lost(drop: float) -> str:
    """A difference of two shares, in percentage points."""
    return f"{'gains' if drop < 0 else 'loses'} {abs(100 * drop):.2f} points"

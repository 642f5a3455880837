"""The report on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from edge_emotion.cli.terminal import table_console

from .compare import Comparison
from .figures import Table, machine_line, method_line, tables
from .schema import BenchReport

#: Columns in a pipe, where there is no terminal to ask; wide enough for every table.
PIPE_WIDTH = 120


def print_report(report: BenchReport) -> None:
    """Print on stdout: the verdict last, where a person's eye ends up."""
    console = table_console(PIPE_WIDTH)
    console.print(Text(f"{report.model.name} on {machine_line(report)}", style="bold"))
    console.print(Text(method_line(report), style="dim"))
    for table in tables(report):
        _print_table(console, table, report.recommended)
    console.print()
    for line in report.verdict:
        console.print(Text(f"- {line}"))


def print_comparison(comparison: Comparison) -> None:
    """Print on stdout."""
    console = table_console(PIPE_WIDTH)
    for line in comparison.machines:
        console.print(Text(line))
    _print_table(console, comparison.table)
    console.print()
    for line in comparison.notes:
        console.print(Text(f"- {line}"))


def _print_table(console: Console, table: Table, recommended: str | None = None) -> None:
    rich = RichTable(title=Text(table.title), title_justify="left", title_style="bold")
    for i, name in enumerate(table.header):
        figure = i > 0 and table.title != "Not measured"
        rich.add_column(Text(name), justify="right" if figure else "left")
    for row in table.rows:
        style = "green" if recommended is not None and row[0] == recommended else ""
        rich.add_row(*(Text(cell) for cell in row), style=style)
    console.print()
    console.print(rich)

"""Tables of a run folder: results.csv, the summary in a terminal, Markdown, CSV and LaTeX."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from seqfinal_jax.analysis.plain_text import markdown_text
from seqfinal_jax.analysis.tables.cells import read_cells
from seqfinal_jax.analysis.tables.labels import method_name
from seqfinal_jax.analysis.tables.results_table import (
    Entry,
    Expected,
    ResultsTable,
    cells_table,
    results_table,
    summary,
)
from seqfinal_jax.results.run_folder import write_whole

__all__ = [
    "Expected",
    "csv_text",
    "print_summary",
    "printed_table",
    "results_table",
    "summary",
    "to_csv",
    "to_markdown",
    "write_results_csv",
]

TABLE_COLUMNS = ("architecture", "method", "column", "mean", "spread", "n", "failed", "expected", "status")


def write_results_csv(workdir: str | Path) -> Path:
    """Writes results.csv, one row per completed cell; hyper-parameters of methods' own come last.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    cells = read_cells(workdir)
    return write_whole(
        Path(workdir) / "results.csv", csv_text(tuple(cells.columns), cells.itertuples(index=False))
    )


def print_summary(
    workdir: str | Path | Sequence[str | Path],
    expected: Expected | None = None,
    console: Console | None = None,
) -> ResultsTable:
    """Prints the table of test accuracies, in parts side by side where the console is too narrow for one.

    Args:
        workdir: a run folder, or several of one sequence and protocol.
        expected: what should be there; default: what the configuration names.
        console: where to print; default: standard output.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    table = results_table(workdir, expected)
    print_table(table, console or Console(highlight=False))
    return table


def print_table(table: ResultsTable, console: Console, ids: bool = False) -> None:
    """Prints a table with its captions; `ids`: methods by their ids instead of their columns."""
    console.print(escape(table.title), style="bold")
    for architectures in _parts(table, console.width, ids):
        console.print(_rich_table(table, architectures, ids))
    for caption in table.captions:
        console.print(escape(caption), style="dim")


def printed_table(cells: pd.DataFrame) -> Table:
    """The table of cells alone, without a run folder that says what was expected, for a console."""
    table = cells_table(cells)
    return _rich_table(table, table.architectures)


def to_markdown(table: ResultsTable, ids: bool = False) -> str:
    """The table with its title and captions as Markdown; `ids`: methods by their ids instead of their columns."""
    heads = ["method", "", *(head for architecture in table.architectures for head in (architecture, "n"))]
    lines = [f"**{markdown_text(table.title)}**", "", _markdown_row(heads)]
    lines.append(_markdown_row(["---", "---", *["---:"] * (2 * len(table.architectures))]))
    lines += [_markdown_row(_texts(table, method, table.architectures, ids)) for method in table.methods]
    return "\n".join([*lines, "", *(f"- {markdown_text(caption)}" for caption in table.captions), ""])


def to_csv(table: ResultsTable) -> str:
    """The table as CSV, one row per method and architecture; fractions, not per cent."""
    keys = [(architecture, method) for architecture in table.architectures for method in table.methods]
    return csv_text(TABLE_COLUMNS, [_csv_row(*key, table.entries[key[::-1]]) for key in keys])


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV text that depends on nothing but its values: floats in full, NaN blank, lines end in a newline."""
    values = pd.DataFrame(
        list(rows), columns=list(columns), dtype=object
    )  # no whole number becomes a fraction
    return values.to_csv(index=False, lineterminator="\n")


def _csv_row(architecture: str, method: str, entry: Entry) -> list[Any]:
    numbers = (entry.mean, entry.spread, entry.done, entry.failed, entry.expected, entry.status)
    return [architecture, method, method_name(method).column, *numbers]


def _texts(table: ResultsTable, method: str, architectures: Sequence[str], ids: bool = False) -> list[str]:
    """One line of the table as texts."""
    name, entries = (
        method_name(method),
        [table.entries[method, architecture] for architecture in architectures],
    )
    legend = "" if name.legend == name.column else name.legend
    return [
        method if ids else name.column,
        legend,
        *(text for entry in entries for text in (entry.value, entry.count)),
    ]


def _markdown_row(texts: Iterable[str]) -> str:
    return "| " + " | ".join(map(markdown_text, texts)) + " |"


def _rich_table(table: ResultsTable, architectures: Sequence[str], ids: bool = False) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    shown.add_column("method", no_wrap=True)
    shown.add_column("", overflow="fold")
    for architecture in architectures:
        shown.add_column(escape(architecture), justify="right", no_wrap=True)
        shown.add_column("n", justify="right", no_wrap=True)
    for method in table.methods:
        shown.add_row(*map(escape, _texts(table, method, architectures, ids)))
    return shown


def _parts(table: ResultsTable, width: int, ids: bool = False) -> list[list[str]]:
    """The architectures, in parts that fit the width beside the methods' names."""
    lines = [_texts(table, method, table.architectures, ids) for method in table.methods]
    heads = ["method", "", *(head for architecture in table.architectures for head in (architecture, "n"))]
    widths = [3 + max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    parts: list[list[str]] = [[]]
    room = width - sum(widths[:2])
    left = room
    for place, architecture in enumerate(table.architectures):
        needed = sum(widths[2 + 2 * place : 4 + 2 * place])
        if parts[-1] and needed > left:
            parts.append([])
            left = room
        parts[-1].append(architecture)
        left -= needed
    return parts

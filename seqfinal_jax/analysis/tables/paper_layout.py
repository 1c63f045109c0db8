"""The published layout: architectures as rows, the 18 methods as columns of two halves (analysis specification, 4.3).

Bold: within 2 points of the best method without extra data. Bold italic: within 2 points of the oracle.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd

from seqfinal_jax.analysis.plain_text import latex_text, markdown_text
from seqfinal_jax.analysis.tables.labels import architectures_in_order, in_order, method_name
from seqfinal_jax.analysis.tables.latex import Notes, latex_table
from seqfinal_jax.analysis.tables.metrics import ACCURACY, Metric
from seqfinal_jax.analysis.tables.shared_seeds import shared_seeds
from seqfinal_jax.analysis.tables.text import csv_text
from seqfinal_jax.methods.recipes import METHODS, published_row
from seqfinal_jax.models.families.architectures import FAMILIES, split_name

TOLERANCE = 0.02
NO_ORACLE = math.inf  # stands for the oracle's accuracy where there is none: nothing is near it
PLAIN, BOLD, BOLD_ITALIC = 0, 1, 2
FIRST_FAMILIES = ("reference", "all data", "history, then adapt")
BLOCK = "_block"
TITLE = "Test accuracy at the final step"
MOST_COLUMNS = 10
NOT_THERE = "---"  # of a side module that the family has no small form of


@dataclass(frozen=True)
class PaperCell:
    """One cell: mean and spread over seeds (fractions; NaN where there are too few), their number and the mark."""

    mean: float
    spread: float = math.nan
    n: int = 0
    mark: int = PLAIN
    text: str | None = None

    def shown(self, decimals: int = 2, with_spread: bool = False) -> str:
        """The mean without its leading zero, empty where there is none; with the spread behind it if asked for."""
        if self.text is not None:
            return self.text
        if math.isnan(self.mean):
            return ""
        spread = f" ({_short(self.spread, decimals)})" if with_spread and self.n > 1 else ""
        return _short(self.mean, decimals) + spread


def _short(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text[1:] if text.startswith("0.") else text


@dataclass(frozen=True, eq=False)
class PaperTable:
    """Rows by label, columns of two halves by method, cells by (row, method); rules: rows that a line follows."""

    rows: tuple[str, ...]
    halves: tuple[tuple[str, ...], ...]
    cells: dict[tuple[str, str], PaperCell]
    rules: tuple[str, ...]
    captions: tuple[str, ...]
    metric: Metric = ACCURACY

    @property
    def title(self) -> str:
        """What the table shows."""
        return TITLE if self.metric is ACCURACY else f"Test {self.metric.column} at the final step"


def paper_table(
    cells: pd.DataFrame, published: bool = False, decays: Sequence[str] = (), methods: Sequence[str] = (),
    metric: Metric = ACCURACY,
) -> PaperTable:  # fmt: skip
    """The table of cells with the columns architecture, method, seed and test_accuracy, or that of another metric.

    published: as the published program lays it out, where a ConvNet's whole blocks stand in the columns of single
    convolutions, but are averaged where they belong. decays: methods that count when the best is sought, though they have
    no column of their own, as the published program does.
    """
    architectures = architectures_in_order(cells["architecture"])
    halves = _split(methods) if methods else _halves_of(cells["method"])
    rows = [Row(name, row_label(name), name) for name in architectures]
    rules = tuple(a.label for a, b in pairwise([*rows, Row("", "", "")]) if _family(a.key) != _family(b.key))
    return _laid_out(cells, "architecture", rows, rules, halves, published, decays, metric)


def length_table(cells: pd.DataFrame, architecture: str, metric: Metric = ACCURACY) -> PaperTable:
    """The table of one architecture whose rows are numbers of time steps (analysis specification, 4.4).

    cells: also with the column num_steps.
    """
    own = cells[cells["architecture"] == architecture]
    rows = [Row(count, f"{count} steps", architecture) for count in sorted(own["num_steps"].unique())]
    return _laid_out(own, "num_steps", rows, (), _halves_of(own["method"]), metric=metric)


class Row(NamedTuple):
    """A row: its value in the cells, what it is called, and the architecture that it shows."""

    key: Any
    label: str
    architecture: str


def _laid_out(
    cells: pd.DataFrame,
    column: str,
    rows: Sequence[Row],
    rules: tuple[str, ...],
    halves: Sequence[tuple[str, ...]],
    published: bool = False,
    decays: Sequence[str] = (),
    metric: Metric = ACCURACY,
) -> PaperTable:
    """The halves, a row for each value of a column of the cells."""
    means = cells.groupby([column, "method"])[metric.field].agg(["mean", "std", "size"])
    apart = [m for half in halves for m in half if not method_name(m).comparable]
    found: dict[tuple[str, str], PaperCell] = {}
    for row in rows:
        shared = _shared_means(cells[cells[column] == row.key], metric.field)
        found |= _row(row, means.loc[row.key], shared, halves, published, decays, metric)
    table = means["mean"].unstack("method") if len(means) else pd.DataFrame()
    for half in halves:
        found |= _summary_rows(table, half, apart, [m for part in halves for m in part], metric)
    labels = (*(row.label for row in rows), "Mean", "Std dev")
    return PaperTable(labels, tuple(halves), found, rules, _captions(cells, table, column, metric), metric)


def _halves_of(methods: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The published columns, and behind those of its family each method of the user's own."""
    published = published_row()
    columns = [*published, *(m for m in in_order(methods) if _is_own(m))]
    apart = [method for method in columns if not method_name(method).comparable]
    first = [m for m in columns if method_name(m).family in FIRST_FAMILIES and m not in apart]
    rest = [m for m in columns if m not in first and m not in apart]
    return _in_paper_order(first), (*rest, *apart)


def _is_own(method: str) -> bool:
    """Whether a method comes from a user's file, loaded or not."""
    return METHODS.origin(method) is not None if method in METHODS else method_name(method).column != method


def _split(methods: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """One half of up to ten columns, or two of equal length."""
    if len(methods) <= MOST_COLUMNS:
        return (tuple(methods),)
    middle = -(-len(methods) // 2)
    return tuple(methods[:middle]), tuple(methods[middle:])


def _in_paper_order(methods: Sequence[str]) -> tuple[str, ...]:
    """The order of the records, but for methods that say whose column they follow."""
    order = list(methods)
    for method in methods:
        behind = METHODS.get(method).behind if method in METHODS else ""
        if behind in order:
            order.remove(method)
            order.insert(order.index(behind) + 1, method)
    return tuple(order)


def row_label(architecture: str) -> str:
    """ "Conv-1" for convnet-1."""
    family, _, blocks = architecture.partition("-")
    return f"{family.removesuffix('net').capitalize()}-{blocks}"


def _family(architecture: str) -> str:
    return architecture.partition("-")[0]


def _shared_means(own: pd.DataFrame, field: str) -> "pd.Series[float]":
    """The means of a row's methods on the seeds that the comparable ones share; bold compares these."""
    seeds = {m: set(one["seed"]) for m, one in own.groupby("method")}
    compared, shared = shared_seeds({m: own for m, own in seeds.items() if method_name(m).comparable})
    kept = [m for m, have in seeds.items() if m in compared or have >= set(shared)]
    rows = own[own["seed"].isin(shared) & own["method"].isin(kept)]
    return rows.groupby("method")[field].mean()


def _row(
    row: Row,
    own: pd.DataFrame,
    shared: "pd.Series[float]",
    halves: Sequence[Sequence[str]],
    published: bool,
    decays: Sequence[str],
    metric: Metric,
) -> dict[tuple[str, str], PaperCell]:
    columns = [method for half in halves for method in half]
    comparable = {*(m for m in columns if method_name(m).comparable), *decays}
    shared = metric.sign * shared  # higher is better
    best = max((shared[m] for m in shared.index if m in comparable), default=math.nan)
    oracle = next((shared[m] for m in shared.index if not method_name(m).comparable), NO_ORACLE)
    cells = {}
    for method in columns:
        source = _shown_method(row.architecture, method, published)
        if source is None:
            cells[row.label, method] = PaperCell(math.nan, text=NOT_THERE)
        elif source in own.index:
            mean, spread, count = own.loc[source]
            marked = method_name(method).comparable and source in shared.index
            mark = _mark(shared[source], best, oracle, _tolerance(metric)) if marked else PLAIN
            cells[row.label, method] = PaperCell(float(mean), float(spread), int(count), mark)
        else:
            cells[row.label, method] = PaperCell(math.nan)
    return cells


def _shown_method(architecture: str, method: str, published: bool) -> str | None:
    """The method whose result stands in a cell; None where the family has nothing to put there."""
    if FAMILIES.get(split_name(architecture)[0]).small_side_modules:
        return method
    if f"{method}{BLOCK}" in METHODS:
        return f"{method}{BLOCK}" if published else None
    return None if published and method.endswith(BLOCK) else method


def _tolerance(metric: Metric) -> float:
    """How far from the best is as good as it: 2 points, and nothing for a metric that is no fraction."""
    return TOLERANCE if metric.percent else 0.0


def _mark(mean: float, best: float, oracle: float, tolerance: float) -> int:
    if mean >= oracle - tolerance:
        return BOLD_ITALIC
    return BOLD if best - mean <= tolerance else PLAIN


def _summary_rows(
    table: pd.DataFrame, half: Sequence[str], apart: Sequence[str], columns: Sequence[str], metric: Metric
) -> dict[tuple[str, str], PaperCell]:
    """Mean and population standard deviation over the architectures that have a method."""
    known = [method for method in columns if method in table.columns]
    signed = metric.sign * table  # higher is better
    overall = {m: signed[m].mean() for m in known if m not in apart}
    best = max(overall, key=overall.get, default=None)
    cells = {}
    for method in half:
        if method not in known:
            cells["Mean", method] = cells["Std dev", method] = PaperCell(math.nan)
            continue
        mark = PLAIN
        if method not in apart:
            near_oracle = any(_equivalent(signed, oracle, method) for oracle in apart if oracle in known)
            near_best = method == best or _equivalent(signed, best, method)
            mark = BOLD_ITALIC if near_oracle else BOLD if near_best else PLAIN
        values = table[method].dropna()
        cells["Mean", method] = PaperCell(float(values.mean()), n=1, mark=mark)
        cells["Std dev", method] = PaperCell(float(values.std(ddof=0)), n=1)
    return cells


def _equivalent(table: pd.DataFrame, reference: str, method: str) -> bool:
    """Whether the mean difference over shared architectures is less than its standard deviation over them."""
    differences = (table[reference] - table[method]).dropna()
    return bool(len(differences)) and bool(differences.mean() - differences.std(ddof=0) < 0)


def _captions(cells: pd.DataFrame, table: pd.DataFrame, column: str, metric: Metric) -> tuple[str, ...]:
    seeds = sorted(cells["seed"].unique().tolist())
    counts = cells.groupby([column, "method"]).size()
    what = "architectures" if column == "architecture" else "numbers of time steps"
    spread = (
        f"{counts.min()} to {counts.max()}"
        if len(counts) and counts.min() != counts.max()
        else f"{counts.max()}"
    )
    uneven = {method: int(table[method].notna().sum()) for method in table.columns}
    few = [f"{method_name(m).column} {n}" for m, n in uneven.items() if n < len(table)]
    lines = [
        f"test {metric.column}, mean over seeds {', '.join(map(str, seeds))} (n = {spread} in a cell); {_bold(metric)}",
        f"Mean and Std dev (population): over the {what} that have the method",
    ]
    if spread != f"{counts.max()}":
        lines.append("bold and bold italic compare on the seeds that the methods of a row share")
    if few:
        lines.append(f"{what} in the Mean row, of {len(table)}: {', '.join(few)}; all others have all")
    return tuple(lines)


def _bold(metric: Metric) -> str:
    """What bold and bold italic mean."""
    if not metric.percent:
        return f"{metric.better} is better; bold: the best method, bold italic: as good as the oracle"
    worse = "below" if metric.sign > 0 else "above"
    better = "" if metric is ACCURACY else f"{metric.better} is better; "
    return f"{better}bold: at most 2 points {worse} the best method, bold italic: at most 2 points {worse} the oracle"


def with_captions(table: PaperTable, captions: Sequence[str]) -> PaperTable:
    """The table with more to say."""
    return replace(table, captions=(*table.captions, *captions))


def to_latex(table: PaperTable, with_spread: bool = False, decimals: int = 2, notes: Notes = "plain") -> str:
    """Two tabulars, one under the other, for a document that uses booktabs."""
    parts = []
    for half in table.halves:
        lines = [rf"\begin{{tabular}}{{l{'r' * len(half)}}}", r"\toprule"]
        lines.append(" & ".join(["", *(latex_text(method_name(m).column) for m in half)]) + r" \\")
        lines.append(r"\midrule")
        for row in table.rows:
            shown = [_latex_cell(table.cells[row, method], with_spread, decimals) for method in half]
            lines.append(" & ".join([latex_text(row), *shown]) + r" \\")
            if row in table.rules:
                lines.append(r"\midrule")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]))
    return latex_table(latex_text(table.title), parts, [*map(latex_text, table.captions)], notes)


def _latex_cell(cell: PaperCell, with_spread: bool, decimals: int) -> str:
    text = latex_text(cell.shown(decimals, with_spread))
    if not text or cell.mark == PLAIN:
        return text
    return rf"\textbf{{{text}}}" if cell.mark == BOLD else rf"\textbf{{\textit{{{text}}}}}"


def to_markdown(table: PaperTable, with_spread: bool = False, decimals: int = 2) -> str:
    """The two halves as Markdown."""
    return _halves(table, lambda cell: _marked(cell.shown(decimals, with_spread), cell.mark))


def _marked(text: str, mark: int) -> str:
    return f"{'*' * (0, 2, 3)[mark]}{text}{'*' * (0, 2, 3)[mark]}" if text else ""


def _halves(table: PaperTable, shown: Callable[[PaperCell], str]) -> str:
    parts = []
    for half in table.halves:
        heads = ["", *(markdown_text(method_name(method).column) for method in half)]
        lines = [heads, ["---", *["---:"] * len(half)]]
        lines += [
            [markdown_text(row), *(shown(table.cells[row, method]) for method in half)] for row in table.rows
        ]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join([*parts, "\n".join(f"- {markdown_text(line)}" for line in table.captions)]) + "\n"


def best_tested_decay(cells: pd.DataFrame, variants: Sequence[str], method: str) -> pd.DataFrame:
    """The cells with another method added: for every architecture and seed the variant of the best *test* accuracy.

    That is selection on test data, as the published tables do it; say so where it is shown.
    """
    own = cells[cells["method"].isin(variants)]
    best = own.groupby(["architecture", "seed"], as_index=False)["test_accuracy"].max().assign(method=method)
    kept = cells[cells["method"] != method]
    return pd.concat([kept, best], ignore_index=True)


def to_csv(table: PaperTable) -> str:
    """Every cell as a row: row, method, column, mean, spread, n, mark; fractions in full."""
    marks = ("", "bold", "bold italic")
    rows = [
        (row, method, method_name(method).column, cell.mean, cell.spread, cell.n, marks[cell.mark])
        for (row, method), cell in table.cells.items()
    ]
    return csv_text(("row", "method", "column", "mean", "spread", "n", "mark"), rows)

"""Comparisons with a reference as CSV, Markdown and LaTeX."""

import math
from collections.abc import Mapping, Sequence

from seqfinal_jax.analysis.plain_text import latex_text, markdown_text
from seqfinal_jax.analysis.tables.comparisons import Judged
from seqfinal_jax.analysis.tables.labels import MISSING, method_name
from seqfinal_jax.analysis.tables.latex import Notes, latex_table, tabular
from seqfinal_jax.analysis.tables.metrics import ACCURACY
from seqfinal_jax.analysis.tables.text import csv_text

CSV_COLUMNS = (
    "architecture", "method", "reference", "n", "difference", "low", "high", "p", "adjusted", "together", "kind", "claim",
)  # fmt: skip
HEADS = ("method", "n", "difference", "95 % interval", "p", "p by Holm", "comparison", "claim")
SAID = (
    "interval and p: of the exact sign-flip test, paired by seed",
    "p by Holm: adjusted for all comparisons of that kind",
)
Rows = Mapping[str, Sequence[Judged]]


def comparisons_csv(found: Rows) -> str:
    """One row per architecture and method; differences as fractions."""
    rows = []
    for architecture, judged in found.items():
        for row in judged:
            each = row.comparison
            numbers = (len(each.seeds), each.difference, each.low, each.high, each.p, each.adjusted)
            named = (architecture, each.method, each.reference)
            rows.append((*named, *numbers, row.together, row.kind, row.claim))
    return csv_text(CSV_COLUMNS, rows)


def comparisons_markdown(found: Rows, ids: bool = False) -> str:
    """One table per architecture."""
    parts = []
    for architecture, judged in found.items():
        lines = [HEADS, ["---", *["---:"] * 5, "---", "---"]]
        lines += [list(map(markdown_text, _texts(row, ids))) for row in judged]
        shown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"**{markdown_text(_title(architecture, judged, ids))}**\n\n{shown}")
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in _said(found))]) + "\n"


def _said(found: Rows) -> list[str]:
    """What the columns mean."""
    metric = next((row.metric for judged in found.values() for row in judged), ACCURACY)
    points = " in points," if metric.percent else ""
    of = f"test {metric.column} minus that of the reference,{points} the mean over the seeds that both have"
    return [f"difference: {of}", *SAID]


def comparisons_latex(found: Rows, ids: bool = False, notes: Notes = "plain") -> str:
    """One table per architecture."""
    parts = []
    for architecture, judged in found.items():
        rows = [[latex_text(text) for text in _texts(row, ids)] for row in judged]
        body = tabular("lrrrrrll", HEADS, rows)
        parts.append(
            latex_table(
                latex_text(_title(architecture, judged, ids)), [body], [*map(latex_text, _said(found))], notes
            )
        )
    return "\n".join(parts)


def _title(architecture: str, judged: Sequence[Judged], ids: bool) -> str:
    return f"{architecture}: every method against {_name(judged[0].comparison.reference, ids)}"


def _name(method: str, ids: bool) -> str:
    return method if ids else method_name(method).column


def _texts(row: Judged, ids: bool) -> list[str]:
    each, text = row.comparison, row.metric.difference
    interval = MISSING if math.isnan(each.low) else f"[{text(each.low)}, {text(each.high)}]"
    p = [MISSING if math.isnan(value) else f"{value:.3g}" for value in (each.p, each.adjusted)]
    return [
        _name(each.method, ids),
        str(len(each.seeds)),
        text(each.difference),
        interval,
        *p,
        row.kind,
        row.claim,
    ]

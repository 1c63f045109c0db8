"""Tables for a paper: booktabs, the best in bold, marks of claims, a short caption, and notes below the table."""

from collections.abc import Mapping, Sequence
from typing import Literal

from seqfinal_jax.analysis.plain_text import latex_text
from seqfinal_jax.analysis.tables.comparisons import SMALLEST, Judged, judged_comparisons
from seqfinal_jax.analysis.tables.labels import listed, method_name
from seqfinal_jax.analysis.tables.results_table import ResultsTable

Notes = Literal["plain", "threeparttable"]
BETTER, WORSE = r"$^{*}$", r"$^{\circ}$"


def to_latex(
    table: ResultsTable,
    judged: Mapping[str, Sequence[Judged]] | None = None,
    ids: bool = False,
    notes: Notes = "plain",
) -> str:
    """The table of a run: one row per method, one column per architecture.

    judged: the comparisons that marks stand for, which were adjusted for all methods of the run, shown or not; default:
    those of the table. ids: methods by their ids instead of their columns. notes: what has to be said below the table
    stands in a box of the line's width, or in the notes of the package threeparttable.
    """
    judged = (
        judged_comparisons(table.cells, SMALLEST, table.records, metric=table.metric)
        if judged is None
        else judged
    )
    counts = {entry.count for entry in table.entries.values() if entry.done}
    uneven = len(counts) > 1
    heads = ["method", *(h for a in table.architectures for h in ((a, "n") if uneven else (a,)))]
    rows = [_row(table, method, judged, uneven, ids) for method in table.methods]
    said = [*_marks_said(table, judged), *map(latex_text, table.captions)]
    columns = "l" + ("rr" if uneven else "r") * len(table.architectures)
    return latex_table(latex_text(table.title), [tabular(columns, heads, rows)], said, notes)


def _row(
    table: ResultsTable, method: str, judged: Mapping[str, Sequence[Judged]], uneven: bool, ids: bool
) -> list[str]:
    cells = [method if ids else method_name(method).column]
    texts = [latex_text(cells[0])]
    for architecture in table.architectures:
        entry = table.entries[method, architecture]
        shown = latex_text(entry.value)
        shown = rf"\textbf{{{shown}}}" if method in best_methods(table, architecture) else shown
        texts.append(shown + _mark(judged.get(architecture, ()), method))
        texts += [latex_text(entry.count)] if uneven else []
    return texts


def best_methods(table: ResultsTable, architecture: str) -> list[str]:
    """The methods of the best mean, as shown, among those with the same data and the same, largest number of seeds."""
    entries = {m: table.entries[m, architecture] for m in table.methods if method_name(m).comparable}
    most = max((entry.done for entry in entries.values()), default=0)
    means = {m: table.metric.text(entry.mean) for m, entry in entries.items() if entry.done == most and most}
    best = table.metric.best(map(float, means.values())) if means else None
    return [m for m, mean in means.items() if float(mean) == best]


def _mark(judged: Sequence[Judged], method: str) -> str:
    own = next((each for each in judged if each.comparison.method == method), None)
    if own is None or not own.called:
        return ""
    return BETTER if own.claim == "better" else WORSE


def _marks_said(table: ResultsTable, judged: Mapping[str, Sequence[Judged]]) -> list[str]:
    """What bold and the marks mean."""
    said = [
        rf"\textbf{{bold}}: the {table.metric.most} mean among methods with the same data and number of seeds"
    ]
    references = {each.comparison.reference for rows in judged.values() for each in rows}
    if references:
        names = latex_text(listed(method_name(m).column for m in table.methods if m in references))
        said.append(
            f"{BETTER}, {WORSE}: better, worse than {names} by the exact sign-flip test paired by seed (5 \\%, adjusted "
            f"by Holm)"
        )
    return said


def tabular(columns: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A tabular of booktabs; the heads are plain text, the rows LaTeX already."""
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(latex_text, heads)) + r" \\",
        r"\midrule",
    ]
    return "\n".join([*lines, *(" & ".join(row) + r" \\" for row in rows), r"\bottomrule", r"\end{tabular}"])


def latex_table(caption: str, bodies: Sequence[str], said: Sequence[str], notes: Notes = "plain") -> str:
    """A table with a short caption above its bodies, and what has to be said of it below; all of it LaTeX already."""
    body = "\n\n\\medskip\n\n".join(bodies)
    if notes == "threeparttable":
        items = "\n".join(rf"\item {line}." for line in said)
        inner = (
            f"\\begin{{threeparttable}}\n\\caption{{{caption}}}\n{body}\n"
            f"\\begin{{tablenotes}}\\footnotesize\n{items}\n\\end{{tablenotes}}\n\\end{{threeparttable}}"
        )
    else:
        text = " ".join(f"{line}." for line in said)
        inner = (
            f"\\caption{{{caption}}}\n{body}\n\n\\smallskip\n"
            f"\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{text}\n\\end{{minipage}}"
        )
    return f"\\begin{{table}}\n\\centering\\small\n{inner}\n\\end{{table}}\n"

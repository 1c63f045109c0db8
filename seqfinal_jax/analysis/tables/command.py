"""Tables of one or several run folders.

Command   seqfinal tables RUN [RUN...] [--layout=long|paper|lengths] [--format=terminal|csv|markdown|latex]
          python -m seqfinal_jax.analysis.tables is the same command

Several folders are joined: they must hold cells of one sequence and protocol. The layout `lengths` is for sequences of
several lengths: a table for each architecture, whose rows are the numbers of time steps. In the other layouts a RUN may
also be a `metrics.csv` of the published program, or a folder of them. --metric=ece shows another number than the
accuracy, from the stored logits; `python -m seqfinal_jax list metrics` lists them. Only a metric of your own runs your
code.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from seqfinal_jax.analysis.run_code import add_code_flags, allowed_code, load_run_plugins
from seqfinal_jax.analysis.tables import comparison_formats as formats
from seqfinal_jax.analysis.tables import latex, paper_layout, text
from seqfinal_jax.analysis.tables.comparisons import comparison_lines, judged_comparisons, smallest_difference
from seqfinal_jax.analysis.tables.labels import architectures_in_order, listed, method_called, method_name
from seqfinal_jax.analysis.tables.metrics import ACCURACY, METRICS, Metric, with_metrics
from seqfinal_jax.analysis.tables.original import read_original
from seqfinal_jax.analysis.tables.results_table import ResultsTable, joined_cells, results_table
from seqfinal_jax.config.command_line import FlagParser
from seqfinal_jax.results.run_folder import read_config

FORMATS = ("terminal", "csv", "markdown", "latex")
DECAYS, BEST_DECAY = (
    "SFT ",
    "sequential_fine_tune",
)  # columns of the variants, and the method that is the best of them


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints or writes a table; 2 where a folder cannot be read."""
    parser = FlagParser(__doc__)
    parser.add_argument(
        "runs", type=Path, nargs="+", help="run folders, or the published program's metrics.csv files"
    )
    parser.add_argument("--layout", choices=("long", "paper", "lengths"), default="long")
    parser.add_argument("--format", choices=FORMATS, default="terminal")
    parser.add_argument("--published_cells", action="store_true",
                        help="paper layout: a ConvNet's side blocks stand under -1, as published")  # fmt: skip
    parser.add_argument("--select", choices=("validation", "test"), default="validation",
                        help="what chooses the decay of SFT; test reproduces published tables only")  # fmt: skip
    parser.add_argument(
        "--with_spread", action="store_true", help="paper layout: (standard deviation) behind a mean"
    )
    parser.add_argument("--decimals", type=int, default=2, help="paper layout: decimals of an accuracy")
    parser.add_argument("--against", help="compare every method with this one, paired by seed")
    parser.add_argument(
        "--methods",
        default="",
        help="the methods to show, separated by commas, in this order: ids, columns or legends",
    )
    parser.add_argument("--metric", default="accuracy", help="what is shown; default: accuracy")
    add_code_flags(parser)
    parser.add_argument("--ids", action="store_true", help="name methods by their ids")
    parser.add_argument("--notes", choices=("plain", "threeparttable"), default="plain",
                        help="LaTeX: notes below the table in a box, or as tablenotes of threeparttable")  # fmt: skip
    parser.add_argument("--out", type=Path, help="file to write; default: standard output")
    return parser.run(_show, arguments)


def _show(options: Any) -> None:
    with allowed_code(options):
        options.metric = _metric(options)
        shown = _text(options)
    if not options.out:
        print(shown, end="")
        return
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(shown, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"--out={options.out} cannot be written ({error.strerror})") from error


def _metric(options: Any) -> Metric:
    """The metric that is shown; the plugins of a run are loaded only for one that this package does not have."""
    if options.metric not in METRICS:
        _load_plugins(options)
    found = METRICS.get(options.metric)
    if found is not ACCURACY and (_are_original(options.runs) or options.select == "test"):
        raise ValueError(
            f"--metric={found.id} is computed from the stored logits of run folders, with models chosen by validation; "
            f"leave out the published program's files and --select=test"
        )
    return found


def _load_plugins(options: Any) -> None:
    try:
        for run in options.runs:
            if (run / "config.json").is_file():
                load_run_plugins(run)
    except ValueError as error:
        known = listed(METRICS)
        raise ValueError(f"--metric={options.metric} is none of {known}; of the run {error}") from error


def _text(options: Any) -> str:
    """The table as text; what goes to a terminal has been printed then."""
    if options.layout == "lengths":
        return _lengths(options)
    if options.layout == "paper" or _are_original(options.runs):
        return _paper(options)
    table = results_table(options.runs, metric=options.metric)
    if len(options.runs) == 1:
        _keep_results(options.runs[0])
    smallest, methods = smallest_difference(options.runs[0]), _named(options.methods, table.methods)
    if options.against:
        reference = method_called(options.against, table.methods)
        return _comparisons(table, reference, smallest, methods, options)
    shown = _chosen(table, methods)
    if options.format == "terminal" and not options.out:
        text.print_table(shown, Console(highlight=False), options.ids)
        return ""
    if options.format == "csv":
        return text.to_csv(shown)
    if options.format == "latex":
        judged = judged_comparisons(table.cells, smallest, table.records, metric=table.metric)
        return latex.to_latex(shown, judged, options.ids, options.notes)
    return text.to_markdown(shown, options.ids)


def _named(asked: str, methods: Sequence[str]) -> tuple[str, ...]:
    """The methods that a flag names in any way, in its order."""
    names = (part.strip() for part in asked.split(","))
    return tuple(dict.fromkeys(method_called(name, methods) for name in names if name))


def _chosen(table: ResultsTable, methods: Sequence[str]) -> ResultsTable:
    """The table of these methods, in this order; of all where none is named."""
    if not methods:
        return table
    here = {name: getattr(table, name) for name in ("cells", "failures")}
    return replace(
        table,
        methods=list(methods),
        entries={(m, a): table.entries[m, a] for m in methods for a in table.architectures},
        records=[record for record in table.records if record["method"] in methods],
        **{name: frame[frame["method"].isin(methods)].reset_index(drop=True) for name, frame in here.items()},
    )


def _comparisons(
    table: ResultsTable, reference: str, smallest: float, methods: Sequence[str], options: Any
) -> str:
    """Methods against a reference; adjusted for all methods of the run, whichever are shown."""
    if options.format == "terminal":
        lines = comparison_lines(table.cells, reference, smallest, table.records, table.metric)
        return "\n".join(lines) + "\n"
    found = judged_comparisons(table.cells, smallest, table.records, reference, table.metric)
    if methods:
        order = {method: place for place, method in enumerate(methods)}
        kept = {a: [row for row in rows if row.comparison.method in order] for a, rows in found.items()}
        found = {
            a: sorted(rows, key=lambda row: order[row.comparison.method]) for a, rows in kept.items() if rows
        }
    if options.format == "csv":
        return formats.comparisons_csv(found)
    if options.format == "latex":
        return formats.comparisons_latex(found, options.ids, options.notes)
    return formats.comparisons_markdown(found, options.ids)


def _keep_results(run: Path) -> None:
    """Writes results.csv into the run folder; a folder that cannot be written is one line, and the table is shown."""
    try:
        text.write_results_csv(run)
    except OSError as error:
        print(f"warning: {run / 'results.csv'} is not written ({error.strerror})", file=sys.stderr)


def _paper(options: Any) -> str:
    cells, captions = _cells(options)
    methods = _named(options.methods, cells["method"])
    table = paper_layout.paper_table(cells, options.published_cells, methods=methods, metric=options.metric)
    return _written(paper_layout.with_captions(table, captions), options)


def _written(table: paper_layout.PaperTable, options: Any) -> str:
    if options.format == "csv":
        return paper_layout.to_csv(table)
    if options.format == "latex":
        return paper_layout.to_latex(table, options.with_spread, options.decimals, options.notes)
    return paper_layout.to_markdown(table, options.with_spread, options.decimals)


def _lengths(options: Any) -> str:
    """A table for each architecture, rows by the number of time steps."""
    cells = cells_by_length(options.runs, options.metric)
    found = []
    for architecture in architectures_in_order(cells["architecture"]):
        table = paper_layout.length_table(cells, architecture, options.metric)
        protocol = listed(cells["protocol"].unique())
        said = f"{architecture}, protocol {protocol}; sequences {listed(cells['sequence'].unique())}"
        found.append(_written(paper_layout.with_captions(table, (said,)), options))
    return "\n".join(found)


def cells_by_length(runs: Sequence[Path], metric: Metric = ACCURACY) -> pd.DataFrame:
    """The cells of sequences of several lengths, with the number of time steps of each as num_steps.

    Raises ValueError where two sequences have the same length, or the protocols differ.
    """
    by_length: dict[int, list[Path]] = {}
    for run in runs:
        by_length.setdefault(_num_steps(run), []).append(run)
    frames = [
        with_metrics(joined_cells(folders), folders, [metric]).assign(num_steps=count)
        for count, folders in sorted(by_length.items())
    ]
    cells = pd.concat(frames, ignore_index=True)
    if cells["protocol"].nunique() > 1:
        raise ValueError(
            f"the run folders follow several protocols ({listed(cells['protocol'].unique())}); name those of one"
        )
    return cells


def _num_steps(run: Path) -> int:
    """How many time steps the sequence of a run has, by its configuration."""
    data = read_config(run).get("data", {})
    if not data.get("shifts"):
        raise ValueError(
            f"{run}: --layout=lengths needs runs whose config.data.shifts tells the number of time steps"
        )
    shifts = data["shifts"]
    return 1 + len(shifts.split(":") if isinstance(shifts, str) else shifts)


def _cells(options: Any) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Cells to lay out, and what has to be said of how they were chosen."""
    original = _are_original(options.runs)
    cells = read_original(_metrics(options.runs)) if original else joined_cells(options.runs)
    cells = with_metrics(cells, options.runs, [options.metric])
    variants = [m for m in cells["method"].unique() if method_name(m).column.startswith(DECAYS)]
    if options.select == "test" and variants:
        said = "SFT: the decay of the best TEST accuracy in each seed, which is selection on test data"
        return paper_layout.best_tested_decay(cells, variants, BEST_DECAY), (said,)
    if original and variants:
        return cells, (
            "SFT is empty: metrics.csv has no validation accuracy; --select=test shows the published choice",
        )
    return cells, ()


def _are_original(runs: Sequence[Path]) -> bool:
    return any(run.is_file() for run in runs) or (
        not any((run / "config.json").is_file() for run in runs) and bool(_metrics(runs))
    )


def _metrics(runs: Sequence[Path]) -> list[Path]:
    return [path for run in runs for path in ([run] if run.is_file() else sorted(run.rglob("metrics*.csv")))]

"""The effect of the adjacent penalty of the joint model, from one or more run folders.

Command   python -m seqfinal_jax.analysis.adjacent RUN [RUN ...] [--architecture A] [--out DIR]

Reads the cells of joint, joint_adjacent_reg_none, joint_adjacent_reg_l2_high and joint_adjacent_reg_l2_very_high, and
erm_final and erm_all where they are. Writes adjacent_accuracy.png, adjacent_change.png and their numbers adjacent.csv.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from seqfinal_jax.analysis.figures.adjacent_charts import accuracy_chart, change_chart
from seqfinal_jax.analysis.figures.adjacent_effect import (
    CSV_COLUMNS,
    AdjacentEffect,
    adjacent_effect,
    effect_rows,
    summarised,
)
from seqfinal_jax.analysis.figures.log_axis import short_number
from seqfinal_jax.analysis.tables.labels import limit_methods, method_name, percent
from seqfinal_jax.analysis.tables.text import csv_text
from seqfinal_jax.config.command_line import FlagParser
from seqfinal_jax.results.run_folder import write_whole

NO_CHANGE = (
    "adjacent_change.png is not drawn: no cell of the joint model has a layer_change.csv; "
    "delete these cells and run again to have it"
)


def write_effect(effect: AdjacentEffect, folder: Path) -> list[Path]:
    """Writes the figures and adjacent.csv, whose rows are all drawn numbers; accuracies are fractions.

    The figure of parameter changes is left out where no cell has them.
    """
    paths = [accuracy_chart(effect, folder / "adjacent_accuracy.png")]
    if len(effect.change):
        paths.append(change_chart(effect, folder / "adjacent_change.png"))
    return [*paths, write_whole(folder / "adjacent.csv", csv_text(CSV_COLUMNS, effect_rows(effect)))]


def print_effect(effect: AdjacentEffect, console: Console) -> None:
    """Prints the validation accuracy at each γ and of the references, mean ± spread over n seeds."""
    title = f"Validation accuracy (%) against the adjacent penalty: {effect.sequence}, {effect.architecture}"
    console.print(escape(f"{title}, protocol {effect.protocol}"), style="bold")
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head, justify in (("γ", "right"), ("accuracy", "right"), ("n", "right")):
        shown.add_column(head, justify=justify)
    table = summarised(effect.accuracy)
    for series in ("joint", *limit_methods()):
        for row in table[table["series"] == series].itertuples():
            name = short_number(row.adjacent) if series == "joint" else method_name(series).legend
            shown.add_row(name, f"{percent(row.mean)} ± {percent(row.spread)}", str(row.n))
    console.print(shown)
    console.print(
        escape(f"the best grid point of each γ; selection: {effect.selection}; mean ± sample standard deviation"),
        style="dim",
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the figures and prints the table; 2 where the input is of no use."""
    parser = FlagParser(__doc__)
    parser.add_argument("workdirs", nargs="+", type=Path, metavar="RUN", help="the --workdir of a run")
    parser.add_argument("--architecture", help="whose cells; needed where the runs have several")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: the folder figures of the first run"
    )
    return parser.run(_draw, arguments)


def _draw(options: Any) -> None:
    console = Console(highlight=False)
    effect = adjacent_effect(options.workdirs, options.architecture)
    paths = write_effect(effect, options.out or options.workdirs[0] / "figures")
    print_effect(effect, console)
    if not len(effect.change):
        console.print(NO_CHANGE, soft_wrap=True)
    for path in paths:
        console.print(f"wrote {path}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())

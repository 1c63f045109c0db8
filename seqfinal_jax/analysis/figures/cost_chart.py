"""Cost against accuracy: what a method's training took, alone and beside the others, and what came of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from seqfinal_jax.analysis.figures.log_axis import round_ticks, set_log_axis
from seqfinal_jax.analysis.figures.palette import (
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    clean_axes,
    legend_below,
    method_style,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import figure
from seqfinal_jax.analysis.tables.costs import mean_costs
from seqfinal_jax.analysis.tables.labels import method_name
from seqfinal_jax.analysis.tables.results_table import ResultsTable, results_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 2


@figure("cost")
def cost_chart(workdir: str | Path) -> list[Path] | None:
    """Draws figures/cost.png: mean test accuracy (%) against forward passes of training; None where none are recorded.

    Raises RunFolderError for a folder that is not a run folder, or a damaged one.
    """
    return draw_costs(results_table(workdir), Path(workdir) / "figures" / "cost.png")


def draw_costs(table: ResultsTable, path: Path) -> list[Path] | None:
    """Draws the chart of a table, which may be of several folders; None where no cost is recorded."""
    costs = mean_costs(table.records)
    return None if costs.empty else [save_png(_draw(table, costs), path)]


def _draw(table: ResultsTable, costs: pd.DataFrame) -> "Figure":
    architectures = list(dict.fromkeys(costs.index.get_level_values("architecture")))
    columns = min(COLUMNS, len(architectures))
    rows = -(-len(architectures) // columns)
    figure = new_figure(max(7.2, 4.6 * columns), 1.6 + 3.4 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(architectures) :]:
        axes.set_visible(False)
    for axes, architecture in zip(panels, architectures, strict=False):
        _panel(axes, table, costs.loc[architecture], architecture)
    said = "filled: a method alone; open: where stages that methods share are divided among them"
    title = "\n".join(filter(None, (f"Cost and accuracy: {table.sequence}", said, table.daggers)))
    figure.suptitle(title, fontsize=TITLE_SIZE, color=INK)
    methods = [m for m in table.methods if m in set(costs.index.get_level_values("method"))]
    marks = [
        _handle(method_name(m).legend + table.dagger(m), *method_style(table.methods.index(m)))
        for m in methods
    ]
    legend_below(figure, marks)
    return figure


def _panel(axes: "Axes", table: ResultsTable, costs: pd.DataFrame, architecture: str) -> None:
    """A filled mark at the cost alone, joined to a small open one at the cost beside the other methods."""
    cells = table.cells[table.cells["architecture"] == architecture]
    axes.set_title(architecture, fontsize=LABEL_SIZE, loc="left", color=INK)
    clean_axes(axes)
    for method, (alone, shared) in costs.iterrows():
        own = cells[cells["method"] == method]["test_accuracy"]
        accuracy = 100 * own.mean()
        color, marker = method_style(table.methods.index(method))
        axes.plot([shared, alone], [accuracy, accuracy], color=color, linewidth=1, zorder=2)
        axes.scatter(
            [shared], [accuracy], s=16, facecolors="white", edgecolors=color, marker=marker, zorder=3
        )
        axes.errorbar(
            alone, accuracy, 100 * own.std(ddof=1) if len(own) > 1 else 0, color=color, marker=marker,
            markersize=6, elinewidth=0.8, zorder=4,
        )  # fmt: skip
    low, high = costs.to_numpy().min() / 1.3, costs.to_numpy().max() * 1.3
    set_log_axis(axes, "x", round_ticks(low, high))
    axes.set_xlim(low, high)
    axes.set_xlabel("forward passes of one image", fontsize=LABEL_SIZE)
    axes.set_ylabel("test accuracy (%)", fontsize=LABEL_SIZE)


def _handle(label: str, color: str, marker: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, color=color, marker=marker, markersize=5, linestyle="none")

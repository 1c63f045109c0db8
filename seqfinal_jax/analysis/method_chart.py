"""The chart of test accuracies: methods as rows, architectures as panels, every seed a point."""

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from seqfinal_jax.analysis.labels import MISSING, method_name
from seqfinal_jax.analysis.palette import (
    CAPTION_SIZE,
    FAMILIES,
    GREY,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    clean_axes,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.results_table import Entry, Expected, ResultsTable, results_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS_A_ROW = 4
SEED_SPREAD = 0.3


def method_chart(workdir: str | Path, expected: Expected | None = None) -> Path | None:
    """Draws figures/methods.png: the test accuracy (%) of every method, all seeds and their mean.

    Args:
        workdir: a run folder.
        expected: what should be there, shown as missing where it is not; default: what the configuration names.

    Returns:
        The file, or None when there is no method to show.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    table = results_table(workdir, expected)
    if not table.entries:
        return None
    return save_png(_draw(table), Path(workdir) / "figures" / "methods.png")


def _draw(table: ResultsTable) -> "Figure":
    columns = min(PANELS_A_ROW, len(table.architectures))
    rows = math.ceil(len(table.architectures) / columns)
    width = max(6.4, 2.2 + 2.6 * columns)
    figure = new_figure(width, 2.2 + rows * (0.8 + 0.3 * len(table.methods)))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, architecture in zip(grid, table.architectures, strict=False):
        _draw_panel(axes, table, architecture)
    _label_panels(list(grid), table, columns)
    figure.suptitle(_wrapped(table.title, width, 0.085), fontsize=TITLE_SIZE, color=INK)
    _legend(figure, table, _wrapped(_caption(table), width, 0.068))
    return figure


def _draw_panel(axes: "Axes", table: ResultsTable, architecture: str) -> None:
    clean_axes(axes)
    axes.set_title(architecture, fontsize=LABEL_SIZE + 1)
    for row, method in enumerate(table.methods):
        here = (table.cells["method"] == method) & (table.cells["architecture"] == architecture)
        entry = table.entries[method, architecture]
        _draw_entry(axes, row, method_name(method).family, table.cells[here], entry)


def _draw_entry(axes: "Axes", row: int, family: str, cells: pd.DataFrame, entry: Entry) -> None:
    """One row of a panel: points, their mean, and a word where seeds lack."""
    color, marker = FAMILIES.get(family, FAMILIES["other"])
    if not entry.done:
        _note(axes, row, entry.status, 0.5, "center")
        return
    accuracies = 100 * cells["test_accuracy"]
    offsets = [SEED_SPREAD * ((i + 0.5) / len(cells) - 0.5) for i in range(len(cells))]
    places = [row + offset for offset in offsets]
    axes.plot(
        [100 * entry.mean] * 2, [row - 0.32, row + 0.32], color=color, linewidth=2.2, solid_capstyle="butt"
    )
    axes.scatter(
        accuracies, places, s=26, marker=marker, color=color, edgecolors="white", linewidths=0.6, zorder=3
    )
    if entry.status == "partly":
        _note(axes, row, f"n = {entry.count}", 0.99, "right")


def _note(axes: "Axes", row: int, text: str, x: float, side: str) -> None:
    axes.text(
        x, row, text, transform=axes.get_yaxis_transform(), ha=side, va="center", fontsize=CAPTION_SIZE,
        color=GREY, style="italic",
    )  # fmt: skip


def _label_panels(grid: list["Axes"], table: ResultsTable, columns: int) -> None:
    panels = len(table.architectures)
    for axes in grid[panels:]:
        axes.set_visible(False)
    for place, axes in enumerate(grid[:panels]):
        axes.tick_params(axis="y", length=0)
        if place + columns >= panels:
            axes.tick_params(axis="x", labelbottom=True)
            axes.set_xlabel("test accuracy (%)", fontsize=LABEL_SIZE)
    first = grid[0]
    first.set_yticks(range(len(table.methods)), [_row_label(method) for method in table.methods])
    first.set_ylim(len(table.methods) - 0.5, -0.5)
    _set_range(first, table)


def _row_label(method: str) -> str:
    """ "FT: ERM + fine-tune", the id alone where it is unknown, long ones on two lines."""
    name = method_name(method)
    return name.column if name.legend == name.column else f"{name.legend} ({name.column})"


def _set_range(axes: "Axes", table: ResultsTable) -> None:
    """The range of the accuracies with room on the right for notes."""
    accuracies = 100 * table.cells["test_accuracy"].dropna()
    if accuracies.empty:
        axes.set_xlim(0, 100)
        return
    low, high = accuracies.min(), accuracies.max()
    margin = max(0.5, 0.08 * (high - low))
    partly = any(entry.status == "partly" for entry in table.entries.values())
    axes.set_xlim(low - margin, high + margin * (4 if partly else 1))


def _legend(figure: "Figure", table: ResultsTable, caption: str) -> None:
    """What the marks mean, under the caption: one legend, so that the layout gives both their room."""
    from matplotlib.lines import Line2D

    families = dict.fromkeys(method_name(method).family for method in table.methods)
    style = {"linestyle": "none", "markersize": 6}
    handles = [
        Line2D([], [], color=FAMILIES[name][0], marker=FAMILIES[name][1], label=name, **style)
        for name in families
    ]
    handles.append(
        Line2D(
            [], [], color=INK, marker="|", markersize=12, markeredgewidth=2, linestyle="none", label="mean"
        )
    )
    columns = len(handles) if figure.get_figwidth() > 9 else 3
    figure.legend(
        handles=handles, loc="outside lower left", ncols=columns, fontsize=CAPTION_SIZE, frameon=False,
        title=caption, title_fontsize=CAPTION_SIZE, alignment="left",
    )  # fmt: skip


def _caption(table: ResultsTable) -> str:
    """Points, then the table's sentences but for its first and for what the chart itself shows."""
    points = f"Every point is a seed, the bar their mean; n = {len(table.seeds)} unless noted."
    kept = [line for line in table.captions[1:] if line.startswith(("selection", "seeds", "test samples"))]
    return "\n".join([points, *kept]) if kept else MISSING


def _wrapped(text: str, width: float, letter: float) -> str:
    """Text in lines that fit a figure `width` inches wide, for letters `letter` inches wide."""
    return "\n".join(textwrap.fill(line, int(0.97 * width / letter)) for line in text.splitlines())

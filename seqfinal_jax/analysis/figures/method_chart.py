"""The chart of test accuracies: rows of methods by family, a lane for each architecture, every seed a point."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from seqfinal_jax.analysis.figures.palette import (
    BAND,
    CAPTION_SIZE,
    GREY,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    architecture_style,
    clean_axes,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import figure
from seqfinal_jax.analysis.tables.labels import method_name
from seqfinal_jax.analysis.tables.results_table import Entry, ResultsTable, results_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.0  # inches
ROW = 0.8  # of the distance between two methods, shared by the lanes of the architectures
LANE_HEIGHT = 0.15  # inches
HEAD = 0.7  # of the distance between two methods, for the name of a family


@figure("methods")
def method_chart(workdir: str | Path) -> Path | None:
    """Draws figures/methods.png: the test accuracy (%) of every method, all seeds and their mean.

    Args:
        workdir: a run folder.

    Returns:
        The file, or None when there is no method to show.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    return draw_methods(results_table(workdir), Path(workdir) / "figures" / "methods.png")


def draw_methods(table: ResultsTable, path: Path) -> Path | None:
    """Draws the chart of a table, which may be of several folders; None where it has no entry."""
    return save_png(method_figure(table), path) if table.entries else None


def method_figure(table: ResultsTable) -> "Figure":
    """The chart of a table that has entries."""
    rows = _rows(table.methods)
    height = len(table.methods) * max(0.34, LANE_HEIGHT * len(table.architectures) / ROW)
    figure = new_figure(WIDTH, 2.4 + height * (max(rows.values()) + 0.5) / len(rows))
    axes = figure.subplots()
    clean_axes(axes)
    _label_rows(axes, rows, table)
    _set_range(axes, table)
    for method, architecture in table.entries:
        _draw_entry(axes, table, method, architecture, rows[method])
    _title(axes, table)
    _legend(figure, table.architectures)
    return figure


def _rows(methods: list[str]) -> dict[str, float]:
    """The place of each method from top to bottom; a family's name has room above its first method."""
    rows, place, family = {}, 0.0, None
    for method in methods:
        if method_name(method).family != family:
            family, place = method_name(method).family, place + HEAD
        rows[method] = place
        place += 1
    return rows


def _label_rows(axes: "Axes", rows: dict[str, float], table: ResultsTable) -> None:
    """Methods from top to bottom, a band behind every other one, and the families' names."""
    axes.set_yticks(list(rows.values()), [_row_label(method, table.dagger(method)) for method in rows])
    axes.set_ylim(max(rows.values()) + 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for row in list(rows.values())[1::2]:
        axes.axhspan(row - 0.5, row + 0.5, color=BAND, linewidth=0, zorder=0)
    heads: dict[str, float] = {}
    for method, row in rows.items():
        heads.setdefault(method_name(method).family, row)
    for family, row in heads.items():
        axes.text(
            -0.01, row - 0.5 - HEAD / 2, family, transform=axes.get_yaxis_transform(), ha="right", va="center",
            fontsize=CAPTION_SIZE, color=GREY, weight="bold",
        )  # fmt: skip
        axes.axhline(row - 0.5, color=GREY, linewidth=0.5)


def _row_label(method: str, dagger: str = "") -> str:
    """ "FT: ERM + fine-tune", the id alone where it is unknown, long ones on two lines; a dagger last."""
    name = method_name(method)
    label = name.column if name.legend == name.column else f"{name.column}: {name.legend}"
    return textwrap.fill(label + dagger, 32)


def _set_range(axes: "Axes", table: ResultsTable) -> None:
    """The range of the accuracies, a little wider."""
    axes.set_xlabel("test accuracy (%)", fontsize=LABEL_SIZE)
    accuracies = 100 * table.cells["test_accuracy"].dropna()
    if accuracies.empty:
        axes.set_xlim(0, 100)
        return
    low, high = accuracies.min(), accuracies.max()
    margin = max(0.5, 0.05 * (high - low))
    axes.set_xlim(low - margin, high + margin)


def _draw_entry(axes: "Axes", table: ResultsTable, method: str, architecture: str, row: float) -> None:
    """One lane: the seeds, their mean, and words where seeds lack."""
    entry, lane = table.entries[method, architecture], table.architectures.index(architecture)
    lanes = len(table.architectures)
    place = row + ROW * ((lane + 0.5) / lanes - 0.5)
    if entry.done:
        here = (table.cells["method"] == method) & (table.cells["architecture"] == architecture)
        color, marker = architecture_style(lane)
        seeds = 100 * table.cells.loc[here, "test_accuracy"]
        axes.scatter([100 * entry.mean], [place], edgecolors=color, **_MEAN)
        axes.scatter(seeds, [place] * len(seeds), marker=marker, color=color, **_SEED)
    if entry.status != "done":
        whose = "" if lanes == 1 or entry.done else f"{architecture} "
        _note(axes, place, whose + _lack(entry), done=entry.done > 0)


_MEAN = {"marker": "D", "s": 60, "facecolors": "none", "linewidths": 1.2, "zorder": 3}
_SEED = {"s": 18, "alpha": 0.8, "linewidths": 0, "zorder": 4}


def _lack(entry: Entry) -> str:
    """ "missing", "failed", or how many seeds are done and why others are not: "n = 1/3 (1 failed, 1 missing)"."""
    if not entry.done:
        return entry.status
    lacking = {"failed": entry.failed, "missing": entry.expected - entry.done - entry.failed}
    return (
        f"n = {entry.count} ({', '.join(f'{number} {word}' for word, number in lacking.items() if number)})"
    )


def _note(axes: "Axes", place: float, text: str, done: bool) -> None:
    """Words in a lane, beside the axes where the lane has points."""
    axes.text(
        1.01 if done else 0.01, place, text, transform=axes.get_yaxis_transform(), va="center",
        fontsize=CAPTION_SIZE - 1, color=GREY, style="italic",
    )  # fmt: skip


def _title(axes: "Axes", table: ResultsTable) -> None:
    """The title, over a subtitle of as many lines as it takes."""
    subtitle = _subtitle(table)
    axes.set_title(subtitle, loc="left", fontsize=CAPTION_SIZE, color=GREY)
    rise = 10 + 1.25 * CAPTION_SIZE * (subtitle.count("\n") + 1)
    place = {"xycoords": "axes fraction", "xytext": (0, rise), "textcoords": "offset points"}
    axes.annotate("Test accuracy (%) at the final step", (0, 1), fontsize=TITLE_SIZE, color=INK, **place)


def _subtitle(table: ResultsTable) -> str:
    """Sequence, protocol, selection rule, seeds, n and the number of test samples."""
    kept = [line for line in table.captions if line.startswith(("selection", "seeds", "test samples"))]
    kept[-1] += f"; n = {len(table.seeds)} unless noted"
    lines = [
        f"{table.sequence}, protocol {table.protocol}",
        *kept,
        *([table.daggers] if table.daggers else []),
    ]
    return "\n".join(textwrap.fill(line, 84) for line in lines)


def _legend(figure: "Figure", architectures: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for lane, architecture in enumerate(architectures):
        color, marker = architecture_style(lane)
        look = {"marker": marker, "color": color, "linestyle": "none", "markersize": 5}
        handles.append(Line2D([], [], label=f"{architecture}, a seed", **look))
    mean = {"marker": "D", "color": INK, "markerfacecolor": "none", "linestyle": "none", "markersize": 7.5}
    handles.append(Line2D([], [], label="mean of the seeds", **mean))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=CAPTION_SIZE, frameon=False)

"""Validation accuracy against the weight decay of parameter-efficient parts, where a grid sweeps over it."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.figures.log_axis import log_ticks, on_log, set_log_axis, zero_place
from seqfinal_jax.analysis.figures.palette import (
    BLUE,
    CAPTION_SIZE,
    GREY,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    VERMILION,
    clean_axes,
    legend_below,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import figure
from seqfinal_jax.analysis.tables.cell_tables import over_seeds, read_final_grid
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.tables.labels import listed, method_name
from seqfinal_jax.analysis.tables.text import csv_text
from seqfinal_jax.results.run_folder import CellFolder, read_result, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("efficient_decay", "seed", "accuracy", "chosen")


@figure("efficient_sweeps")
def efficient_sweeps(workdir: str | Path) -> list[Path]:
    """Draws figures/efficient_sweep_<method>_<architecture>.png where a grid has several efficient decays.

    The numbers are written beside it as CSV, one row per decay and seed: efficient_decay, seed, accuracy (a fraction: the
    best validation accuracy among the grid points of that decay), chosen.

    Args:
        workdir: a run folder.

    Returns:
        Every picture, followed by its CSV file.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    groups: dict[tuple[str, str], list[CellFolder]] = {}
    for cell in done_cells(workdir):
        groups.setdefault((cell.method, cell.architecture), []).append(cell)
    paths = []
    for (method, architecture), cells in groups.items():
        points = sweep_points(cells)
        if points["efficient_decay"].nunique() > 1:
            path = Path(workdir) / "figures" / f"efficient_sweep_{method}_{architecture}.png"
            numbers = csv_text(COLUMNS, points.itertuples(index=False))
            paths += [
                save_png(_draw(points, cells[0]), path),
                write_whole(path.with_suffix(".csv"), numbers),
            ]
    return paths


def sweep_points(cells: list[CellFolder]) -> pd.DataFrame:
    """The best validation accuracy of each efficient decay in each cell, as `COLUMNS`; chosen: the winner's decay."""
    rows = []
    for cell in cells:
        if (cell.path / "grid.csv").is_file():
            for decay, members in read_final_grid(cell).groupby("efficient_decay"):
                best = float(members["best_accuracy"].max())
                rows.append((float(decay), cell.seed, best, bool(members["chosen"].any())))
    return pd.DataFrame(sorted(rows), columns=list(COLUMNS))


def _draw(points: pd.DataFrame, cell: CellFolder) -> "Figure":
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    clean_axes(axes)
    decays = points["efficient_decay"]
    zero = zero_place(decays)
    set_log_axis(axes, "x", log_ticks(decays), zero if (decays == 0).any() else None)
    many = points["seed"].nunique() > 1
    _draw_points(axes, points, zero, many)
    axes.set_xlabel("weight decay of the parameter-efficient parts", fontsize=LABEL_SIZE)
    axes.set_ylabel("best validation accuracy (%)", fontsize=LABEL_SIZE)
    axes.set_title(_subtitle(points, cell), loc="left", fontsize=CAPTION_SIZE, color=GREY)
    title = f"Sweep of the efficient weight decay: {method_name(cell.method).column}, {cell.architecture}"
    figure.suptitle(textwrap.fill(title, 72), fontsize=TITLE_SIZE, color=INK)
    legend_below(figure, _handles(many))
    return figure


def _draw_points(axes: "Axes", points: pd.DataFrame, zero: float, many: bool) -> None:
    """The mean with its spread, every seed, and a ring around the seeds' choices."""
    means = over_seeds(points, ("efficient_decay",), "accuracy")
    places = on_log(means["efficient_decay"], zero)
    look = {"color": BLUE, "linewidth": 1.3, "elinewidth": 0.9, "capsize": 3 if many else 0}
    axes.errorbar(places, 100 * means["mean"], 100 * np.nan_to_num(means["spread"]), **look)
    seeds = on_log(points["efficient_decay"], zero)
    axes.scatter(seeds, 100 * points["accuracy"], **(_SEED if many else _ONLY))
    chosen = points["chosen"].to_numpy()
    axes.scatter(seeds[chosen], 100 * points["accuracy"][chosen], **_CHOSEN)


_SEED = {"s": 16, "color": GREY, "alpha": 0.8, "linewidths": 0, "zorder": 3}
_ONLY = {"s": 24, "color": BLUE, "linewidths": 0, "zorder": 3}
_CHOSEN = {"s": 70, "facecolors": "none", "edgecolors": VERMILION, "linewidths": 1.4, "zorder": 4}


def _subtitle(points: pd.DataFrame, cell: CellFolder) -> str:
    result, seeds = read_result(cell), sorted(set(points["seed"]))
    lines = [
        f"{result['sequence']}, protocol {result['protocol']}, {result['n_valid']} validation samples",
        f"selection: {result['selection']}",
        f"seed{'s' * (len(seeds) > 1)} {listed(seeds)}"
        + (", mean ± sample standard deviation" if len(seeds) > 1 else ""),
    ]
    return "\n".join(textwrap.fill(line, 88) for line in lines)


def _handles(many: bool) -> list:
    from matplotlib.lines import Line2D

    ring = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "linestyle": "none"}
    dot = {"marker": "o", "markersize": 4, "linestyle": "none"}
    mean = Line2D([], [], color=BLUE, label="mean over seeds")
    seeds = [mean, Line2D([], [], color=GREY, label="a seed", **dot)]
    one = [Line2D([], [], color=BLUE, marker="o", markersize=4, label="the seed")]
    return [*(seeds if many else one), Line2D([], [], color=VERMILION, label="chosen", **ring)]

"""Learning curves: one panel per stage, training and validation accuracy by epoch."""

import math
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from seqfinal_jax.analysis.figures.palette import (
    BLUE,
    CAPTION_SIZE,
    FAINT,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    VERMILION,
    clean_axes,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import figure
from seqfinal_jax.analysis.tables.cells import done_cells, read_curves
from seqfinal_jax.analysis.tables.labels import architectures_in_order, listed, method_name
from seqfinal_jax.analysis.tables.results_table import ResultsTable, results_table
from seqfinal_jax.results.run_folder import CellFolder, read_result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW_PANELS = 9
MOST_LINES = 3  # seeds that are drawn one by one


@dataclass
class Panel:
    """One stage: the methods that have it with what it is to them, and its curves by seed.

    roles: by method; "final" where the stage gives the method's result.
    curves: epoch, member, train_accuracy, valid_accuracy, chosen; best: the winner's best epoch.
    """

    stage: str
    roles: dict[str, str] = field(default_factory=dict)
    curves: dict[int, pd.DataFrame] = field(default_factory=dict)
    best: dict[int, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The stage's name and whose it is: "history (start of FT)", "all (ERM; start of FT)"."""
        columns: dict[str, list[str]] = {}
        for method, role in self.roles.items():
            columns.setdefault(role, []).append(method_name(method).column)
        uses = [
            ("" if role in ("final", self.stage) else f"{role} of ") + _some(names)
            for role, names in columns.items()
        ]
        return textwrap.fill(f"{self.stage} ({'; '.join(uses)})", 38)


def _some(names: list[str], most: int = 5) -> str:
    """Names with commas between; those beyond `most` only counted."""
    more = len(names) - most
    return listed(names) if more <= 0 else f"{listed(names[:most])} and {more} more"


@figure("learning_curves")
def learning_curves(workdir: str | Path) -> list[Path]:
    """Draws figures/learning_curves-<architecture>.png for every architecture that has a completed cell.

    A stage that several methods share is drawn once.

    Args:
        workdir: a run folder.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    table, cells = results_table(workdir), done_cells(workdir)
    paths = []
    for architecture in architectures_in_order(cell.architecture for cell in cells):
        panels = stage_panels([cell for cell in cells if cell.architecture == architecture])
        if panels:
            figure = _draw(panels, architecture, table)
            paths.append(save_png(figure, Path(workdir) / "figures" / f"learning_curves-{architecture}.png"))
    return paths


def stage_panels(cells: list[CellFolder]) -> list[Panel]:
    """The stages of cells of one architecture, shared ones once, in the order of the methods.

    Stages are one where their fingerprints are; the seeds of a method's stage belong together whatever theirs are.
    """
    panels: list[Panel] = []
    known: dict[object, Panel] = {}
    for cell in cells:
        curves = read_curves(cell)
        for position, stage in enumerate(read_result(cell).get("stages", [])):
            keys = (stage["fingerprint"], (cell.method, position))
            panel = known.get(keys[0]) or known.get(keys[1])
            if panel is None:
                panel = Panel(stage["stage"])
                panels.append(panel)
            known.update(dict.fromkeys(keys, panel))
            _add(panel, cell, stage, curves[curves["stage"] == stage["stage"]])
    return [panel for panel in panels if panel.curves]


def _add(panel: Panel, cell: CellFolder, stage: dict, curves: pd.DataFrame) -> None:
    panel.roles.setdefault(cell.method, stage["role"])
    if not curves.empty:
        panel.curves.setdefault(cell.seed, curves)
        panel.best.setdefault(cell.seed, int(stage["best_epoch"]))


def _draw(panels: list[Panel], architecture: str, table: ResultsTable) -> "Figure":
    columns = min(3 if len(panels) <= FEW_PANELS else 4, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(max(6.4, 3.4 * columns), 1.5 + 2.5 * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, panel in zip(grid.flatten(), panels, strict=False):
        _draw_panel(axes, panel)
    for axes in grid.flatten()[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 1:].flatten():
        axes.tick_params(axis="y", length=0)
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy (%)", fontsize=LABEL_SIZE)
    for place in range(len(panels)):
        if place + columns >= len(panels):
            grid.flatten()[place].set_xlabel("epoch", fontsize=LABEL_SIZE)
    figure.suptitle(_title(architecture, table), fontsize=TITLE_SIZE, color=INK)
    _legend(figure, max(len(panel.curves) for panel in panels))
    return figure


def _title(architecture: str, table: ResultsTable) -> str:
    seeds = listed(sorted(set(table.cells.loc[table.cells["architecture"] == architecture, "seed"])))
    return f"Learning curves: {table.sequence}, {architecture}\nprotocol {table.protocol}, seeds {seeds}"


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    clean_axes(axes)
    axes.set_title(panel.title, fontsize=LABEL_SIZE)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(panel.curves) > MOST_LINES:
        _draw_ribbons(axes, panel)
        return
    for seed, curves in panel.curves.items():
        winner = curves["chosen"].fillna(False).astype(bool)
        for _, member in curves[~winner].groupby("member"):
            axes.plot(member["epoch"], 100 * member["valid_accuracy"], color=FAINT, linewidth=0.7, zorder=1)
        chosen = curves[winner]
        axes.plot(
            chosen["epoch"], 100 * chosen["train_accuracy"], color=VERMILION, linewidth=1.1, linestyle="--"
        )
        axes.plot(chosen["epoch"], 100 * chosen["valid_accuracy"], color=BLUE, linewidth=1.1)
        best = chosen[chosen["epoch"] == panel.best[seed]]
        axes.scatter(best["epoch"], 100 * best["valid_accuracy"], **_BEST)


def _draw_ribbons(axes: "Axes", panel: Panel) -> None:
    """The mean over the seeds that still train at an epoch, in a ribbon from the lowest to the highest of them."""
    curves = pd.concat([own.assign(seed=seed) for seed, own in panel.curves.items()], ignore_index=True)
    chosen = curves[curves["chosen"].fillna(False).astype(bool)]
    for name, color, style in (("train_accuracy", VERMILION, "--"), ("valid_accuracy", BLUE, "-")):
        by_epoch = 100 * chosen.groupby("epoch")[name].agg(["mean", "min", "max"])
        axes.fill_between(
            by_epoch.index, by_epoch["min"], by_epoch["max"], color=color, alpha=0.18, linewidth=0
        )
        axes.plot(by_epoch.index, by_epoch["mean"], color=color, linewidth=1.3, linestyle=style)
    for seed, epoch in panel.best.items():
        best = chosen[(chosen["seed"] == seed) & (chosen["epoch"] == epoch)]
        axes.scatter(best["epoch"], 100 * best["valid_accuracy"], **{**_BEST, "s": 14})


_BEST = {"s": 30, "marker": "o", "facecolors": "white", "edgecolors": BLUE, "linewidths": 1.3, "zorder": 4}


def _legend(figure: "Figure", seeds: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=BLUE, label="validation, chosen"),
        Line2D([], [], color=VERMILION, linestyle="--", label="training, chosen"),
        Line2D([], [], color=FAINT, label="validation, other grid points"),
        Line2D([], [], color=BLUE, marker="o", markerfacecolor="white", linestyle="none", label="best epoch"),
    ]
    ribbons = seeds > MOST_LINES
    if ribbons:
        del handles[2]
    said = "mean of the seeds that still train; ribbon: lowest to highest" if ribbons else "one line per seed"
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4 if figure.get_figwidth() > 7 else 2,
        fontsize=CAPTION_SIZE, frameon=False, title=said, title_fontsize=CAPTION_SIZE,
    )  # fmt: skip

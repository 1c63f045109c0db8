"""How far each layer moves from one time step to the next: one panel per layer, one line per method."""

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.figures.log_axis import on_log, round_ticks, set_log_axis, zero_place
from seqfinal_jax.analysis.figures.palette import (
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    architecture_style,
    clean_axes,
    legend_below,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import figure
from seqfinal_jax.analysis.tables.cell_tables import over_seeds, read_changes
from seqfinal_jax.analysis.tables.labels import architectures_in_order, in_order, listed, method_name
from seqfinal_jax.analysis.tables.results_table import ResultsTable, results_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDE_RANGE = 20  # largest over smallest distance in a layer from which axes are logarithmic
LIKE = 3  # largest distances of layers within this factor share an axis
DODGE, MOST_DODGE = 0.05, 0.36  # time steps between methods, and of all: spreads should not cover one another
MOST_STEPS = 8  # tick labels under a panel


class Scale(NamedTuple):
    """An axis of distances; zero: where zero is drawn on a logarithmic one, None if it is linear."""

    low: float
    high: float
    ticks: list[float]
    zero: float | None
    has_zero: bool


@figure("weight_change")
def weight_change(workdir: str | Path) -> list[Path]:
    """Draws figures/weight_change_<architecture>.png for every architecture that has cells with layer_change.csv.

    Args:
        workdir: a run folder.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    changes, table = read_changes(workdir), results_table(workdir)
    paths = []
    for architecture in architectures_in_order(changes["architecture"]):
        figure = _draw(changes[changes["architecture"] == architecture], architecture, table)
        paths.append(save_png(figure, Path(workdir) / "figures" / f"weight_change_{architecture}.png"))
    return paths


def _draw(changes: pd.DataFrame, architecture: str, table: ResultsTable) -> "Figure":
    methods = in_order(changes["method"])
    means = over_seeds(changes, ("method", "layer", "step"), "distance")
    scales = layer_scales(means, list(dict.fromkeys(changes["layer"])))
    columns = min(3, len(scales)) if len(scales) != 4 else 2
    rows, height = math.ceil(len(scales) / columns), 2.5 if _linear(scales) else 3.2
    figure = new_figure(max(6.4, 3.2 * columns), 1.6 + height * rows + 0.07 * len(methods))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (layer, scale) in zip(grid.flatten(), scales.items(), strict=False):
        _draw_panel(axes, means[means["layer"] == layer], methods, scale)
        axes.set_title(layer, fontsize=LABEL_SIZE)
    _label(grid, len(scales))
    letters = int(11.5 * figure.get_figwidth())
    lines = [textwrap.fill(line, letters) for line in _title(changes, architecture, table, scales)]
    figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE, color=INK)
    legend_below(figure, _handles(changes, methods))
    return figure


def layer_scales(means: pd.DataFrame, layers: list[str]) -> dict[str, Scale]:
    """The axis of each layer: one logarithmic axis where distances differ much in a layer, else linear ones from 0.

    Linear axes are the same where the largest distances of the layers are alike.

    Args:
        means: layer, mean, spread.
        layers: in the order of the panels.
    """
    positive = means[means["mean"] > 0].groupby("layer")["mean"]
    if (positive.max() / positive.min() > WIDE_RANGE).any():
        return dict.fromkeys(layers, _log_scale(means))
    tops = (means["mean"] + means["spread"].fillna(0)).groupby(means["layer"]).max()
    if tops.max() <= LIKE * tops.min():
        tops = pd.Series(tops.max(), tops.index)
    highs = {layer: 1.08 * float(tops[layer]) or 1.0 for layer in layers}
    return {layer: Scale(-0.03 * high, high, [], None, False) for layer, high in highs.items()}


def _log_scale(means: pd.DataFrame) -> Scale:
    low = float(means.loc[means["mean"] > 0, "mean"].min())
    high = 1.3 * float((means["mean"] + means["spread"].fillna(0)).max())
    zero, has_zero = zero_place([low]), bool((means["mean"] == 0).any())
    return Scale((zero if has_zero else low) / 1.6, high, round_ticks(low / 1.3, high), zero, has_zero)


def _linear(scales: dict[str, Scale]) -> bool:
    return all(scale.zero is None for scale in scales.values())


def _draw_panel(axes: "Axes", means: pd.DataFrame, methods: list[str], scale: Scale) -> None:
    clean_axes(axes)
    if scale.zero is not None:
        set_log_axis(axes, "y", scale.ticks, scale.zero if scale.has_zero else None)
    width = min(MOST_DODGE, DODGE * (len(methods) - 1)) if (means["n"] > 1).any() else 0.0
    for place, method in enumerate(methods):
        line = means[means["method"] == method]
        steps = line["step"] + width * (place / max(1, len(methods) - 1) - 0.5)
        heights = line["mean"] if scale.zero is None else on_log(line["mean"], scale.zero)
        axes.errorbar(
            steps, heights, np.nan_to_num(line["spread"]), elinewidth=0.9, **_look(method, place)
        )  # fmt: skip
    steps = range(means["step"].min(), means["step"].max() + 1)
    axes.set_xticks(steps[:: math.ceil(len(steps) / MOST_STEPS)])
    axes.set_xlim(steps[0] - 0.4, steps[-1] + 0.4)
    axes.set_ylim(scale.low, scale.high)


def _look(method: str, place: int) -> dict[str, object]:
    """Colour and marker by place, dashes for methods that follow the sequence."""
    color, marker = architecture_style(place)
    dashes = "--" if method.startswith("sequential") else "-"
    return {"color": color, "marker": marker, "markersize": 4, "linewidth": 1.1, "linestyle": dashes}


def _label(grid: np.ndarray, count: int) -> None:
    """Axis labels at the edges of the grid, whose first `count` axes are used."""
    columns = grid.shape[1]
    for place, axes in enumerate(grid.flatten()):
        axes.set_visible(place < count)
        if place + columns >= count:
            axes.set_xlabel("time step", fontsize=LABEL_SIZE)
    for axes in grid[:, 0]:
        axes.set_ylabel("l2 distance to step before", fontsize=LABEL_SIZE)


def _title(
    changes: pd.DataFrame, architecture: str, table: ResultsTable, scales: dict[str, Scale]
) -> tuple[str, str]:
    seeds = sorted(set(changes["seed"]))
    notes = [f"protocol {table.protocol}", f"seed{'s' * (len(seeds) > 1)} {listed(seeds)}"]
    notes += ["mean ± sample standard deviation"] if len(seeds) > 1 else []
    notes += ["each panel has its own scale"] if len({scale.high for scale in scales.values()}) > 1 else []
    return f"Change of each layer from step to step: {table.sequence}, {architecture}", listed(notes)


def _handles(changes: pd.DataFrame, methods: list[str]) -> list["Line2D"]:
    """Legend entries, with the number of seeds where a method lacks some."""
    from matplotlib.lines import Line2D

    seeds = changes.groupby("method")["seed"].nunique()
    notes = {method: "" if seeds[method] == seeds.max() else f" (n = {seeds[method]})" for method in methods}
    return [
        Line2D([], [], label=method_name(method).column + notes[method], **_look(method, place))
        for place, method in enumerate(methods)
    ]

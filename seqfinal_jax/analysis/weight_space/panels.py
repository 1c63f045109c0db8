"""Methods as lines through their models, a panel for each layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from seqfinal_jax.analysis.figures.palette import (
    CAPTION_SIZE,
    FAINT,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    clean_axes,
    legend_below,
    method_style,
    new_figure,
)
from seqfinal_jax.analysis.tables.labels import method_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS = 3


@dataclass(frozen=True)
class Picture:
    """What stands around the panels: title, names of the axes, a title for each layer, the oracle's place, and limits.

    legends: what methods are called, where it is not their usual name.
    """

    title: str
    x: str
    y: str
    layers: Mapping[str, str]
    origin: tuple[float, float] = (0.0, 0.0)
    limits: tuple[float, float] | None = None
    legends: Mapping[str, str] = field(default_factory=dict)


def layer_panels(frame: pd.DataFrame, picture: Picture) -> "Figure":
    """A panel for each layer: a line through the models of each method, the last one filled, the oracle as a cross.

    frame: columns method, point, name, layer, x, y.
    """
    columns = min(MOST_COLUMNS, len(picture.layers))
    rows = -(-len(picture.layers) // columns)
    figure = new_figure(3.4 * columns, 3.1 * rows + 1.2)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(picture.layers) :]:
        axes.set_visible(False)
    methods = list(frame["method"].unique())
    for axes, (layer, title) in zip(panels, picture.layers.items(), strict=False):
        own = frame[frame["layer"] == layer]
        for place, method in enumerate(methods):
            _line(axes, own[own["method"] == method], place)
        axes.plot(*[[each] for each in picture.origin], marker="x", color=INK, linestyle="none", markersize=8)
        axes.set_title(title, fontsize=LABEL_SIZE, loc="left", color=INK)
        axes.set_xlabel(picture.x, fontsize=CAPTION_SIZE)
        axes.set_ylabel(picture.y, fontsize=CAPTION_SIZE)
        if picture.limits:
            axes.set(xlim=picture.limits, ylim=picture.limits)
        clean_axes(axes)
    figure.suptitle(picture.title, fontsize=TITLE_SIZE)
    names = [picture.legends.get(method, method_name(method).legend) for method in methods]
    legend_below(figure, [_handle(name, place) for place, name in enumerate(names)])
    return figure


def _line(axes: "Axes", own: pd.DataFrame, place: int) -> None:
    color, marker = method_style(place)
    axes.plot(own["x"], own["y"], color=color, linewidth=1, alpha=0.7)
    axes.scatter(own["x"][:-1], own["y"][:-1], s=14, color=FAINT, edgecolors=color, marker=marker, zorder=3)
    axes.scatter(own["x"][-1:], own["y"][-1:], s=34, color=color, marker=marker, zorder=4)


def _handle(name: str, place: int) -> object:
    from matplotlib.lines import Line2D

    color, marker = method_style(place)
    return Line2D([], [], color=color, marker=marker, markersize=5, label=name)

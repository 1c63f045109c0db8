"""Shift sizes as heat maps: one row per sequence, one column per step, the ratio in every place."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.figures.palette import CAPTION_SIZE, INK, LABEL_SIZE, new_figure
from seqfinal_jax.analysis.shift_sizes.sizes import KINDS
from seqfinal_jax.analysis.shift_sizes.tables import mean_ratios

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {"consecutive": "from the step before", "to final": "to the final step"}


def shift_picture(rows: pd.DataFrame) -> "Figure":
    """Four heat maps, covariate and conditional, of consecutive shifts and of those to the final step."""
    places = [(kind, what, *mean_ratios(rows, kind, what)) for kind in KINDS for what in TITLES]
    most = max(np.nanmax(ratios) for *_, ratios in places)
    high, steps = len(places[0][2]), max(ratios.shape[1] for *_, ratios in places)
    figure = new_figure(max(8.0, 2.4 + 1.1 * steps), 2.2 + 0.75 * high)
    panels = figure.subplots(2, 2, sharey=True)
    for axes, (kind, what, names, ratios) in zip(panels.flat, places, strict=True):
        image = _panel(axes, names, ratios, most, int(what == "consecutive"))
        axes.set_title(f"{kind} shift {TITLES[what]}", fontsize=LABEL_SIZE, loc="left", color=INK)
    bar = figure.colorbar(image, ax=panels, shrink=0.8)
    bar.set_label("ratio; 1 is no shift", fontsize=CAPTION_SIZE)
    bar.ax.tick_params(labelsize=CAPTION_SIZE)
    return figure


def _panel(axes: "Axes", names: list[str], ratios: np.ndarray, most: float, first: int) -> object:
    image = axes.imshow(
        ratios, cmap="cividis", vmin=min(1.0, float(np.nanmin(ratios))), vmax=most, aspect="auto"
    )
    middle = (1 + most) / 2
    for (row, column), ratio in np.ndenumerate(ratios):
        if np.isfinite(ratio):
            color = "black" if ratio > middle else "white"
            axes.text(
                column, row, f"{ratio:.2f}", ha="center", va="center", color=color, fontsize=CAPTION_SIZE
            )
    axes.set_yticks(range(len(names)), names, fontsize=CAPTION_SIZE)
    axes.set_xticks(
        range(ratios.shape[1]), [f"step {t + first}" for t in range(ratios.shape[1])], fontsize=CAPTION_SIZE
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image

"""How often the samples of each step are used when earlier samples stand in for those of the final step."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqfinal_jax.analysis.figures.log_axis import short_number
from seqfinal_jax.analysis.figures.palette import (
    BLUE,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    VERMILION,
    clean_axes,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 40


@house_style()
def usage_figure(counts: Sequence[np.ndarray], path: str | Path, title: str) -> Path:
    """Draws a histogram a step, the final step first, then back to step 0, and saves it as a PNG.

    A panel shows the share of the samples of its step that are used so many times; shares are on a logarithmic
    scale in all panels but the first, where every sample is used once.

    Args:
        counts: how often each training sample is used, (n_t,) integers for steps 0..F; unused ones count 0.
        path: the file, whose folder is made as needed.
        title: the first line of the figure, e.g. rule, sequence and seed.

    Raises:
        ValueError: no step, or a step without samples.
    """
    if not len(counts) or not all(len(step) for step in counts):
        sizes = [len(step) for step in counts]
        raise ValueError(f"the usage figure needs one sample or more in every step, found {sizes}")
    return save_png(_draw([np.asarray(step) for step in counts], title), Path(path))


def _draw(counts: list[np.ndarray], title: str) -> "Figure":
    rows = math.ceil(len(counts) / 2)
    figure = new_figure(7.2, 0.8 + 2.4 * rows)
    grid = figure.subplots(rows, 2, squeeze=False)
    final = len(counts) - 1
    for axes, step in zip(grid.flatten(), reversed(range(len(counts))), strict=False):
        _draw_panel(axes, counts[step], step, step == final)
    for axes in grid.flatten()[len(counts) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("share of samples", fontsize=LABEL_SIZE)
    figure.suptitle(title, fontsize=TITLE_SIZE, color=INK)
    return figure


def _draw_panel(axes: "Axes", counts: np.ndarray, step: int, is_final: bool) -> None:
    clean_axes(axes)
    edges, shares = usage_shares(counts)
    axes.bar(
        edges[:-1], shares, np.diff(edges), align="edge", color=VERMILION if is_final else BLUE,
        edgecolor="white", linewidth=0.6,
    )  # fmt: skip
    name = f"step {step} (final)" if is_final else f"step {step}"
    axes.set_title(
        f"{name}: {np.count_nonzero(counts)} of {len(counts)} used, at most {counts.max()}×",
        fontsize=LABEL_SIZE,
    )
    width = int(edges[-1] - edges[-2])
    axes.set_xlabel(
        "times used" + (f" (beyond 0, {width} numbers per bar)" if width > 1 else ""), fontsize=LABEL_SIZE
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlim(-0.6, max(edges[-1], 2.5) + 0.1)
    if is_final:
        axes.set_ylim(0, 1.05)
    else:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: short_number(value))
        axes.set_ylim(0.5 / len(counts), 2)


def usage_shares(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges (b+1,) of bars and the share (b,) of samples in each, which add up to 1.

    The first bar holds the unused samples alone. Up to MOST_BARS uses there is one bar per number, above that each
    bar holds equally many numbers.
    """
    most = int(counts.max())
    width = max(1, math.ceil(most / MOST_BARS))
    bars = math.ceil(most / width)
    edges = np.concatenate([[-0.5], 0.5 + width * np.arange(bars + 1)])
    return edges, np.histogram(counts, edges)[0] / len(counts)

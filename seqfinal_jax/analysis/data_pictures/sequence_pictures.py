"""Examples of every time step and class of a sequence, and how many samples each step has of each class."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqfinal_jax.analysis.data_pictures.panels import image_grid
from seqfinal_jax.analysis.figures.palette import (
    ARCHITECTURE_COLORS,
    CAPTION_SIZE,
    LABEL_SIZE,
    clean_axes,
    legend_below,
    new_figure,
)
from seqfinal_jax.data.sequences.examples import Examples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 16  # letters of a row's label in a line
PART_NAMES = ("training", "validation", "test")


def example_figure(examples: Examples, titles: Sequence[str] = ()) -> "Figure":
    """A row of images for every time step, a column for every class; titles: other words for the classes."""
    steps, classes, each = examples.there.shape
    names = titles or [examples.class_names[label] for label in examples.classes]
    rows = [
        [
            examples.images[t, k, i] if examples.there[t, k, i] else None
            for k in range(classes)
            for i in range(each)
        ]
        for t in range(steps)
    ]
    columns = [shortened(name) if i == 0 else "" for name in names for i in range(each)]
    return image_grid(rows, [step_label(t, name) for t, name in enumerate(examples.step_names)], columns)


def shortened(name: str, most: int = 12) -> str:
    """A class name that fits above an image."""
    return name if len(name) <= most else name[: most - 1] + "…"


def step_label(step: int, name: str) -> str:
    """The number of a step over its name."""
    lines = textwrap.wrap(name, LONGEST) or [""]
    return "\n".join([f"{step}", *lines[:3]])


def count_figure(examples: Examples) -> "Figure":
    """Training, validation and test samples of each class at each time step; a dot that is missing is none."""
    steps, parts, classes = examples.counts.shape
    shown = [place for place in range(parts) if examples.counts[:, place].any()]
    figure = new_figure(max(6.5, 0.35 * steps + 4), 2.6 + 0.18 * (classes // 5))
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    handles = []
    for axes, place in zip(panels, shown, strict=True):
        handles = [_class_line(axes, examples, place, label) for label in range(classes)]
        axes.set_title(f"{PART_NAMES[place]} samples", fontsize=LABEL_SIZE, loc="left")
        axes.set_xlabel("time step", fontsize=CAPTION_SIZE)
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(0, steps, max(1, steps // 12)))
        clean_axes(axes)
    legend_below(figure, handles[:20], "" if classes <= 20 else "the first 20 classes")
    return figure


def _class_line(axes: "np.ndarray", examples: Examples, place: int, label: int) -> object:
    counts = examples.counts[:, place, label].astype(float)
    counts[counts == 0] = np.nan
    color = ARCHITECTURE_COLORS[label % len(ARCHITECTURE_COLORS)]
    marker = "osv^PXD*"[(label // len(ARCHITECTURE_COLORS)) % 8]
    steps = np.arange(len(counts)) + 0.4 * (label / max(1, len(examples.class_names) - 1) - 0.5)
    (line,) = axes.plot(
        steps, counts, color=color, marker=marker, markersize=4, linewidth=0.8, linestyle=":",
        label=examples.class_names[label],
    )  # fmt: skip
    return line

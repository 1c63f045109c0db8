"""Examples of every time step and class of a sequence, and how many samples each step has of each class."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqfinal_jax.analysis.data_pictures.panels import image_grid
from seqfinal_jax.analysis.figures.palette import CAPTION_SIZE, INK, LABEL_SIZE, new_figure
from seqfinal_jax.analysis.plain_text import drawable
from seqfinal_jax.data.sequences.examples import Examples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERS = 600  # in a heat map
LONGEST = 16  # letters of a row's label in a line
PART_NAMES = ("training", "validation", "test")


def example_figure(examples: Examples, titles: Sequence[str] = ()) -> "Figure":
    """A row of images for every time step, a column for every class; titles: other words for the classes."""
    steps, classes, each = examples.there.shape
    all_names = drawable(examples.class_names, "class")
    names = titles or [all_names[label] for label in examples.classes]
    rows = [
        [
            examples.images[t, k, i] if examples.there[t, k, i] else None
            for k in range(classes)
            for i in range(each)
        ]
        for t in range(steps)
    ]
    columns = [shortened(name) if i == 0 else "" for name in names for i in range(each)]
    steps_named = drawable(examples.step_names, "step")
    return image_grid(rows, [step_label(t, name) for t, name in enumerate(steps_named)], columns)


def shortened(name: str, most: int = 12) -> str:
    """A class name that fits above an image."""
    name = name.replace("_", " ")
    return name if len(name) <= most else name[: most - 1] + "…"


def step_label(step: int, name: str) -> str:
    """The number of a step over its name."""
    lines = textwrap.wrap(name, LONGEST) or [""]
    return "\n".join([f"{step}", *lines[:3]])


def count_figure(examples: Examples) -> "Figure":
    """Training, validation and test samples of each class (rows) at each time step (columns); white is none."""
    steps, parts, classes = examples.counts.shape
    shown = [place for place in range(parts) if examples.counts[:, place].any()]
    width, height = max(3.2, 0.5 * min(steps, 30)), max(1.6, 0.24 * min(classes, 40))
    figure = new_figure(1.3 + width * len(shown), 0.9 + height)
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    for axes, place in zip(panels, shown, strict=True):
        _count_panel(axes, examples.counts[:, place].T)
        axes.set_title(f"{PART_NAMES[place]} samples", fontsize=LABEL_SIZE, loc="left", color=INK)
        axes.set_xlabel("time step", fontsize=CAPTION_SIZE)
    panels[0].set_yticks(
        range(classes),
        [shortened(name) for name in drawable(examples.class_names, "class")],
        fontsize=CAPTION_SIZE,
    )
    return figure


def _count_panel(axes: "Axes", counts: np.ndarray) -> None:
    """A heat map of counts (classes, steps), with the numbers where they are few."""
    most = counts.max()
    axes.imshow(np.where(counts > 0, counts, np.nan), cmap="cividis", vmin=0, vmax=most, aspect="auto")
    if counts.size <= MOST_NUMBERS and counts.shape[1] <= 30:
        for (label, step), count in np.ndenumerate(counts):
            color = INK if count == 0 or count > most / 2 else "white"
            axes.text(
                step, label, f"{count}", ha="center", va="center", color=color, fontsize=CAPTION_SIZE - 1.5
            )
    axes.set_xticks(range(0, counts.shape[1], max(1, counts.shape[1] // 15)))
    axes.tick_params(length=0, labelsize=CAPTION_SIZE)
    axes.spines[:].set_visible(False)

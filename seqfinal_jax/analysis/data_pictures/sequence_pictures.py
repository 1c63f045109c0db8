"""Examples of every time step and class of a sequence, and how many samples each step has of each class."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqfinal_jax.analysis.data_pictures.panels import image_grid
from seqfinal_jax.analysis.figures.palette import CAPTION_SIZE, INK, LABEL_SIZE, heat_map, new_figure
from seqfinal_jax.analysis.plain_text import drawable
from seqfinal_jax.data.sequences.examples import Examples
from seqfinal_jax.data.shifts import SHIFTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERS = 600  # in a heat map
SAID_WIDTH = 100  # letters of a line below the images
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
    labels = [step_label(t, name) for t, name in enumerate(drawable(examples.step_names, "step"))]
    return image_grid(rows, labels, columns, says=shift_lines(examples.step_names))


def shift_lines(step_names: Sequence[str]) -> str:
    """What the shifts do after which steps are named, one line each: some of them cannot be seen."""
    parts = [part.strip().replace(" ", "_") for name in step_names for part in name.split(",")]
    known = [SHIFTS.get(name) for name in dict.fromkeys(parts) if name in SHIFTS]
    does = {each.name: each.summary or (each.apply.__doc__ or "").strip().split("\n")[0] for each in known}
    lines = [f"{name.replace('_', ' ')}: {text.rstrip('.')}" for name, text in does.items() if text]
    return "\n".join(line for each in lines for line in textwrap.wrap(each, SAID_WIDTH))


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
    most = int(examples.counts.max())
    for axes, place in zip(panels, shown, strict=True):
        _count_panel(axes, examples.counts[:, place].T, most)
        axes.set_title(f"{PART_NAMES[place]} samples", fontsize=LABEL_SIZE, loc="left", color=INK)
        axes.set_xlabel("time step", fontsize=CAPTION_SIZE)
    panels[0].set_yticks(
        range(classes),
        [shortened(name) for name in drawable(examples.class_names, "class")],
        fontsize=CAPTION_SIZE,
    )
    return figure


def _count_panel(axes: "Axes", counts: np.ndarray, most: int) -> None:
    """A heat map of counts (classes, steps), with numbers where they are few; all panels share a scale."""
    few = counts.size <= MOST_NUMBERS and counts.shape[1] <= 30
    heat_map(axes, counts, most, counts.astype(str).tolist() if few else None)
    axes.set_xticks(range(0, counts.shape[1], max(1, counts.shape[1] // 15)))

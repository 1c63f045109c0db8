"""Which classes are taken for which at the final step, and the accuracy of each class, from the stored logits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqfinal_jax.analysis.data_pictures.sequence_pictures import shortened
from seqfinal_jax.analysis.figures.palette import (
    CAPTION_SIZE,
    GREY,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    clean_axes,
    heat_map,
    method_style,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import figure
from seqfinal_jax.analysis.plain_text import drawable
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.tables.comparisons import planned_comparisons, smallest_difference
from seqfinal_jax.analysis.tables.labels import method_name
from seqfinal_jax.analysis.tables.results_table import ResultsTable, results_table
from seqfinal_jax.analysis.tables.text import csv_text
from seqfinal_jax.results.examples import read_examples
from seqfinal_jax.results.predictions import FILE, read_predictions
from seqfinal_jax.results.run_folder import CellFolder, cell_file, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Counts = dict[str, np.ndarray]  # by method: (classes, classes) samples by label and answer
COLUMNS = ("method", "label", "answer", "samples")
MOST_NUMBERS = 12  # classes, beyond which a matrix has no numbers


@figure("confusion")
def confusion(workdir: str | Path) -> list[Path] | None:
    """Draws figures/confusion-<architecture>.png: the final step alone beside the way of using history that was chosen.

    Args:
        workdir: a run folder.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    workdir, table = Path(workdir), results_table(workdir)
    cells, paths = done_cells(workdir), []
    for architecture, methods in shown_methods(workdir, table).items():
        counts = confusion_counts([c for c in cells if c.architecture == architecture], methods)
        if not counts:
            continue
        place = workdir / "figures" / f"confusion-{architecture}"
        names = class_names(workdir, len(next(iter(counts.values()))))
        seeds = {m: sum(c.method == m and c.architecture == architecture for c in cells) for m in counts}
        paths.append(
            save_png(confusion_figure(counts, names, architecture, seeds), place.with_suffix(".png"))
        )
        paths.append(write_whole(place.with_suffix(".csv"), csv_text(COLUMNS, _rows(counts, names))))
    return paths or None


def shown_methods(workdir: Path, table: ResultsTable) -> dict[str, list[str]]:
    """For each architecture the two methods of the planned comparison; the first two where there is none."""
    planned = planned_comparisons(table.cells, smallest_difference(workdir), table.records)
    found = {}
    for architecture, plan in planned.items():
        own = table.cells.loc[table.cells["architecture"] == architecture, "method"]
        both = [method for method in (plan.final, plan.way) if method]
        found[architecture] = both if len(both) == 2 else list(dict.fromkeys(own))[:2]
    return found


def confusion_counts(cells: Sequence[CellFolder], methods: Sequence[str]) -> Counts:
    """Test samples by label and answer, (classes, classes), summed over the seeds of each method."""
    found: Counts = {}
    for method in methods:
        for cell in cells:
            if cell.method != method or cell_file(cell, FILE) is None:
                continue
            test = read_predictions(cell).test
            labels, logits = test.labels, test.logits
            own = np.zeros((logits.shape[1],) * 2, int)
            np.add.at(own, (labels, logits.argmax(-1)), 1)
            found[method] = found.get(method, 0) + own
    return found


def class_names(workdir: Path, count: int) -> tuple[str, ...]:
    """The names of the classes as the run keeps them beside its examples; numbers where it keeps none."""
    examples = read_examples(workdir)
    return examples.class_names if examples else tuple(map(str, range(count)))


def _rows(counts: Counts, names: Sequence[str]) -> list[tuple[str, str, str, int]]:
    return [
        (method, names[label], names[answer], int(samples))
        for method, own in counts.items()
        for (label, answer), samples in np.ndenumerate(own)
    ]


def confusion_figure(
    counts: Counts, names: Sequence[str], architecture: str, seeds: dict[str, int]
) -> "Figure":
    """A matrix for each method, rows in per cent of a class's samples, and the accuracy of each class beside them."""
    side = max(2.6, min(7.0, 0.36 * len(names)))
    drawn = new_figure(1.6 + (side + 0.5) * len(counts) + 3.0, 1.5 + side)
    panels = drawn.subplots(1, len(counts) + 1, squeeze=False, width_ratios=[side] * len(counts) + [2.6])[0]
    for axes, (method, own) in zip(panels, counts.items(), strict=False):
        _matrix(axes, own, f"{method_name(method).column} ({seeds[method]} seed{'s' * (seeds[method] > 1)})")
    short = [shortened(name) for name in drawable(names, "class")]
    panels[0].set_yticks(range(len(names)), short, fontsize=CAPTION_SIZE)
    panels[0].set_ylabel("label", fontsize=LABEL_SIZE)
    for axes in panels[:-1]:
        axes.set_xticks(range(len(names)), short, fontsize=CAPTION_SIZE, rotation=90)
        axes.set_xlabel("answer", fontsize=LABEL_SIZE)
    for axes in panels[1:]:
        axes.set_yticks(range(len(names)), [""] * len(names))
    _accuracies(panels[-1], counts)
    drawn.suptitle(
        f"Answers on the test set of the final step, {architecture}: per cent of the samples of a label",
        fontsize=TITLE_SIZE, color=INK,
    )  # fmt: skip
    return drawn


def shares(counts: np.ndarray) -> np.ndarray:
    """Per cent of each label's samples that got each answer; 0 for a label without samples."""
    return 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _matrix(axes: "Axes", counts: np.ndarray, title: str) -> None:
    found = shares(counts)
    texts = [[f"{value:.0f}" for value in row] for row in found] if len(found) <= MOST_NUMBERS else None
    heat_map(axes, found, 100.0, texts)
    axes.set_title(title, fontsize=LABEL_SIZE, color=INK, loc="left")


def _accuracies(axes: "Axes", counts: Counts) -> None:
    """A point for each method and class, on the line of the class."""
    clean_axes(axes)
    for place, (method, own) in enumerate(counts.items()):
        color, marker = method_style(place)
        accuracy = np.diag(shares(own))
        axes.plot(
            accuracy, range(len(own)), marker=marker, color=color, linestyle="none", markersize=5,
            label=method_name(method).column,
        )  # fmt: skip
    axes.set_ylim(len(next(iter(counts.values()))) - 0.5, -0.5)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("accuracy (%)", fontsize=LABEL_SIZE)
    axes.set_title("by class", fontsize=LABEL_SIZE, color=INK, loc="left")
    axes.tick_params(axis="y", length=0, labelcolor=GREY)
    axes.legend(fontsize=CAPTION_SIZE, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.06), ncols=2)

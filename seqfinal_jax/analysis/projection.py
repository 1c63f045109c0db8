"""Where the models of a run lie in weight space, between the oracle, the history and the final step alone.

Command   python -m seqfinal_jax.analysis.projection RUN [RUN...] [--architecture=NAME] [--seed=K] [--basis=orthogonal]

Further run folders may hold further methods of the same sequence. Writes figures/projection-ARCHITECTURE-seedK.png and
.csv into the first.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console

from seqfinal_jax.analysis.figures.palette import (
    ARCHITECTURE_COLORS,
    CAPTION_SIZE,
    FAINT,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    clean_axes,
    legend_below,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import house_style
from seqfinal_jax.analysis.tables.labels import method_name
from seqfinal_jax.analysis.weight_space.projection import (
    Basis,
    UndefinedProjection,
    coordinates,
    cosines,
    weight_vectors,
)
from seqfinal_jax.analysis.weight_space.run_models import RunModels, read_models
from seqfinal_jax.results.run_folder import RunFolderError, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osv^DPX*<>hp"


def project(models: RunModels, basis: Basis = "plain") -> pd.DataFrame:
    """A row for each method, model and layer: method, point, name, layer, x, y; "entire model" is a layer too."""
    oracle, history, final = _spanning_vectors(models)
    rows = []
    for path in models.paths:
        for point, (name, params) in enumerate(zip(path.names, path.params, strict=True)):
            places = coordinates(
                weight_vectors(params, models.groups), oracle, history, final, models.groups, basis
            )
            layers = [*models.groups, "entire model"]
            rows += [(path.method, point, name, layer, *xy) for layer, xy in zip(layers, places, strict=True)]
    return pd.DataFrame(rows, columns=["method", "point", "name", "layer", "x", "y"])


def _spanning_vectors(models: RunModels) -> list[list[np.ndarray]]:
    return [weight_vectors(each, models.groups) for each in (models.oracle, models.history, models.final)]


def projection_figure(frame: pd.DataFrame, models: RunModels) -> "Figure":
    """A panel for each layer and one for the entire model: a line through the models of each method, the last filled."""
    angles = cosines(*_spanning_vectors(models))
    layers = [*models.groups, "entire model"]
    columns = min(3, len(layers))
    rows = -(-len(layers) // columns)
    figure = new_figure(3.4 * columns, 3.1 * rows + 1.2)
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axes in panels[len(layers) :]:
        axes.set_visible(False)
    for axes, layer, angle in zip(panels, layers, angles, strict=False):
        own = frame[frame["layer"] == layer]
        for place, method in enumerate(frame["method"].unique()):
            _line(axes, own[own["method"] == method], place)
        axes.plot([0], [0], marker="x", color=INK, linestyle="none", markersize=8)
        axes.set_title(
            f"{layer} (cosine of the axes {angle:.2f})", fontsize=LABEL_SIZE, loc="left", color=INK
        )
        axes.set_xlabel("along the shift of the history", fontsize=CAPTION_SIZE)
        axes.set_ylabel("along the lack of final samples", fontsize=CAPTION_SIZE)
        clean_axes(axes)
    figure.suptitle(
        f"Weights of {models.architecture}, seed {models.seed}; the oracle is at 0 (x)", fontsize=TITLE_SIZE
    )
    legend_below(figure, _handles(list(frame["method"].unique())))
    return figure


def _style(place: int) -> tuple[str, str]:
    colors = ARCHITECTURE_COLORS
    return colors[place % len(colors)], MARKERS[place % len(MARKERS)]


def _line(axes: "Axes", own: pd.DataFrame, place: int) -> None:
    color, marker = _style(place)
    axes.plot(own["x"], own["y"], color=color, linewidth=1, alpha=0.7)
    axes.scatter(own["x"][:-1], own["y"][:-1], s=14, color=FAINT, edgecolors=color, marker=marker, zorder=3)
    axes.scatter(own["x"][-1:], own["y"][-1:], s=34, color=color, marker=marker, zorder=4)


def _handles(methods: list[str]) -> list[object]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=color, marker=marker, markersize=5, label=method_name(method).legend)
        for method, (color, marker) in zip(methods, map(_style, range(len(methods))), strict=True)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the picture and writes its numbers; 2 where a folder cannot be read or lacks a model."""
    parser = argparse.ArgumentParser(prog="python -m seqfinal_jax.analysis.projection", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--architecture", default="", help="default: the first that has the models")
    parser.add_argument("--seed", type=int, help="default: the first that has the models")
    parser.add_argument("--methods", default="", help="by comma; default: all")
    parser.add_argument("--basis", choices=("plain", "orthogonal"), default="plain")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        names = tuple(filter(None, options.methods.split(",")))
        models = read_models(options.runs, options.architecture, options.seed, names)
        frame = project(models, options.basis)
    except (RunFolderError, UndefinedProjection, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for method, why in models.left_out.items():
        console.print(f"left out {method}: {why}", soft_wrap=True, markup=False)
    stem = f"projection-{models.architecture}-seed{models.seed}"
    folder = options.runs[0] / "figures"
    with house_style():
        written = [save_png(projection_figure(frame, models), folder / f"{stem}.png")]
    written.append(write_whole(folder / f"{stem}.csv", frame.to_csv(index=False)))
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Where the models of a run lie in weight space, between the oracle, the history and the final step alone.

Command   python -m seqfinal_jax.analysis.projection RUN [RUN...] [--architecture=A,B] [--seed=K] [--basis=orthogonal]

Further run folders may hold further methods of the same sequence. Writes figures/projection-ARCHITECTURE-seedK.png and
.csv into the first.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console

from seqfinal_jax.analysis.figures.palette import save_png
from seqfinal_jax.analysis.figures.record import house_style
from seqfinal_jax.analysis.weight_space.choice import Choice, choice_parser, run_command
from seqfinal_jax.analysis.weight_space.panels import Picture, layer_panels
from seqfinal_jax.analysis.weight_space.projection import (
    Basis,
    coordinates,
    cosines,
    weight_vectors,
)
from seqfinal_jax.analysis.weight_space.run_models import RunModels, read_models
from seqfinal_jax.results.run_folder import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def projection_figure(frame: pd.DataFrame, models: RunModels, choice: Choice) -> "Figure":
    """A panel for each layer and one for the entire model."""
    layers = [*models.groups, "entire model"]
    angles = cosines(*_spanning_vectors(models))
    titles = {
        layer: f"{layer} (cosine of the axes {angle:.2f})"
        for layer, angle in zip(layers, angles, strict=True)
    }
    picture = Picture(
        f"{choice.title or 'Weights'}: {models.architecture}, seed {models.seed}; the oracle is at 0 (x)",
        "along the shift of the history",
        "along the lack of final samples",
        titles,
        legends=choice.legends,
    )
    return layer_panels(frame, picture)


def draw(choice: Choice, basis: Basis, console: Console) -> list[Path]:
    """Draws a picture for each architecture and writes its numbers; raises ValueError where a model lacks."""
    written = []
    for each in choice.each_architecture():
        models = read_models(each)
        frame = project(models, basis)
        for method, why in models.left_out.items():
            console.print(f"left out {method}: {why}", soft_wrap=True, markup=False)
        stem = f"projection-{models.architecture}-seed{models.seed}"
        with house_style():
            figure = projection_figure(frame, models, choice)
            written.append(save_png(figure, choice.folder / f"{stem}.png"))
        written.append(write_whole(choice.folder / f"{stem}.csv", frame.to_csv(index=False)))
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws the picture and writes its numbers; 2 where a folder cannot be read or lacks a model."""
    parser = choice_parser(__doc__)
    parser.add_argument(
        "--basis",
        choices=("plain", "orthogonal"),
        default="plain",
        help="orthogonal: an orthonormal basis, which preserves distances",
    )
    return run_command(
        parser, lambda choice, options, console: draw(choice, options.basis, console), arguments
    )


if __name__ == "__main__":
    sys.exit(main())

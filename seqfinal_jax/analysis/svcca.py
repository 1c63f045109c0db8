"""The similarity of a run's models to the oracle, layer by layer, by SVCCA (Raghu et al. 2017).

Command   python -m seqfinal_jax.analysis.svcca RUN [RUN...] --data_dir=DIR [--architecture=A,B] [--seed=K]

All models are evaluated on the test images of the final step; joint models and side modules once for each time step.
Each point shows two mean canonical correlations between the layer's output in a model and in the oracle: over the
directions that make up 50 % (x) and 90 % (y) of the sum of singular values. The oracle is at (1, 1). The numbers are
stored in figures/svcca-ARCHITECTURE-seedK.json, and a later call reads them.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from seqfinal_jax.analysis.figures.palette import save_png
from seqfinal_jax.analysis.figures.record import house_style
from seqfinal_jax.analysis.tables.labels import listed
from seqfinal_jax.analysis.weight_space.choice import Choice, choice_parser, run_command
from seqfinal_jax.analysis.weight_space.panels import Picture, layer_panels
from seqfinal_jax.analysis.weight_space.run_data import data_reader
from seqfinal_jax.analysis.weight_space.run_models import Model, passed_models, refuse_own_logits
from seqfinal_jax.analysis.weight_space.svcca import LEVELS, Decomposition, decompose, similarities
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.models import AnyNetwork
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, read_result, write_whole
from seqfinal_jax.training.objectives.risk import InputScaling

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 500


@partial(jax.jit, static_argnames=("network", "scaling", "step"))
def outputs_of(
    network: AnyNetwork, scaling: InputScaling, variables: Any, images: jax.Array, step: int
) -> list[jax.Array]:
    """What every layer group gives for images (n,h,w,c), the logits last."""
    x = scaling(images, jnp.float32)
    logits, _, outputs = network.apply(variables, x, step=step)
    return [*outputs[:-1], logits]


def representations(model: Model, scaling: InputScaling, images: np.ndarray) -> list[Decomposition]:
    """The decomposed outputs of every layer group for all images."""
    parts = np.array_split(images, range(BATCH, len(images), BATCH))
    found = [
        [np.asarray(each) for each in outputs_of(model.network, scaling, model.variables, part, model.step)]
        for part in parts
    ]
    return [decompose(np.concatenate(layer), max(LEVELS)) for layer in zip(*found, strict=True)]


def compare_models(
    cells: Sequence[CellFolder], oracle: CellFolder, kept: Path, data_dir: str | None
) -> pd.DataFrame:
    """A row for each method, model and layer: method, point, name, layer, x, y; kept rows are not computed again."""
    sequence, scaling = data_reader(data_dir)(oracle)
    images = sequence.steps[-1].test.images
    best = passed_models(oracle)[-1]
    reference = None
    stored = json.loads(kept.read_text()) if kept.is_file() else {}
    layers = [*best.network.group_names, "entire model"]
    rows = []
    for cell in track(cells, "SVCCA", transient=True):
        key = _key(cell, oracle)
        if stored.get(cell.method, {}).get("key") != key:
            reference = reference or representations(best, scaling, images)
            models = passed_models(cell)
            refuse_own_logits(cell, models)
            own = [
                (
                    model.name,
                    similarities(representations(model, scaling, images), reference, LEVELS).tolist(),
                )
                for model in models
            ]
            stored[cell.method] = {"key": key, "models": own}
            write_whole(kept, json.dumps(stored))
        for point, (name, values) in enumerate(stored[cell.method]["models"]):
            rows += [(cell.method, point, name, layer, *xy) for layer, xy in zip(layers, values, strict=True)]
    return pd.DataFrame(rows, columns=["method", "point", "name", "layer", "x", "y"])


def _key(cell: CellFolder, oracle: CellFolder) -> str:
    stages = [[stage["fingerprint"] for stage in read_result(each)["stages"]] for each in (cell, oracle)]
    return hashlib.sha256(json.dumps([stages, cell.seed, LEVELS]).encode()).hexdigest()[:16]


def svcca_figure(frame: pd.DataFrame, title: str, choice: Choice) -> "Figure":
    """A panel for each layer, both axes from 0 to 1."""
    picture = Picture(
        title,
        "mean correlation, 50 % of singular values",
        "the same, 90 %",
        {layer: layer for layer in frame["layer"].unique()},
        origin=(1.0, 1.0),
        limits=(-0.05, 1.05),
        legends=choice.legends,
    )
    return layer_panels(frame, picture)


def draw(choice: Choice, console: Console) -> list[Path]:
    """Computes what is not kept yet and draws a picture for each architecture.

    Raises ValueError where a folder cannot be read, has no oracle, or the data are not those of the run.
    """
    written = []
    for each in choice.each_architecture():
        cells, oracle = _cells(each)
        place = f"{oracle.architecture}, seed {oracle.seed}"
        stem = f"svcca-{oracle.architecture}-seed{oracle.seed}"
        frame = compare_models(cells, oracle, choice.kept(f"{stem}.json"), choice.data_dir)
        for layer, methods in frame[frame["x"].isna()].groupby("layer")["method"].unique().items():
            console.print(f"{layer} does not vary in {listed(methods)}; it is left out there", soft_wrap=True)
        title = f"{choice.title or read_result(oracle)['sequence']}: likeness to the oracle (x), {place}"
        with house_style():
            written.append(save_png(svcca_figure(frame, title, choice), choice.folder / f"{stem}.png"))
        written.append(write_whole(choice.folder / f"{stem}.csv", frame.to_csv(index=False)))
    return written


def _cells(choice: Choice) -> tuple[list[CellFolder], CellFolder]:
    """The cells to compare, and the oracle of their architecture and seed."""
    cells = choice.cells()
    oracle = next((c for c in cells if c.method in METHODS and not METHODS.get(c.method).comparable), None)
    if oracle is None:
        raise RunFolderError(
            "no cell of the oracle is done there; run it, or name the run folder that holds it"
        )
    return [
        c for c in choice.of(cells, (oracle.architecture, oracle.seed)) if c.method != oracle.method
    ], oracle


def main(arguments: Sequence[str] | None = None) -> int:
    """Computes what is not kept yet, and draws; 2 where a folder cannot be read or the data are not those of the run."""
    parser = choice_parser(__doc__)
    return run_command(parser, lambda choice, _, console: draw(choice, console), arguments)


if __name__ == "__main__":
    sys.exit(main())

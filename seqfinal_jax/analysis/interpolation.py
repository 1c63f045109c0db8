"""Test accuracy on the line between the model before a method's last update and the model after it.

Command   python -m seqfinal_jax.analysis.interpolation RUN [RUN...] --data_dir=DIR [--architecture=NAME] [--seed=K]

A curve without a dip says that the last update stayed within the basin of its start. All parameters and running
statistics are mixed, and the output of a new side module is scaled. --mix=weights is the published rule: kernels alone
are mixed, so that a curve may jump at its ends. The end of a curve must give the accuracy that the run recorded, or the
command stops. Curves are kept in figures/interpolation-ARCHITECTURE-seedK.json and not computed again.
"""

import argparse
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
from rich.console import Console
from rich.progress import track

from seqfinal_jax.analysis.figures.palette import (
    ARCHITECTURE_COLORS,
    LABEL_SIZE,
    TITLE_SIZE,
    clean_axes,
    legend_below,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import house_style
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.tables.labels import in_order, method_name
from seqfinal_jax.analysis.weight_space.run_data import run_data
from seqfinal_jax.analysis.weight_space.run_models import last_update
from seqfinal_jax.models import Network
from seqfinal_jax.models.per_step.interpolation import Mix, apply_on_line
from seqfinal_jax.models.per_step.network import StepNetwork
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, read_result, write_whole
from seqfinal_jax.training.objectives.risk import InputScaling, answered_right

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 100
DASHES = ("-", "--", ":", "-.")


@partial(jax.jit, static_argnames=("network", "scaling", "mix"))
def correct_on_line(
    network: Network | StepNetwork,
    scaling: InputScaling,
    start: Any,
    end: Any,
    factors: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    mix: Mix = "every",
) -> jax.Array:
    """How many samples are answered right at each factor, (f,) int32.

    images (batches, n, h, w, c) uint8, labels (batches, n) int32, -1 where a sample is padding.
    """

    def one(factor: jax.Array) -> jax.Array:
        def batch(count: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            logits = apply_on_line(network, start, end, factor, scaling(part[0], jnp.float32), mix)
            return count + answered_right(logits, part[1]).sum(dtype=jnp.int32), None

        return jax.lax.scan(batch, jnp.int32(0), (images, labels))[0]

    return jax.lax.map(one, factors)


def curve(
    cell: CellFolder, factors: np.ndarray, data_dir: str | None, mix: Mix = "every", chunk: int = 10
) -> list[float]:
    """Test accuracies at the factors from 0 to 1, whose ends are the stored models themselves.

    Raises RunFolderError where the end is not the accuracy that was recorded.
    """
    network, start, end = last_update(cell)
    result = read_result(cell)
    sequence, scaling = run_data(cell.path.parents[3], result, data_dir)
    test = sequence.steps[-1].test
    images, labels = batches(test.images, test.labels)
    measure = partial(correct_on_line, network, scaling, start, end)
    first, accuracy = (np.asarray(measure(jnp.array([0.0, 1.0]), images, labels)) / len(test)).tolist()
    if abs(accuracy - result["test_accuracy"]) > 1.5 / len(test):
        raise RunFolderError(
            f"{cell.path}: the stored model answers {100 * accuracy:.2f} % of the test set right, and the run recorded "
            f"{100 * result['test_accuracy']:.2f} %; the data or the model are not those of the run"
        )
    inner = factors[1:-1]
    parts = np.array_split(inner, range(chunk, len(inner), chunk)) if len(inner) else []
    padded = [np.concatenate([part, np.ones(chunk - len(part))]) for part in parts]  # one compiled program
    found = [
        np.asarray(measure(jnp.asarray(part, jnp.float32), images, labels, mix)) / len(test)
        for part in track(padded, method_name(cell.method).legend, transient=True)
    ]
    return [first, *np.concatenate([*found, []])[: len(inner)].tolist(), accuracy]


def batches(images: np.ndarray, labels: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Images and labels in batches of 100, the last one padded with samples of label -1."""
    short = -len(labels) % BATCH
    images = np.concatenate([images, np.zeros((short, *images.shape[1:]), images.dtype)])
    labels = np.concatenate([labels, np.full(short, -1)]).astype(np.int32)
    return jnp.asarray(images.reshape(-1, BATCH, *images.shape[1:])), jnp.asarray(labels.reshape(-1, BATCH))


def curves(
    cells: Sequence[CellFolder],
    factors: np.ndarray,
    kept: Path,
    data_dir: str | None,
    console: Console,
    mix: Mix = "every",
) -> dict[str, list[float]]:
    """Curves by method; those that the file `kept` holds for the same models are not computed again."""
    stored = json.loads(kept.read_text()) if kept.is_file() else {}
    found = {}
    for cell in cells:
        key = _key(cell, factors, mix)
        known = stored.get(cell.method, {})
        if known.get("key") != key:
            try:
                known = {"key": key, "mix": mix, "accuracies": curve(cell, factors, data_dir, mix)}
            except ValueError as error:
                if isinstance(error, RunFolderError):
                    raise
                console.print(f"left out {cell.method}: {error}", soft_wrap=True, markup=False)
                continue
            stored[cell.method] = known
            write_whole(kept, json.dumps(stored))
        found[cell.method] = known["accuracies"]
    return found


def _key(cell: CellFolder, factors: np.ndarray, mix: Mix) -> str:
    stages = [stage["fingerprint"] for stage in read_result(cell)["stages"]]
    return hashlib.sha256(json.dumps([stages, cell.seed, factors.tolist(), mix]).encode()).hexdigest()[:16]


def interpolation_figure(found: dict[str, list[float]], factors: np.ndarray, title: str) -> "Figure":
    """A line for each method."""
    from matplotlib.lines import Line2D

    figure = new_figure(7.5, 5.2)
    axes = figure.subplots()
    handles = []
    for place, (method, accuracies) in enumerate(found.items()):
        look = {
            "color": ARCHITECTURE_COLORS[place % 7],
            "linestyle": DASHES[place // 7 % 4],
            "linewidth": 1.6,
        }
        axes.plot(factors, 100 * np.array(accuracies), **look)
        handles.append(Line2D([], [], label=method_name(method).legend, **look))
    axes.set_xlabel("from the model before the last update (0) to the one after it (1)", fontsize=LABEL_SIZE)
    axes.set_ylabel("test accuracy (%)", fontsize=LABEL_SIZE)
    axes.set_title(title, fontsize=TITLE_SIZE, loc="left")
    axes.set_xlim(0, 1)
    clean_axes(axes)
    legend_below(figure, handles)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Computes what is not kept yet, and draws; 2 where a folder cannot be read or the data are not those of the run."""
    parser = argparse.ArgumentParser(prog="python -m seqfinal_jax.analysis.interpolation", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--data_dir", help="folder with the data sets; default SEQFINAL_DATA_DIR")
    parser.add_argument("--architecture", default="", help="default: the first")
    parser.add_argument("--seed", type=int, help="default: the first")
    parser.add_argument("--methods", default="", help="by comma; default: all that end in an update")
    parser.add_argument(
        "--mix", choices=("every", "weights"), default="every", help="weights: the published rule"
    )
    parser.add_argument("--points", type=int, default=101, help="of a curve, both ends included")
    options = parser.parse_args(arguments)
    console, factors = Console(highlight=False), np.linspace(0, 1, max(2, options.points))
    try:
        cells = _cells(options)
        rule = "" if options.mix == "every" else f"-{options.mix}"
        stem = f"interpolation{rule}-{cells[0].architecture}-seed{cells[0].seed}"
        folder = options.runs[0] / "figures"
        found = curves(cells, factors, folder / f"{stem}.json", options.data_dir, console, options.mix)
        sequence = read_result(cells[0])["sequence"]
    except (RunFolderError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    title = (
        f"{sequence}: {cells[0].architecture}, seed {cells[0].seed}{', kernels alone mixed' if rule else ''}"
    )
    with house_style():
        path = save_png(interpolation_figure(found, factors, title), folder / f"{stem}.png")
    console.print(f"wrote {path}", soft_wrap=True, markup=False)
    return 0


def _cells(options: Any) -> list[CellFolder]:
    wanted = set(filter(None, options.methods.split(",")))
    cells = [cell for run in options.runs for cell in done_cells(run) if not wanted or cell.method in wanted]
    cells = [c for c in cells if len(read_result(c)["stages"]) > 1 or _has_steps(c)]
    chosen = [
        c for c in cells
        if options.architecture in ("", c.architecture) and options.seed in (None, c.seed)
    ]  # fmt: skip
    if not chosen:
        raise RunFolderError(
            "no cell of a method that ends in an update is done; name other run folders or methods"
        )
    first = chosen[0]
    same = {c.method: c for c in chosen if (c.architecture, c.seed) == (first.architecture, first.seed)}
    return [same[method] for method in in_order(same)]


def _has_steps(cell: CellFolder) -> bool:
    return (
        len(read_result(cell)["stages"][-1]["train_steps"]) > 1 and method_name(cell.method).family == "joint"
    )


if __name__ == "__main__":
    sys.exit(main())

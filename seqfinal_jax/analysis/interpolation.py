"""Test accuracy along the line from the model before a method's last update to the model after it.

Command   python -m seqfinal_jax.analysis.interpolation RUN [RUN...] --data_dir=DIR [--architecture=A,B] [--seed=K]

If a curve has no dip, the last update stayed in the loss basin of the model that it started from. All parameters and
running statistics are interpolated, and the output of a new side module is scaled. The published rule, --mix=weights,
interpolates kernels only, so that a curve may jump at its ends. If the end of a curve does not have the accuracy that the
run recorded, the command stops with an error. The curves are stored in figures/interpolation-ARCHITECTURE-seedK.json and
in a .csv file of the same name, and a later call reads them. For several architectures there is one more figure, with one
row per architecture.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
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
from seqfinal_jax.analysis.tables.labels import listed, method_name
from seqfinal_jax.analysis.weight_space.choice import Choice, choice_parser, run_command
from seqfinal_jax.analysis.weight_space.run_data import DataOf, batches, data_reader
from seqfinal_jax.analysis.weight_space.run_models import last_update
from seqfinal_jax.models import AnyNetwork
from seqfinal_jax.models.parts.interpolation import Mix
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, read_result, write_whole
from seqfinal_jax.training.objectives.risk import InputScaling, answered_right

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASHES = ("-", "--", ":", "-.")


@partial(jax.jit, static_argnames=("network", "scaling", "mix"))
def correct_on_line(
    network: AnyNetwork,
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
            logits = network.on_line(start, end, factor, scaling(part[0], jnp.float32), mix)
            return count + answered_right(logits, part[1]).sum(dtype=jnp.int32), None

        return jax.lax.scan(batch, jnp.int32(0), (images, labels))[0]

    return jax.lax.map(one, factors)


def curve(
    cell: CellFolder, factors: np.ndarray, data_of: DataOf, mix: Mix = "every", chunk: int = 10
) -> list[float]:
    """Test accuracies at the factors from 0 to 1, whose ends are the stored models themselves.

    Raises RunFolderError where the end is not the accuracy that was recorded.
    """
    network, start, end = last_update(cell)
    result = read_result(cell)
    sequence, scaling = data_of(cell)
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


def curves(
    cells: Sequence[CellFolder],
    factors: np.ndarray,
    kept: Path,
    data_of: DataOf,
    console: Console,
    mix: Mix = "every",
) -> pd.DataFrame:
    """Curves of the cells: architecture, method, seed, factor, accuracy, mix, one row per point.

    Curves that the file `kept` holds for the same models are not computed again; a method that has none is said.
    """
    stored = json.loads(kept.read_text()) if kept.is_file() else {}
    found, why = [], ""
    for cell in cells:
        key = _key(cell, factors, mix)
        known = stored.get(cell.method, {})
        if known.get("key") != key:
            try:
                known = {"key": key, "mix": mix, "accuracies": curve(cell, factors, data_of, mix)}
            except ValueError as error:
                if isinstance(error, RunFolderError):
                    raise
                why = str(error)
                console.print(f"left out {cell.method}: {error}", soft_wrap=True, markup=False)
                continue
            stored[cell.method] = known
            write_whole(kept, json.dumps(stored))
        place = (cell.architecture, cell.method, cell.seed)
        found += [(*place, *point, mix) for point in zip(factors.tolist(), known["accuracies"], strict=True)]
    if not found:
        raise RunFolderError(f"no curve can be drawn, every method was left out; the last one because {why}")
    return pd.DataFrame(found, columns=["architecture", "method", "seed", "factor", "accuracy", "mix"])


def _key(cell: CellFolder, factors: np.ndarray, mix: Mix) -> str:
    stages = [stage["fingerprint"] for stage in read_result(cell)["stages"]]
    return hashlib.sha256(json.dumps([stages, cell.seed, factors.tolist(), mix]).encode()).hexdigest()[:16]


def interpolation_figure(frame: pd.DataFrame, titles: Mapping[str, str], choice: Choice) -> "Figure":
    """A line for each method, a row of the figure for each architecture, which `titles` lists."""
    methods = {m: place for place, m in enumerate(dict.fromkeys(frame["method"]))}
    figure = new_figure(7.5, 1.4 + 3.8 * len(titles))
    rows = figure.subplots(len(titles), 1, squeeze=False)[:, 0]
    for axes, (architecture, title) in zip(rows, titles.items(), strict=True):
        own = frame[frame["architecture"] == architecture]
        for method, line in own.groupby("method", sort=False):
            axes.plot(line["factor"], 100 * line["accuracy"], **_look(methods[method]))
        axes.set_ylabel("test accuracy (%)", fontsize=LABEL_SIZE)
        axes.set_title(title, fontsize=TITLE_SIZE, loc="left")
        axes.set_xlim(0, 1)
        clean_axes(axes)
    rows[-1].set_xlabel(
        "from the model before the last update (0) to the one after it (1)", fontsize=LABEL_SIZE
    )
    legend_below(figure, [_handle(choice.legend(m), place) for m, place in methods.items()])
    return figure


def _look(place: int) -> dict[str, Any]:
    return {
        "color": ARCHITECTURE_COLORS[place % 7],
        "linestyle": DASHES[place // 7 % 4],
        "linewidth": 1.6,
    }


def _handle(label: str, place: int) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **_look(place))


def draw(choice: Choice, points: int, mix: Mix, console: Console) -> list[Path]:
    """Computes what is not kept yet and draws a figure for each architecture, and one of all where there are several.

    Raises ValueError where a folder cannot be read, or the data are not those of the run.
    """
    factors = np.linspace(0, 1, max(2, points))
    rule = "" if mix == "every" else f"-{mix}"
    written, frames, titles, data_of = [], [], {}, data_reader(choice.data_dir)
    for each in choice.each_architecture():
        cells = _cells(each)
        architecture, seed = cells[0].architecture, cells[0].seed
        stem = f"interpolation{rule}-{architecture}-seed{seed}"
        frame = curves(cells, factors, choice.kept(f"{stem}.json"), data_of, console, mix)
        usual = f"{read_result(cells[0])['sequence']}: {architecture}, seed {seed}"
        rest = ", only kernels mixed" if rule else ""
        titles[architecture] = (choice.title or usual) + rest
        written += _save(frame, {architecture: titles[architecture]}, choice, stem)
        frames.append(frame)
    if len(frames) > 1:
        if choice.title:
            titles = {name: f"{title} {name}" for name, title in titles.items()}
        seeds = listed(dict.fromkeys(frame["seed"].iloc[0] for frame in frames)).replace(", ", "-")
        stem = f"interpolation{rule}-{len(frames)}-architectures-seed{seeds}"
        written += _save(pd.concat(frames, ignore_index=True), titles, choice, stem)
    return written


def _save(frame: pd.DataFrame, titles: Mapping[str, str], choice: Choice, stem: str) -> list[Path]:
    named = frame.assign(name=[choice.legend(method) for method in frame["method"]])
    with house_style():
        picture = save_png(interpolation_figure(frame, titles, choice), choice.folder / f"{stem}.png")
    return [picture, write_whole(choice.folder / f"{stem}.csv", named.to_csv(index=False))]


def _cells(choice: Choice) -> list[CellFolder]:
    """The cells of methods that end in an update, of the first architecture and seed that have one."""
    cells = [c for c in choice.cells() if len(read_result(c)["stages"]) > 1 or _has_steps(c)]
    cells = [cell for cell in cells if not choice.methods or cell.method in choice.methods]
    if not cells:
        raise RunFolderError(
            "no cell of a method that ends in an update is done; name other run folders or methods"
        )
    return choice.of(cells, (cells[0].architecture, cells[0].seed))


def _has_steps(cell: CellFolder) -> bool:
    return (
        len(read_result(cell)["stages"][-1]["train_steps"]) > 1 and method_name(cell.method).family == "joint"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Computes what is not kept yet, and draws; 2 where a folder cannot be read or the data are not those of the run."""
    parser = choice_parser(__doc__)
    parser.add_argument(
        "--mix",
        choices=("every", "weights"),
        default="every",
        help="every: all parameters and running statistics; weights: kernels only, as published",
    )
    parser.add_argument("--points", type=int, default=101, help="points per curve, both ends included")
    return run_command(
        parser, lambda choice, options, console: draw(choice, options.points, options.mix, console), arguments
    )


if __name__ == "__main__":
    sys.exit(main())

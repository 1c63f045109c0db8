"""The accuracy of the model of each time step on every time step: what methods forget, and what carries over.

Command   python -m seqfinal_jax.analysis.steps RUN [RUN...] --data_dir=DIR [--architecture=A,B] [--seed=K]

For methods with a model for each step (sequential ones and joint models). A step without a test set is measured on its
validation samples, and its label says so; `config.data.test_all_steps=True` gives every target step a test set. Writes
figures/steps-ARCHITECTURE-seedK.png and .csv into the first folder. Above each matrix stand, after Lopez-Paz and Ranzato
2017 (Gradient Episodic Memory):

backward   mean over earlier steps of the last model's accuracy minus that of the step's own model; negative: forgetting
forward    mean over later steps of the accuracy that the model before has there, minus that of guessing a class
"""

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

from seqfinal_jax.analysis.figures.palette import (
    CAPTION_SIZE,
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.figures.record import house_style
from seqfinal_jax.analysis.weight_space.choice import Choice, choice_parser, run_command
from seqfinal_jax.analysis.weight_space.run_data import DataOf, batches, data_reader
from seqfinal_jax.analysis.weight_space.run_models import PROBE, Model, passed_models
from seqfinal_jax.data.sequences.sequence import Split, Step
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, read_result, write_whole
from seqfinal_jax.stored_model import LogitMaker
from seqfinal_jax.training.objectives.risk import answered_right

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "architecture",
    "method",
    "seed",
    "model_step",
    "data_step",
    "split",
    "samples",
    "classes",
    "accuracy",
)


@partial(jax.jit, static_argnames=("maker", "step"))
def _correct(maker: LogitMaker, variables: Any, images: jax.Array, labels: jax.Array, step: int) -> jax.Array:
    def batch(count: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        logits = maker(variables, part[0], step)
        return count + answered_right(logits, part[1]).sum(dtype=jnp.int32), None

    return jax.lax.scan(batch, jnp.int32(0), (images, labels))[0]


def measured_on(step: Step) -> tuple[str, Split]:
    """What a step's accuracy is measured on: its test set, or its validation samples where it has none."""
    return ("validation", step.valid) if step.test is None or not len(step.test) else ("test", step.test)


def step_matrix(cell: CellFolder, models: Sequence[Model], data_of: DataOf) -> pd.DataFrame:
    """A row for each model and time step of the data, with `COLUMNS`; accuracies are fractions.

    Raises RunFolderError where the last model does not answer the final test set as the run recorded.
    """
    result = read_result(cell)
    sequence, scaling = data_of(cell)
    rows = []
    for data_step, step in enumerate(sequence.steps):
        name, split = measured_on(step)
        images, labels = batches(split.images, split.labels)
        for model_step, model in enumerate(models):
            maker = LogitMaker(model.network, scaling, model.objective)
            right = int(_correct(maker, model.variables, images, labels, model.step))
            place = (cell.architecture, cell.method, cell.seed, model_step, data_step)
            rows.append((*place, name, len(split), sequence.num_classes, right / len(split)))
    last = rows[-1]
    if last[5] == "test" and abs(last[-1] - result["test_accuracy"]) > 1.5 / last[6]:
        raise RunFolderError(
            f"{cell.path}: the stored model answers {100 * last[-1]:.2f} % of the test set right, and the run recorded "
            f"{100 * result['test_accuracy']:.2f} %; the data or the model are not those of the run"
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def backward_transfer(matrix: np.ndarray) -> float:
    """Mean over steps before the last of R[T, i] - R[i, i], with matrix R (models, steps); NaN of a single step."""
    own = np.diag(matrix)[:-1]
    return float(np.mean(matrix[-1, :-1] - own)) if len(own) else float("nan")


def forward_transfer(matrix: np.ndarray, guess: float) -> float:
    """Mean over steps after the first of R[i-1, i] - guess, with matrix R (models, steps); NaN of a single step."""
    before = np.diag(matrix, 1)
    return float(np.mean(before) - guess) if len(before) else float("nan")


def steps_figure(frame: pd.DataFrame, title: str, choice: Choice) -> "Figure":
    """A matrix for each method: models from top to bottom, data from left to right, accuracies (%) in the fields."""
    methods = list(frame["method"].unique())
    count = int(frame["data_step"].max()) + 1
    columns = min(len(methods), 3)
    rows = -(-len(methods) // columns)
    side = max(2.6, 0.62 * count)
    figure = new_figure(0.6 + (side + 0.7) * columns, 0.8 + (side + 1.0) * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(methods) :]:
        axes.set_visible(False)
    for axes, method in zip(panels, methods, strict=False):
        _matrix(axes, frame[frame["method"] == method], choice.legend(method))
    figure.suptitle(title, fontsize=TITLE_SIZE, color=INK)
    return figure


def _matrix(axes: "Axes", own: pd.DataFrame, name: str) -> None:
    matrix = own.pivot(index="model_step", columns="data_step", values="accuracy").to_numpy()
    most = np.ceil(10 * matrix.max()) / 10
    axes.imshow(matrix, cmap="cividis", vmin=0, vmax=most, aspect="equal")
    for (row, column), value in np.ndenumerate(matrix):
        ink = "white" if value < 0.55 * most else INK
        axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=ink, fontsize=LABEL_SIZE)
    splits = own.drop_duplicates("data_step").set_index("data_step")["split"]
    short = {"test": "test", "validation": "valid."}
    axes.set_xticks(range(len(splits)), [f"{step}\n{short[split]}" for step, split in splits.items()])
    axes.set_yticks(range(len(matrix)))
    axes.tick_params(labelsize=CAPTION_SIZE, length=0)
    axes.set_xlabel("data of time step", fontsize=CAPTION_SIZE)
    axes.set_ylabel("model of time step", fontsize=CAPTION_SIZE)
    backward, forward = backward_transfer(matrix), forward_transfer(matrix, 1 / own["classes"].iloc[0])
    said = f"backward {100 * backward:+.1f}, forward {100 * forward:+.1f} points"
    axes.set_title(f"{name}\n{said}", fontsize=CAPTION_SIZE + 0.5, loc="left", color=INK)


def draw(choice: Choice, console: Console) -> list[Path]:
    """Measures and draws a figure for each architecture; raises ValueError where there is nothing to measure."""
    written, data_of = [], data_reader(choice.data_dir)
    for each in choice.each_architecture():
        cells = each.cells()
        place = (cells[0].architecture, cells[0].seed)
        frames = []
        for cell in track(each.of(cells, place), "steps", transient=True):
            if models := models_of_steps(cell):
                frames.append(step_matrix(cell, models, data_of))
        if not frames:
            raise RunFolderError(
                f"no completed cell of {place[0]}, seed {place[1]} has a model for each time step; run a sequential "
                f"method or a joint model, for example --config.methods=sequential_fine_tune,joint"
            )
        frame = pd.concat(frames, ignore_index=True)
        stem = f"steps-{place[0]}-seed{place[1]}"
        result = read_result(cells[0])
        title = f"{choice.title or result['sequence']}: accuracy (%) of every step's model, {place[0]}, seed {place[1]}"
        with house_style():
            figure = steps_figure(frame, title, choice)
            written.append(save_png(figure, choice.folder / f"{stem}.png"))
        written.append(write_whole(choice.folder / f"{stem}.csv", frame.to_csv(index=False)))
    return written


def models_of_steps(cell: CellFolder) -> list[Model]:
    """A method's model of every time step, in order; none of a method that does not train step by step.

    A joint model is one stage of all steps. Of a sequential method every stage is trained on one step alone, and the last
    stage of a step gives its model.
    """
    stages = [stage for stage in read_result(cell)["stages"] if stage["role"] != PROBE]
    count = 1 + max(step for stage in stages for step in stage["train_steps"])
    if len(stages) == 1:
        models = passed_models(cell)
        return models if len(models) == count and models[0].network.num_steps > 1 else []
    trained = [stage["train_steps"] for stage in stages]
    if any(len(steps) != 1 for steps in trained) or {steps[0] for steps in trained} != {*range(count)}:
        return []
    found = {steps[0]: model for steps, model in zip(trained, passed_models(cell), strict=True)}
    return [found[step] for step in range(count)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and draws; 2 where a folder cannot be read or the data are not those of the run."""
    parser = choice_parser(__doc__)
    return run_command(parser, lambda choice, _, console: draw(choice, console), arguments)


if __name__ == "__main__":
    sys.exit(main())

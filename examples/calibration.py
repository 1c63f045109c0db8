"""Two metrics of the stored answers, and a figure of one of them."""

import numpy as np

from seqfinal_jax.analysis.figures.palette import BLUE, clean_axes, new_figure, save_png
from seqfinal_jax.analysis.figures.record import figure
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.tables.labels import method_name
from seqfinal_jax.analysis.tables.metrics import metric, probabilities
from seqfinal_jax.results.predictions import read_predictions


@metric("my_brier", column="Brier", better="lower")
def my_brier(logits, labels, class_names):
    """The mean squared distance between the probabilities and the label (Brier 1950)."""
    target = np.eye(logits.shape[1])[labels]
    return np.mean(np.sum((probabilities(logits) - target) ** 2, axis=1))


@metric("my_confidence", column="conf.", better="higher", percent=True)
def my_confidence(logits, labels, class_names):
    """The mean probability of the answer that is given."""
    return np.mean(np.max(probabilities(logits), axis=1))


@figure("my_confidences")
def my_confidences(workdir):
    """The mean confidence of every method's answers."""
    found = {}
    for cell in done_cells(workdir):
        answers = read_predictions(cell.path).test
        found.setdefault(method_name(cell.method).column, []).append(
            100 * my_confidence(answers.logits, answers.labels, ())
        )
    if not found:
        return None
    drawing = new_figure(6.0, 1.2 + 0.3 * len(found))
    axes = drawing.subplots()
    axes.barh(list(found), [np.mean(values) for values in found.values()], color=BLUE)
    axes.set_xlabel("mean confidence of the answers in %, mean over seeds")
    clean_axes(axes)
    return save_png(drawing, workdir / "figures" / "my_confidences.png")

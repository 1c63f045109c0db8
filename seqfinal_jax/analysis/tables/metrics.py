"""Metrics: numbers that are computed from the stored logits of cells, without training. A user's file adds its own:

@metric("brier", column="Brier", better="lower")
def brier(logits, labels, class_names): ...
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.tables.labels import MISSING, percent
from seqfinal_jax.records.code_identity import defined_in
from seqfinal_jax.records.plugins import PluginError, blamed, defined_at
from seqfinal_jax.records.registry import Registry
from seqfinal_jax.results.predictions import read_predictions
from seqfinal_jax.results.run_folder import CellFolder

Function = Callable[[np.ndarray, np.ndarray, tuple[str, ...]], float]
BINS = 15  # of the expected calibration error, as in Guo et al. 2017


@dataclass(frozen=True)
class Metric:
    """One metric of a model.

    id: its name for flags, such as --metric=ece. function: (logits (n, classes), labels (n,), class names) -> a number.
    column: its name in tables. better: whether a higher or a lower number is better. percent: whether it is a fraction
    that tables show in per cent. summary: one sentence for lists.
    """

    id: str
    function: Function
    column: str
    better: Literal["higher", "lower"]
    percent: bool = False
    summary: str = ""

    @property
    def field(self) -> str:
        """Its column among the cells; the accuracy is stored there by the run."""
        return f"test_{self.id}"

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.better == "higher" else -1

    @property
    def most(self) -> str:
        """What the best value is called."""
        return "highest" if self.sign > 0 else "lowest"

    @property
    def name(self) -> str:
        """The column with the unit."""
        return f"{self.column} (%)" if self.percent else self.column

    def best(self, values: Iterable[float]) -> float:
        """The best of some values."""
        return max(values, key=lambda value: self.sign * value)

    def text(self, value: float) -> str:
        """A value, in per cent with one decimal or else with three; a dash where there is none."""
        return percent(value) if self.percent else MISSING if math.isnan(value) else f"{value:.3f}"

    def difference(self, value: float) -> str:
        """A difference with its sign, in points or as a number."""
        return f"{100 * value:+.1f}" if self.percent else f"{value:+.3f}"


METRICS: Registry[Metric] = Registry("metric")


def metric(
    id: str, *, column: str = "", better: str, percent: bool = False, summary: str = ""
) -> Callable[[Function], Function]:
    """Registers the function below it as a metric; see `Metric` for the fields.

    Raises ValueError where the id is taken or `better` is neither "higher" nor "lower".
    """
    if better not in ("higher", "lower"):
        raise ValueError(f"metric {id!r}: better: expected 'higher' or 'lower', found {better!r}")

    def register(function: Function) -> Function:
        said = summary or (function.__doc__ or "").strip().split("\n")[0]
        METRICS.add(
            id, Metric(id, function, column or id, better, percent, said), origin=defined_in(function)
        )
        return function

    return register


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits (n, classes), in float64."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    return np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)


def right_answers(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which samples are answered right, (n,) bool; non-finite logits count as wrong."""
    return (np.argmax(logits, axis=-1) == labels) & np.isfinite(logits).all(axis=-1)


@metric("accuracy", column="accuracy", better="higher", percent=True)
def accuracy(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> float:
    """The fraction of right answers."""
    return float(np.mean(right_answers(logits, labels)))


@metric("worst_class", column="worst class", better="higher", percent=True)
def worst_class(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> float:
    """The accuracy of the class that is answered worst, of the classes that have a sample."""
    right = right_answers(logits, labels)
    return float(min(np.mean(right[labels == label]) for label in np.unique(labels)))


@metric("ece", column="ECE", better="lower", percent=True)
def ece(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> float:
    """The expected calibration error with 15 bins of equal width (Guo et al. 2017, arXiv 1706.04599, equation 3)."""
    confidence, right = probabilities(logits).max(axis=-1), right_answers(logits, labels)
    place = np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)  # bins (a, b]
    gaps = np.bincount(place, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


@metric("nll", column="NLL", better="lower")
def nll(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> float:
    """The mean negative log-likelihood of the labels, natural logarithm."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, np.asarray(labels)[:, None], axis=-1)[:, 0]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=-1)) - chosen))


ACCURACY = METRICS.get("accuracy")


def metrics_named(names: str | Sequence[str]) -> list[Metric]:
    """The metrics of these names, with commas between; raises ValueError, which suggests the nearest one."""
    parts = names.split(",") if isinstance(names, str) else names
    return [METRICS.get(name) for name in dict.fromkeys(part.strip() for part in parts) if name]


def own_metrics() -> list[Metric]:
    """The metrics of the user's files that are loaded."""
    return [METRICS.get(name) for name in METRICS if METRICS.origin(name)]


def measured(found: Metric, cell: CellFolder) -> float:
    """A metric of a cell's model on the test set of the final step.

    Raises ValueError for a cell without predictions, and where the metric fails or gives no finite number; the message
    names the file and the line.
    """
    stored = read_predictions(cell)
    with blamed():
        value: Any = found.function(stored.test.logits, stored.test.labels, stored.class_names)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise PluginError(
            f"{defined_at(found.function)}metric {found.id!r} gave {value!r} for {cell.path}; expected a finite number"
        )
    return number


def with_metrics(cells: pd.DataFrame, workdirs: Sequence[Any], metrics: Sequence[Metric]) -> pd.DataFrame:
    """The cells of run folders with a column for each metric (`Metric.field`); that of the accuracy is there already."""
    wanted = [each for each in metrics if each.field not in cells]
    if not wanted:
        return cells
    places = {cell[1:]: cell for workdir in workdirs for cell in done_cells(workdir)}
    own = [places[key] for key in zip(cells["method"], cells["architecture"], cells["seed"], strict=True)]
    return cells.assign(**{each.field: [measured(each, cell) for cell in own] for each in wanted})

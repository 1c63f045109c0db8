"""Where models lie between three others: the oracle, the model of the history, and that of the final step alone.

Analysis specification, section 2. The two directions are not orthogonal to each other, so distances in the picture are
not distances of weights; `basis="orthogonal"` makes them so (Gram and Schmidt).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from seqfinal_jax.models.parts.groups import is_batch_norm, named_tensors

Basis = Literal["plain", "orthogonal"]
Layers = list[np.ndarray]


class UndefinedProjection(ValueError):
    """Two of the three models that span the picture are the same; the message says which, and in which layer."""


def weight_vectors(params: Mapping[str, Any], groups: Sequence[str]) -> Layers:
    """Each group's weights as a vector: kernels and the head's bias, without batch norms and shortcut kernels."""
    return [
        np.concatenate(
            [
                np.ravel(np.asarray(tensor, np.float64))
                for path, tensor in named_tensors(params[group])
                if not is_batch_norm(path) and "downsample" not in path
            ]
        )
        for group in groups
    ]


def with_whole(layers: Layers) -> Layers:
    """The layers, and all of them together behind."""
    return [*layers, np.concatenate(layers)]


def coordinates(
    model: Layers,
    oracle: Layers,
    history: Layers,
    final: Layers,
    names: Sequence[str],
    basis: Basis = "plain",
) -> np.ndarray:
    """(layers + 1, 2): signed lengths along the shift of the history and along the lack of final samples.

    All models as `weight_vectors` gives them; the last row is the entire model. Raises UndefinedProjection.
    """
    rows = zip(*(with_whole(each) for each in (model, oracle, history, final)), strict=True)
    labels = [*names, "entire model"]
    return np.array([_point(*each, label, basis) for each, label in zip(rows, labels, strict=True)])


def _point(
    model: np.ndarray, oracle: np.ndarray, history: np.ndarray, final: np.ndarray, label: str, basis: Basis
) -> tuple[float, float]:
    first = _direction(history - oracle, label, "the model of the history")
    second = _direction(final - oracle, label, "the model of the final step alone")
    if basis == "orthogonal":
        second = _direction(
            second - (second @ first) * first, label, "in line with the history: the final step's model"
        )
    return float((model - oracle) @ first), float((model - oracle) @ second)


def _direction(difference: np.ndarray, label: str, which: str) -> np.ndarray:
    length = np.linalg.norm(difference)
    if length <= 1e-12 * max(1.0, np.sqrt(difference.size)):
        raise UndefinedProjection(
            f"{label}: the oracle and {which} have the same weights, so there is no direction"
        )
    return difference / length


def cosines(oracle: Layers, history: Layers, final: Layers) -> np.ndarray:
    """(layers + 1,): the cosine of the angle between the two directions; NaN where one has no length."""
    found = []
    for o, h, f in zip(with_whole(oracle), with_whole(history), with_whole(final), strict=True):
        lengths = np.linalg.norm(h - o) * np.linalg.norm(f - o)
        found.append(float((h - o) @ (f - o) / lengths) if lengths else np.nan)
    return np.array(found)

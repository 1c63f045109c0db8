"""Variables on the straight line between two of one structure."""

from typing import Any, Literal

import jax
from jax import Array

from seqfinal_jax.models.parts.groups import is_batch_norm

Mix = Literal["every", "weights"]


def interpolate(start: Any, end: Any, factor: float | Array, mix: Mix = "every") -> Any:
    """(1 - factor) start + factor end, elementwise.

    mix: "every" mixes all parameters and running statistics; "weights" mixes kernels and the head's bias only, and
    takes batch norms, their statistics and ResNet shortcuts from `start`, as the published program does
    (analysis spec 1.2; its ResNet path, which mixed nothing, is not reproduced).
    """

    def line(a: Array, b: Array) -> Array:
        return (1 - factor) * a + factor * b

    if mix == "every":
        return jax.tree.map(line, start, end)
    params = jax.tree_util.tree_map_with_path(
        lambda path, a, b: line(a, b) if is_weight(path) else a, start["params"], end["params"]
    )
    return {**start, "params": params}


def is_weight(path: tuple[Any, ...]) -> bool:
    """Whether the published program mixes the parameter at a path of a tree: no batch norm and no ResNet shortcut."""
    names = tuple(entry.key for entry in path)
    return not is_batch_norm(names) and "downsample" not in names

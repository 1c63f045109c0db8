"""Models on the straight line between two models."""

from typing import Any, Literal

import jax
from jax import Array

from seqfinal_jax.models.network import Variables
from seqfinal_jax.models.parts.groups import is_batch_norm

Mix = Literal["every", "weights"]


def interpolate(start: Variables, end: Variables, factor: float | Array, mix: Mix = "every") -> Variables:
    """(1 - factor) start + factor end, elementwise.

    mix: "every" mixes all parameters and running statistics; "weights" mixes kernels and the head's bias only, and
    takes batch norms, their statistics and ResNet shortcuts from `start`, as the published program does
    (analysis spec 1.2; its ResNet path, which mixed nothing, is not reproduced).
    """

    def line(a: Array, b: Array) -> Array:
        return (1 - factor) * a + factor * b

    if mix == "every":
        return jax.tree.map(line, start, end)

    def choose(path: tuple[Any, ...], a: Array, b: Array) -> Array:
        names = tuple(entry.key for entry in path)
        return a if is_batch_norm(names) or "downsample" in names else line(a, b)

    params = jax.tree_util.tree_map_with_path(choose, start["params"], end["params"])
    return {"params": params, "batch_stats": start["batch_stats"]}

"""Penalties on parameters. No factor 1/2 anywhere, and nothing is divided by a count (spec, section 1)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.parts.groups import PenaliseBatchNorm, is_batch_norm, is_compared, named_tensors


def absolute(x: Array) -> Array:
    """|x| with derivative 0 at 0, as in PyTorch (of `jnp.abs` it is 1): fits start at the anchor itself."""
    return x * jax.lax.stop_gradient(jnp.sign(x))


def squared_norm(params: dict[str, Any]) -> Array:
    """Sum of squares of every kernel and of the head's bias; never batch-norm scale and bias."""
    kept = [jnp.sum(jnp.square(tensor)) for path, tensor in named_tensors(params) if not is_batch_norm(path)]
    return sum(kept, jnp.zeros(()))


def absolute_norm(params: dict[str, Any]) -> Array:
    """Sum of absolute values of the same tensors."""
    kept = [jnp.sum(absolute(tensor)) for path, tensor in named_tensors(params) if not is_batch_norm(path)]
    return sum(kept, jnp.zeros(()))


def distance(
    params: dict[str, Any],
    other: dict[str, Any],
    penalise_bn: PenaliseBatchNorm = "none",
    power: int = 2,
    weights: dict[str, Any] | None = None,
) -> Array:
    """Sum of weights x |params - other|^power over the tensors that are compared (power 1 or 2)."""
    total, others = jnp.zeros(()), dict(named_tensors(other))
    factors = dict(named_tensors(weights)) if weights is not None else {}
    for path, tensor in named_tensors(params):
        if is_compared(path, penalise_bn):
            difference = tensor - others[path]
            term = jnp.square(difference) if power == 2 else absolute(difference)
            total += jnp.sum(term * factors[path] if factors else term)
    return total

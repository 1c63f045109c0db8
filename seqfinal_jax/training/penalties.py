"""Penalties on parameters. No factor 1/2 anywhere, and nothing is divided by a count (spec, section 1)."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax import Array


def decayed(params: dict[str, Any]) -> Iterator[Array]:
    """The penalised tensors: every kernel and the head's bias, never batch-norm scale and bias."""
    for name in sorted(params):
        subtree = params[name]
        if not isinstance(subtree, dict):
            yield subtree
        elif "scale" not in subtree:
            yield from decayed(subtree)


def squared_norm(params: dict[str, Any]) -> Array:
    """Sum of squares of all penalised tensors."""
    return sum((jnp.sum(jnp.square(tensor)) for tensor in decayed(params)), jnp.zeros(()))


def absolute_norm(params: dict[str, Any]) -> Array:
    """Sum of absolute values of all penalised tensors."""
    return sum((jnp.sum(jnp.abs(tensor)) for tensor in decayed(params)), jnp.zeros(()))

"""Estimates costs from a traced program: its equations, and the memory that training a network takes."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from seqfinal_jax.models.network import AnyNetwork
from seqfinal_jax.models.parts.layers import Pass

# A training step's working space over the sum of all that the forward pass computes, fused or not: an upper bound.
# `python -m benchmarks.memory` gave 0.16 to 0.23 on a CPU for networks of all three families (docs/performance.md).
WORKING_SPACE = 1 / 3

# Parameters, two moments, gradients, the best so far, updates on their way: copies of a member's variables.
COPIES = 8


def equations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a program and of the programs inside it; of a branch, the one with most equations."""
    for equation in jaxpr.eqns:
        yield equation
        inner = [p for value in equation.params.values() for p in inner_programs(value)]
        for program in (
            [max(inner, key=lambda p: len(p.eqns))] if equation.primitive.name == "cond" else inner
        ):
            yield from equations(program)


def inner_programs(value: Any) -> list[Any]:
    """The programs that a parameter of an equation holds."""
    found = value if isinstance(value, (tuple, list)) else [value]
    return [getattr(each, "jaxpr", each) for each in found if hasattr(getattr(each, "jaxpr", each), "eqns")]


def network_bytes(network: AnyNetwork, batch_size: int) -> tuple[int, int]:
    """Bytes of a network's variables, and of the working space of a training step (float32, an estimate).

    Of a per-step network all steps' variables, and the working space of as many plain networks as there are steps:
    side modules run beside the layers that they add to.
    """
    base = network.base
    x = jax.ShapeDtypeStruct((batch_size, *base.config.image_shape), jnp.float32)
    forward = lambda v, x: base.apply(v, x, Pass(train=True))[0]  # noqa: E731
    computed = [e.outvars for e in equations(jax.make_jaxpr(forward)(base.shapes, x).jaxpr)]
    working = int(WORKING_SPACE * sum(_bytes([v.aval for v in each]) for each in computed))
    return _bytes(network.shapes), network.num_steps * working


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def member_bytes(network: AnyNetwork, batch_size: int) -> int:
    """Memory that a member takes while it is trained, an estimate that errs upwards."""
    variables, working = network_bytes(network, batch_size)
    return COPIES * variables + working

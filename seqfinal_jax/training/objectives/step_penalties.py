"""Penalties on the networks of all time steps (spec of the networks 5.4, of the joint model 1.2 and 1.3).

Every penalty is a weighted sum over the versions of a group, or over pairs of consecutive versions. The weights
follow from the version table, so they are constants of the program, or data where the table is.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqfinal_jax.models.parts.groups import is_batch_norm, named_tensors
from seqfinal_jax.models.per_step.form import Form
from seqfinal_jax.models.per_step.network import StepNetwork
from seqfinal_jax.training.objectives.penalties import absolute, absolute_norm, squared_norm

Term = Callable[[Array], Array]
TERMS: dict[int, Term] = {1: absolute, 2: jnp.square}
NORMS: dict[int, Callable[[Any], Array]] = {1: absolute_norm, 2: squared_norm}


def version_norms(form: Form, params: Any, power: int = 2) -> Array:
    """Norm of what each version of a group adds, (versions,): kernels, factors and biases, never batch norms."""
    first, later = form.penalised(params)
    norms = [] if first is None else [NORMS[power](first)[None]]
    norms += [stack_norms(later, power)] if later else []
    return jnp.concatenate(norms) if len(norms) > 1 else norms[0]


def stack_norms(stack: Any, power: int = 2) -> Array:
    """Norm of every version of a stack, (versions,), never of batch norms."""
    return sum(_per_version(TERMS[power](t)) for path, t in named_tensors(stack) if not is_batch_norm(path))


def _per_version(stack: Array) -> Array:
    """The sum over all axes but the first."""
    return jnp.sum(stack.reshape(len(stack), -1), axis=1)


def parameter_norm(
    network: StepNetwork,
    params: Any,
    power: int = 2,
    by_time: bool = False,
    efficient_weight: float | Array = 1.0,
    table: Any = None,
) -> Array:
    """Σ_t Σ_groups a·norm of the version that step t uses; a version that q steps use counts q times.

    by_time: a = 1/(t+1). efficient_weight: a of parameter-efficient later versions otherwise. `table` (steps, groups)
    stands for the network's own version table; it may be traced.
    """
    plain, efficient = parameter_norms(network, params, power, by_time, table)
    return plain + efficient_weight * efficient


def parameter_norms(
    network: StepNetwork, params: Any, power: int = 2, by_time: bool = False, table: Any = None
) -> tuple[Array, Array]:
    """The two parts of `parameter_norm`: all else, and parameter-efficient later versions (by_time: none are)."""
    steps = np.arange(network.num_steps)
    weight = 1 / (steps + 1) if by_time else np.ones(len(steps))
    parts = [jnp.zeros(()), jnp.zeros(())]
    for place, form in enumerate(network.forms):
        norms = version_norms(form, params[form.group], power)
        weights = _table(network, table)[:, place, None] == np.arange(len(norms))
        terms = (weight[:, None] * weights).sum(0).astype(norms.dtype) * norms
        if by_time or not form.efficient:
            parts[0] += jnp.sum(terms)
        else:
            parts[0] += terms[0]
            parts[1] += jnp.sum(terms[1:])
    return parts[0], parts[1]


def _table(network: StepNetwork, table: Any) -> Any:
    return np.asarray(network.versions) if table is None else table


def adjacent_norm(
    network: StepNetwork,
    params: Any,
    power: int = 2,
    by_time: bool = False,
    weights: Any = None,
    table: Any = None,
) -> Array:
    """Σ_t c_t Σ_groups |θ of step t+1 - θ of step t|^power over all trainable tensors, batch norms included.

    Only where the version changes; in modes other than `separate` only stem and head take part, and adapted ones
    count 0. by_time: c_t = 1/(T-t). `weights` has the structure of `params`; those of the earlier version act.
    `table` is as in `parameter_norm`.
    """
    total, steps = jnp.zeros(()), network.num_steps
    factor = 1 / (steps - np.arange(steps - 1)) if by_time else np.ones(steps - 1)
    table = _table(network, table)
    for place, form in enumerate(network.forms):
        if not form.tied:
            continue
        pairs = np.arange(form.count - 1)
        changes = (table[:-1, place, None] == pairs) & (table[1:, place, None] == pairs + 1)
        scale = (factor[:, None] * changes).sum(0)
        own = None if weights is None else weights[form.group]
        distances = neighbour_distances(form.complete(params[form.group]), power, own)
        total += jnp.sum(scale.astype(distances.dtype) * distances)
    return total


def neighbour_distances(stack: Any, power: int = 2, weights: Any = None) -> Array:
    """Σ weights·|θ_{k+1} - θ_k|^power of consecutive versions, (versions - 1,); weights_k are those of version k."""

    def distance(leaf: Array, weight: Array | None = None) -> Array:
        terms = TERMS[power](leaf[1:] - leaf[:-1])
        return _per_version(terms if weight is None else weight[: len(terms)] * terms)

    return sum(jax.tree.leaves(jax.tree.map(distance, stack, *([] if weights is None else [weights]))))

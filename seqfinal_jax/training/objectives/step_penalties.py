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

from seqfinal_jax.models.families.architectures import small_side_modules
from seqfinal_jax.models.parts.groups import is_batch_norm, named_tensors
from seqfinal_jax.models.per_step.network import StepNetwork
from seqfinal_jax.training.objectives.penalties import absolute, absolute_norm, squared_norm

Term = Callable[[Array], Array]
TERMS: dict[int, Term] = {1: absolute, 2: jnp.square}
NORMS: dict[int, Callable[[Any], Array]] = {1: absolute_norm, 2: squared_norm}


def is_efficient(network: StepNetwork, group: str) -> bool:
    """Whether later versions of a group carry the parameter-efficient weight.

    These are adapted groups, blocks whose side modules are given by a list of sizes, and with `all_layers_efficient`
    the summed stem and head of ResNet and DenseNet.
    """
    if network.kind(group) == "adapted":
        return True
    if network.kind(group) == "separate" or not small_side_modules(network.base):
        return False
    return group in ("conv1", "fc") or network.side != "block"


def version_norms(network: StepNetwork, group: str, params: Any, power: int = 2) -> Array:
    """Norm of what each version of a group adds, (versions,): kernels, factors and biases, never batch norms."""
    if network.kind(group) == "separate":
        return stack_norms(params, power)
    first = NORMS[power](params["base"])[None]
    later = params.get("side" if network.kind(group) == "summed" else "adapters")
    return jnp.concatenate([first, stack_norms(later, power)]) if later else first


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
    for place, group in enumerate(network.group_names):
        norms = version_norms(network, group, params[group], power)
        weights = _table(network, table)[:, place, None] == np.arange(len(norms))
        terms = (weight[:, None] * weights).sum(0).astype(norms.dtype) * norms
        if by_time or not is_efficient(network, group):
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
    for place, group in enumerate(network.group_names):
        if not is_tied(network, group):
            continue
        pairs = np.arange(network.count(group) - 1)
        changes = (table[:-1, place, None] == pairs) & (table[1:, place, None] == pairs + 1)
        scale = (factor[:, None] * changes).sum(0)
        own = None if weights is None else weights[group]
        distances = neighbour_distances(whole_stack(network, group, params[group]), power, own)
        total += jnp.sum(scale.astype(distances.dtype) * distances)
    return total


def is_tied(network: StepNetwork, group: str) -> bool:
    """Whether the adjacent penalty acts on a group: it has several complete versions, and is no side-tuned block."""
    if network.count(group) == 1 or network.kind(group) == "adapted":
        return False
    return network.mode == "separate" or group in ("conv1", "fc")


def whole_stack(network: StepNetwork, group: str, params: Any) -> Any:
    """All versions of a group whose versions have one structure, as one stack."""
    if network.kind(group) == "separate":
        return params
    return jax.tree.map(
        lambda first, later: jnp.concatenate([first[None], later]), params["base"], params["side"]
    )


def neighbour_distances(stack: Any, power: int = 2, weights: Any = None) -> Array:
    """Σ weights·|θ_{k+1} - θ_k|^power of consecutive versions, (versions - 1,); weights_k are those of version k."""

    def distance(leaf: Array, weight: Array | None = None) -> Array:
        terms = TERMS[power](leaf[1:] - leaf[:-1])
        return _per_version(terms if weight is None else weight[: len(terms)] * terms)

    return sum(jax.tree.leaves(jax.tree.map(distance, stack, *([] if weights is None else [weights]))))

"""Penalties on the networks of all time steps (spec of the networks 5.4, of the joint model 1.2 and 1.3)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.per_step import StepNetwork, pick
from seqfinal_jax.training.penalties import absolute, absolute_norm, squared_norm

Norm = Callable[[Any], Array]
NORMS: dict[int, Norm] = {1: absolute_norm, 2: squared_norm}


def version_norm(network: StepNetwork, group: str, params: Any, version: int, power: int = 2) -> Array:
    """Norm of what one version of a group adds: kernels, factors and biases, never batch norms."""
    norm = NORMS[power]
    if network.kind(group) == "separate":
        return norm(pick(params, version))
    if version == 0:
        return norm(params["base"])
    return norm(pick(params["side" if network.kind(group) == "summed" else "adapters"], version - 1))


def is_efficient(network: StepNetwork, group: str) -> bool:
    """Whether later versions of a group carry the parameter-efficient weight.

    These are adapted groups, blocks whose side modules are given by a list of sizes, and with `all_layers_efficient`
    the summed stem and head of ResNet and DenseNet.
    """
    if network.kind(group) == "adapted":
        return True
    if network.kind(group) == "separate" or network.base.family == "convnet":
        return False
    return group in ("conv1", "fc") or network.side != "block"


def parameter_norm(
    network: StepNetwork,
    params: Any,
    power: int = 2,
    by_time: bool = False,
    efficient_weight: float | Array = 1.0,
) -> Array:
    """Σ_t Σ_groups a·norm of the version that step t uses; a version that q steps use counts q times.

    by_time: a = 1/(t+1). efficient_weight: a of parameter-efficient later versions otherwise.
    """
    total = jnp.zeros(())
    for place, group in enumerate(network.group_names):
        used = [row[place] for row in network.versions]
        for version in range(network.count(group)):
            if by_time:
                weight = sum(1 / (t + 1) for t, v in enumerate(used) if v == version)
            else:
                efficient = version > 0 and is_efficient(network, group)
                weight = used.count(version) * (efficient_weight if efficient else 1.0)
            total += weight * version_norm(network, group, params[group], version, power)
    return total


def adjacent_norm(
    network: StepNetwork, params: Any, power: int = 2, by_time: bool = False, weights: Any = None
) -> Array:
    """Σ_t c_t Σ_groups |θ of step t+1 - θ of step t|^power over all trainable tensors, batch norms included.

    Only where the version changes; in modes other than `separate` only stem and head take part, and adapted ones
    count 0. by_time: c_t = 1/(T-t). `weights` has the structure of `params`; those of the earlier version act.
    """
    total, steps = jnp.zeros(()), network.num_steps
    for place, group in enumerate(network.group_names):
        if network.kind(group) == "adapted" or (network.mode != "separate" and group not in ("conv1", "fc")):
            continue
        for t in range(steps - 1):
            earlier, later = network.versions[t][place], network.versions[t + 1][place]
            if later == earlier:
                continue
            factor = 1 / (steps - t) if by_time else 1.0
            own = None if weights is None else pick(weights[group], earlier)
            first, second = (_version(network, group, params[group], v) for v in (earlier, later))
            total += factor * full_distance(first, second, power, own)
    return total


def _version(network: StepNetwork, group: str, params: Any, version: int) -> Any:
    if network.kind(group) == "separate":
        return pick(params, version)
    return params["base"] if version == 0 else pick(params["side"], version - 1)


def full_distance(first: Any, second: Any, power: int = 2, weights: Any = None) -> Array:
    """Σ weights·|second - first|^power over every tensor."""

    def term(a: Array, b: Array, w: Array | float = 1.0) -> Array:
        difference = b - a
        return jnp.sum(w * (jnp.square(difference) if power == 2 else absolute(difference)))

    terms = jax.tree.map(term, first, second, *([] if weights is None else [weights]))
    return sum(jax.tree.leaves(terms), jnp.zeros(()))

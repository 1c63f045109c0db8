"""Ablation of the modules that later time steps add: side modules and adapters become constants without effect.

The network then behaves as one model for all steps, but for stem and head where these are separate. (Spec of the joint
model, section 4; of the networks, 4.3.)
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.models.network import Variables
from seqfinal_jax.models.per_step.low_rank import AdapterMode, Tree, identity_factors
from seqfinal_jax.models.per_step.network import StepNetwork


def ablated_network(network: StepNetwork) -> StepNetwork:
    """The network whose passes leave the added modules out: version 0 acts in every summed and adapted group.

    Zero kernels alone would not do: a copy of a residual block hands its input on, and later versions of adapted
    groups have batch norms and biases of their own.
    """
    return replace(network, ablated=True)


def ablate(network: StepNetwork, variables: Variables) -> Variables:
    """Variables with all added modules without effect, so that penalties see constants.

    Side modules are 0, batch norms included. Adapters are the identity, their biases that of the base, and their batch
    norms those of version 0.
    """
    result: Variables = {kind: dict(groups) for kind, groups in variables.items()}
    for group, params in variables["params"].items():
        if network.kind(group) == "summed" and "side" in params:
            result["params"][group] = {**params, "side": jax.tree.map(jnp.zeros_like, params["side"])}
        elif network.kind(group) == "adapted":
            result["params"][group] = {**params, "norms": repeat_first(params["norms"])}
            if "adapters" in params:
                neutral = neutral_adapters(params["base"], params["adapters"], network.adapter.mode)
                result["params"][group]["adapters"] = neutral
            if group in variables["batch_stats"]:
                result["batch_stats"][group] = repeat_first(variables["batch_stats"][group])
    return result


def repeat_first(stack: Any) -> Any:
    """A stack with version 0 in every place."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), stack)


def neutral_adapters(base: Tree, adapters: Tree, mode: AdapterMode) -> Tree:
    """Adapters without effect: A_in = 0 (add), or A_in = 1 and A_out = 1/rank (multiply); biases as in `base`."""
    result: Tree = {}
    for name, value in adapters.items():
        if "A_in" not in value:
            result[name] = neutral_adapters(base[name], value, mode)
            continue
        add = {"A_in": jnp.zeros_like(value["A_in"])}
        result[name] = {**value, **(add if mode == "add" else identity_factors(mode, value))}
        if "bias" in value:
            result[name]["bias"] = jnp.broadcast_to(base[name]["bias"], value["bias"].shape)
    return result


def ablation_masks(network: StepNetwork) -> dict[str, Any]:
    """Masks (1 trained, 0 frozen) by group, with all added modules frozen."""
    masks: dict[str, Any] = {}
    for group in network.group_names:
        count = network.count(group)
        first = np.asarray(np.arange(count) == 0, np.int32)
        if network.kind(group) == "separate":
            masks[group] = np.ones(count, np.int32)
            continue
        added = "side" if network.kind(group) == "summed" else "adapters"
        masks[group] = {"base": np.int32(1), **({added: first[1:]} if count > 1 else {})}
        if added == "adapters":
            masks[group]["norms"] = first
    return masks

"""Starting the networks of more time steps from trained ones of fewer (spec of the networks, section 5.5)."""

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp

from seqfinal_jax.models.convert.pretrained import PathLike, check_network, read_resnet18
from seqfinal_jax.models.network import Variables
from seqfinal_jax.models.per_step.network import StepNetwork


def start_from_single(network: StepNetwork, fresh: Variables, single: Variables) -> Variables:
    """`fresh` variables with a plain network's as version 0 of every group."""
    stacked = {
        kind: {group: network.form(group).from_plain(kind, tree) for group, tree in groups.items()}
        for kind, groups in single.items()
    }
    return start_from_fewer(network, fresh, stacked)


def start_from_fewer(network: StepNetwork, fresh: Variables, previous: Variables) -> Variables:
    """`fresh` variables with the versions of an earlier network of fewer steps, of equal mode and options, put in.

    With adapters that start as the identity, later versions also take the last earlier bias and batch norms.
    """
    filled = {kind: {g: _fill(tree, previous[kind][g]) for g, tree in fresh[kind].items()} for kind in fresh}
    for form in network.forms:
        params, stats = filled["params"][form.group], filled["batch_stats"].get(form.group)
        params, stats = form.continued(params, stats, previous["params"][form.group])
        filled["params"][form.group] = params
        if stats is not None:
            filled["batch_stats"][form.group] = stats
    return filled


def _fill(new: Any, old: Any) -> Any:
    """Nested dictionaries: plain leaves are replaced, stacks take the earlier versions first."""
    if isinstance(new, dict):
        return {name: _fill(value, old[name]) if name in old else value for name, value in new.items()}
    old = jnp.asarray(old, new.dtype)
    return old if old.shape == new.shape else jnp.concatenate([old, new[len(old) :]])


def start_every_version(
    network: StepNetwork, variables: Variables, single: Variables, but: Collection[str] = ("fc",)
) -> Variables:
    """Variables with a plain network's as every version of every group but some, and of those alone that it has.

    Raises ValueError unless all layers are separate versions.
    """
    if not network.is_separate:
        raise ValueError(f"a start of every version needs separate layers, found {network.mode}")

    def repeated(stacked: Any, own: Any) -> Any:
        return jax.tree.map(
            lambda s, leaf: jnp.broadcast_to(jnp.asarray(leaf, s.dtype), s.shape), stacked, own
        )

    return {
        kind: {
            group: repeated(tree, single[kind][group]) if group in single[kind] and group not in but else tree
            for group, tree in groups.items()
        }
        for kind, groups in variables.items()
    }


def start_steps_from_resnet18(network: StepNetwork, variables: Variables, path: PathLike) -> Variables:
    """Variables with the ImageNet weights of a file as every version of all groups but the head.

    Raises ValueError as `read_resnet18` and `start_every_version` do, and for another base than a `resnet-4`.
    """
    check_network(network.base)
    return start_every_version(network, variables, read_resnet18(path))


def init_last_from_previous(variables: Variables) -> Variables:
    """Separate versions everywhere: the last one starts as a copy of the one before."""
    return jax.tree.map(lambda leaf: leaf.at[-1].set(leaf[-2]), variables)

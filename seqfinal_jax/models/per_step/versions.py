"""Version tables of layers over time, and stacks of versions: trees whose leaves have a leading axis of versions."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Versions = tuple[tuple[int, ...], ...]


def version_table(group_names: tuple[str, ...], num_steps: int, separate: str = "all") -> Versions:
    """Which version each step uses of each group; `separate` names the layers that are new at each later step.

    "all", or names by comma and time steps by colon; one entry holds for all later steps. Raises ValueError for
    unknown names and a wrong number of entries.
    """
    entries = separate.split(":")
    if len(entries) not in (1, num_steps - 1):
        raise ValueError(
            f"separate_layers = {separate!r} has {len(entries)} entries, expected 1 or one for each of the "
            f"{num_steps - 1} later time steps"
        )
    rows = [(0,) * len(group_names)]
    for t in range(num_steps - 1):
        names = entries[t % len(entries)].split(",")
        names = list(group_names) if names == ["all"] else names
        for name in names:
            if name not in group_names:
                raise ValueError(
                    f"separate_layers = {separate!r}: unknown layer {name!r}; there are {', '.join(group_names)}"
                )
        rows.append(tuple(v + (g in names) for v, g in zip(rows[-1], group_names, strict=True)))
    return tuple(rows)


def stack(trees: list[Any]) -> Any:
    """Trees of one structure to one tree with a new leading axis, in one program: one per leaf takes long to compile."""
    return _stacked([jax.tree.map(jnp.asarray, tree) for tree in trees])


def stack_of_one(tree: Any) -> Any:
    """A tree with a leading axis of one version."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


@jax.jit
def _stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def pick(tree: Any, version: int | Array) -> Any:
    """One version of a stack."""
    return jax.tree.map(lambda leaf: leaf[version], tree)


def with_version(tree: Any, version: int | Array, new: Any) -> Any:
    """The stack with one version replaced."""
    replace_one = jax.lax.dynamic_update_index_in_dim
    return jax.tree.map(lambda leaf, value: replace_one(leaf, value, version, 0), tree, new)

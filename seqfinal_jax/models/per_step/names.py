"""Per-step networks to and from arrays by name: `layer1@2.conv.weight` is version 2 of a layer.

Canonical names put `@version` behind the group of separate and summed layers (`layer1@1.side.conv0.weight` for a side
module of its own shape), and behind factor, new bias or batch norm of adapted ones (`layer1.conv.A_in@1`,
`fc.linear.bias@1`, `layer1.bn@2.weight`). The published program's keys of separate and side-tuned networks are read too.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqfinal_jax.models.convert.from_torch import (
    State,
    canonical_name,
    check_names,
    from_layout,
    named_places,
    to_torch,
    torch_shapes,
)
from seqfinal_jax.models.network import AnyNetwork, Variables
from seqfinal_jax.models.per_step.network import StepNetwork


def steps_to_torch(network: AnyNetwork, variables: Variables) -> dict[str, np.ndarray]:
    """Our trees to canonical names and PyTorch's layouts."""
    return to_torch(variables, network.names)


def steps_from_torch(network: StepNetwork, state: State) -> Variables:
    """Variables of a per-step network from a dictionary of arrays; the inverse of `steps_to_torch`; dtypes are kept.

    Raises ValueError that names missing, surplus and mis-shaped entries.
    """
    named = {
        name: np.asarray(array)
        for key, array in state.items()
        if (name := canonical_step_name(network, key, np.ndim(array)))
    }
    template = network.shapes
    check_names(network.name, named, torch_shapes(template, network.names))
    found: dict[tuple[str, ...], Any] = {}
    for name, (kind, path, row), _ in named_places(template, network.names):
        array, place = from_layout(path[-1], named[name]), (kind, *path)
        found[place] = array if row is None else [*found.get(place, []), array]
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for path, arrays in found.items():
        node = variables
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = np.stack(arrays) if isinstance(arrays, list) else arrays
    return _with_empty(template, variables)


def _with_empty(template: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with the template's empty dictionaries, which hold no named tensor."""
    return {
        name: _with_empty(value, tree.get(name, {})) if isinstance(value, Mapping) else tree[name]
        for name, value in template.items()
    }


def canonical_step_name(network: StepNetwork, key: str, ndim: int) -> str | None:
    """The canonical name of a key with a version; None for one to be left out."""
    if "@" in key:
        return key
    match = re.fullmatch(r"(conv1|fc|blocks\.\d+)\.(\d+)\.(.*)", key)
    if match is None:
        return canonical_name(key)
    layer, version, rest = match.groups()
    group = layer if not layer.startswith("blocks") else f"layer{int(layer.split('.')[1]) + 1}"
    own = network.form(group).published(int(version), rest, ndim) if group in network.group_names else None
    name = canonical_name(f"{layer}.{rest}")
    return own or (name and name.replace(group, f"{group}@{version}", 1))

"""Per-step networks to and from arrays by name: `layer1@2.conv.weight` is version 2 of a layer.

Canonical names put `@version` behind the group of separate and summed layers (`layer1@1.side.conv0.weight` for a side
module of its own shape), and behind factor, new bias or batch norm of adapted ones (`layer1.conv.A_in@1`,
`fc.linear.bias@1`, `layer1.bn@2.weight`). The published program's keys of separate and side-tuned networks are read too.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from seqfinal_jax.models.convert.from_torch import TO_TORCH, State, canonical_name, check_names
from seqfinal_jax.models.network import Variables
from seqfinal_jax.models.parts.groups import named_tensors
from seqfinal_jax.models.per_step.network import StepNetwork, init_steps

Place = tuple[str, tuple[str, ...], int | None]  # kind of variables, path in our tree, row of a stack


def canonical_places(network: StepNetwork, variables: Variables) -> Iterator[tuple[str, Place]]:
    """Every canonical name with the place of its tensor in our trees."""
    for kind in ("params", "batch_stats"):
        for group, tree in variables[kind].items():
            for path, leaf in named_tensors(tree):
                for row, name in _names(network, kind, group, path, leaf.shape[0] if leaf.shape else 0):
                    yield name, (kind, (group, *path), row)


def _names(
    network: StepNetwork, kind: str, group: str, path: tuple[str, ...], length: int
) -> Iterator[tuple[int | None, str]]:
    leaf = (
        TO_TORCH.get(path[-1], path[-1]) if _in_norm(path) else {"kernel": "weight"}.get(path[-1], path[-1])
    )
    if network.kind(group) == "separate":
        for version in range(length):
            yield version, ".".join((f"{group}@{version}", *path[:-1], leaf))
    elif network.kind(group) == "summed":
        own_shape = group in network.group_names[1:-1] and network.side != "block"
        middle = ("side", *path[1:-1]) if path[0] == "side" and own_shape else path[1:-1]
        for row in [None] if path[0] == "base" else range(length):
            yield row, ".".join((f"{group}@{0 if row is None else row + 1}", *middle, leaf))
    elif kind == "batch_stats" or path[0] == "norms":
        inner = path[1:] if kind == "params" else path
        for version in range(length):
            yield version, ".".join((group, *inner[:-2], f"{inner[-2]}@{version}", leaf))
    elif path[0] == "base":
        yield None, ".".join((group, *path[1:-1], leaf))
    else:
        for row in range(length):
            yield row, ".".join((group, *path[1:-1], f"{leaf}@{row + 1}"))


def _in_norm(path: tuple[str, ...]) -> bool:
    return len(path) > 1 and path[-2].startswith("bn")


def _to_layout(leaf: str, array: Any) -> Any:
    """PyTorch's layout of one of our tensors (its own inverse up to the order of kernels)."""
    if leaf != "kernel":
        return array
    return array.T if array.ndim == 2 else array.transpose(3, 2, 0, 1)


def _from_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    if leaf != "kernel":
        return array
    return array.T if array.ndim == 2 else array.transpose(2, 3, 1, 0)


def steps_to_torch(network: StepNetwork, variables: Variables) -> dict[str, np.ndarray]:
    """Our trees to canonical names and PyTorch's layouts."""
    state = {}
    for name, (kind, path, row) in canonical_places(network, variables):
        array = np.asarray(_find(variables[kind], path))
        state[name] = _to_layout(path[-1], array if row is None else array[row])
    return state


def _find(tree: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def steps_torch_shapes(network: StepNetwork) -> dict[str, tuple[int, ...]]:
    """Canonical names and PyTorch's shapes of all tensors."""
    variables = jax.eval_shape(lambda key: init_steps(network, key), jax.random.key(0))
    shapes = {}
    for name, (kind, path, row) in canonical_places(network, variables):
        shape = _find(variables[kind], path).shape
        shape = shape if row is None else shape[1:]
        if path[-1] == "kernel":
            shape = shape[::-1] if len(shape) == 2 else (shape[3], shape[2], *shape[:2])
        shapes[name] = tuple(shape)
    return shapes


def steps_from_torch(network: StepNetwork, state: State) -> Variables:
    """Variables of a per-step network from a dictionary of arrays; the inverse of `steps_to_torch`; dtypes are kept.

    Raises ValueError that names missing, surplus and mis-shaped entries.
    """
    named = {
        name: np.asarray(array)
        for key, array in state.items()
        if (name := canonical_step_name(network, key, np.ndim(array)))
    }
    check_names(network.name, named, steps_torch_shapes(network))
    template = jax.eval_shape(lambda key: init_steps(network, key), jax.random.key(0))
    rows: dict[tuple[str, tuple[str, ...]], list[np.ndarray]] = {}
    for name, (kind, path, _) in canonical_places(network, template):
        rows.setdefault((kind, path), []).append(_from_layout(path[-1], named[name]))
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for (kind, path), arrays in rows.items():
        node = variables[kind]
        for part in path[:-1]:
            node = node.setdefault(part, {})
        stacked = len(_find(template[kind], path).shape) > arrays[0].ndim
        node[path[-1]] = np.stack(arrays) if stacked else arrays[0]
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
    side = re.fullmatch(r"(\d+)\.(weight|bias|running_mean|running_var)", rest)
    group = layer if not layer.startswith("blocks") else f"layer{int(layer.split('.')[1]) + 1}"
    own_shape = layer.startswith("blocks") and network.mode == "side_tune" and network.side != "block"
    if side and own_shape and int(version) > 0:
        part = f"conv{side[1]}" if ndim == 4 else "bn"
        return f"{group}@{version}.side.{part}.{side[2]}"
    name = canonical_name(f"{layer}.{rest}")
    return name and name.replace(group, f"{group}@{version}", 1)

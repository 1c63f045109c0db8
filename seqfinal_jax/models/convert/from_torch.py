"""Networks to and from PyTorch state dictionaries, by the published program's keys or by canonical names.

Canonical names are our own paths joined by dots, with PyTorch's leaf names (`weight`, `bias`, `running_mean`,
`running_var`) and layouts (kernels OIHW, linear (out, in)).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from seqfinal_jax.models.families.architectures import FAMILIES, build_network, split_name
from seqfinal_jax.models.network import Names, NetworkConfig, Variables, plain_names
from seqfinal_jax.models.parts.groups import Path, is_batch_norm, named_tensors

State = Mapping[str, np.ndarray]
TO_OURS = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
TO_TORCH = {ours: theirs for theirs, ours in TO_OURS.items()}
LEAVES = {"kernel": "weight"}
NamesOf = Callable[[str, Path, str, int], Names]
Place = tuple[str, Path, int | None]  # kind of variables, path in our tree, row of a stack

# The published program's keys, in order of trial; {K} is the block's number minus one.
PUBLISHED = (
    (r"conv1\.0\.(\w+)", r"conv1.conv.\1"),
    (r"conv1\.1\.(\w+)", r"conv1.bn.\1"),
    (r"fc\.[24]\.(\w+)", r"fc.linear.\1"),
    (r"fc\.0\.(\w+)", r"fc.bn.\1"),
    (r"blocks\.(\d+)\.0\.(weight)", r"layer{K}.conv.\2"),
    (r"blocks\.(\d+)\.1\.(weight|bias|running_mean|running_var)", r"layer{K}.bn.\2"),
    (r"blocks\.(\d+)\.(\d+)\.downsample\.0\.(\w+)", r"layer{K}.\2.downsample.conv.\3"),
    (r"blocks\.(\d+)\.(\d+)\.downsample\.1\.(\w+)", r"layer{K}.\2.downsample.bn.\3"),
    (r"blocks\.(\d+)\.(\d+)\.((?:conv|bn)\d)\.(\w+)", r"layer{K}.\2.\3.\4"),
    (r"blocks\.(\d+)\.(?:0\.)?denselayer(\d+)\.norm(\d)\.(\w+)", r"layer{K}.dense\2.bn\3.\4"),
    (r"blocks\.(\d+)\.(?:0\.)?denselayer(\d+)\.conv(\d)\.(\w+)", r"layer{K}.dense\2.conv\3.\4"),
    (r"blocks\.(\d+)\.1\.norm\.(\w+)", r"layer{K}.transition.bn.\2"),
    (r"blocks\.(\d+)\.1\.conv\.(\w+)", r"layer{K}.transition.conv.\2"),
)


def canonical_name(key: str) -> str | None:
    """The canonical name of a state dictionary's key; None for one to be left out (counters, repeated lists).

    A key that is neither published nor to be left out is returned as it is.
    """
    if key.endswith("num_batches_tracked") or key.startswith("layers."):
        return None
    for pattern, name in PUBLISHED:
        match = re.fullmatch(pattern, key)
        if match:
            block = int(match[1]) + 1 if "{K}" in name else 0
            return match.expand(name.replace("{K}", str(block)))
    return key


def from_torch(architecture: str, num_classes: int, state: State) -> tuple[NetworkConfig, Variables]:
    """The sizes (read from the shapes) and variables of a state dictionary of arrays.

    Raises ValueError that names missing, surplus and mis-shaped entries. Names with `@version` belong to networks of
    several time steps, which `steps_from_torch` reads.
    """
    if any("@" in key for key in state):
        raise ValueError("names with @ are of a per-step network: use seqfinal_jax.models.steps_from_torch")
    named = {name: np.asarray(array) for key, array in state.items() if (name := canonical_name(key))}
    config = sizes_of(architecture, named)
    network = build_network(architecture, num_classes, config)
    check_names(architecture, named, torch_shapes(network.shapes))
    return config, to_trees(named)


def check_names(architecture: str, found: State, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ValueError that names what is missing, surplus or mis-shaped."""
    problems = [f"missing {name}" for name in wanted if name not in found]
    problems += [f"surplus {name}" for name in found if name not in wanted]
    problems += [
        f"{name} has shape {found[name].shape}, expected {shape}"
        for name, shape in wanted.items()
        if name in found and found[name].shape != shape
    ]
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ValueError(f"the state dictionary does not fit {architecture}: {'; '.join(problems[:8])}{more}")


def sizes_of(architecture: str, named: State) -> NetworkConfig:
    """The widths, units and dense layers that the shapes tell; strides and image size are the presets'.

    Raises ValueError for a family without a conversion.
    """
    family, num_blocks = split_name(architecture)
    sizes = FAMILIES.get(family).sizes_of_torch
    if sizes is None:
        raise ValueError(f"architecture {architecture!r}: its family has no conversion from PyTorch's names")
    return sizes(num_blocks, named)


def to_trees(named: State) -> Variables:
    """Canonical names and PyTorch's layouts to our trees; dtypes are kept."""
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for name, array in named.items():
        *path, leaf = name.split(".")
        kind = "batch_stats" if leaf.startswith("running") else "params"
        if path[-1].startswith("bn"):
            leaf = TO_OURS[leaf]
        elif leaf == "weight":
            leaf, array = "kernel", from_layout("kernel", array)
        node = variables[kind]
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = array
    return variables


def named_places(variables: Variables, names: NamesOf = plain_names) -> Iterator[tuple[str, Place, Any]]:
    """Every canonical name, its place in our trees, and the tensor there; `names` as `AnyNetwork.names`."""
    for kind in ("params", "batch_stats"):
        for path, tensor in named_tensors(variables[kind]):
            leaf = TO_TORCH[path[-1]] if is_batch_norm(path) else LEAVES.get(path[-1], path[-1])
            for row, name in names(kind, path, leaf, tensor.shape[0] if tensor.shape else 0):
                yield name, (kind, path, row), tensor


def to_torch(variables: Variables, names: NamesOf = plain_names) -> dict[str, np.ndarray]:
    """Our trees to canonical names and PyTorch's layouts; the inverse of `from_torch`."""
    state = {}
    for name, (_, path, row), tensor in named_places(variables, names):
        array = np.asarray(tensor)
        state[name] = to_layout(path[-1], array if row is None else array[row])
    return state


def torch_shapes(variables: Variables, names: NamesOf = plain_names) -> dict[str, tuple[int, ...]]:
    """Canonical names and PyTorch's shapes of a tree of arrays or of shapes."""
    shapes = {}
    for name, (_, path, row), tensor in named_places(variables, names):
        shape = tuple(tensor.shape if row is None else tensor.shape[1:])
        if path[-1] == "kernel":
            shape = shape[::-1] if len(shape) == 2 else (shape[3], shape[2], *shape[:2])
        shapes[name] = shape
    return shapes


def to_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """PyTorch's layout of one of our tensors."""
    if leaf != "kernel":
        return array
    return array.T if array.ndim == 2 else array.transpose(3, 2, 0, 1)


def from_layout(leaf: str, array: np.ndarray) -> np.ndarray:
    """The inverse of `to_layout`."""
    if leaf != "kernel":
        return array
    return array.T if array.ndim == 2 else array.transpose(2, 3, 1, 0)

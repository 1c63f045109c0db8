"""Weights of a user's own that take the place of random ones: an Orbax checkpoint, or a .safetensors or .npz file.

An Orbax checkpoint is a folder with the trees `params` and `batch_stats` in this package's layout. The arrays of a file
have PyTorch's layouts and the names of `seqfinal_jax.models.convert.from_torch`. `seqfinal export` writes both. A head
(`fc`) may be left out; then the random one stays.
"""

import hashlib
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.models.convert.from_torch import canonical_name, to_trees, torch_shapes
from seqfinal_jax.models.convert.pretrained import PathLike, read_arrays
from seqfinal_jax.models.network import Network, Variables
from seqfinal_jax.models.parts.groups import named_tensors

MOST_LISTED = 8


def start_from_checkpoint(network: Network, variables: Variables, path: PathLike) -> Variables:
    """Variables with the weights of a checkpoint in all groups that it has; dtypes are those of `variables`.

    Raises ValueError as `check_checkpoint` does.
    """
    check_checkpoint(network, path)
    found = read_checkpoint(str(path))
    return {
        kind: {
            group: jax.tree.map(
                lambda leaf, own: jnp.asarray(own, leaf.dtype), tree, found[kind].get(group, tree)
            )
            for group, tree in groups.items()
        }
        for kind, groups in variables.items()
    }


def check_checkpoint(network: Network, path: PathLike) -> None:
    """Raises ValueError that lists the names and shapes of a checkpoint which do not fit a network."""
    found = torch_shapes(read_checkpoint(str(path)))
    template = network.shapes
    wanted = torch_shapes(template)
    if not any(name.startswith("fc.") for name in found):
        wanted = {name: shape for name, shape in wanted.items() if not name.startswith("fc.")}
    problems = [f"{name} is missing" for name in wanted if name not in found]
    problems += [f"{name} has no place" for name in found if name not in wanted]
    problems += [
        f"{name} has shape {found[name]}, expected {shape}"
        for name, shape in wanted.items()
        if found.get(name, shape) != shape
    ]
    if problems:
        more = f"; and {len(problems) - MOST_LISTED} more" if len(problems) > MOST_LISTED else ""
        raise ValueError(
            f"config.pretrained.checkpoint: {path} does not fit {network.name} with {network.num_classes} classes "
            f"(shapes in PyTorch's order): {'; '.join(problems[:MOST_LISTED])}{more}"
        )


@lru_cache(maxsize=4)
def read_checkpoint(path: str) -> Variables:
    """The trees of a checkpoint in our layouts, as NumPy arrays.

    Raises ValueError for a path that is missing, damaged, or of another kind, and without the library to read it.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise ValueError(
            f"config.pretrained.checkpoint: there is no file or folder {path}; give an Orbax checkpoint, or a "
            f".safetensors or .npz file"
        )
    found = _trees(_read_orbax(place)) if place.is_dir() else _named(place)
    wrong = [
        ".".join(name)
        for kind in found.values()
        for name, array in named_tensors(kind)
        if not jnp.issubdtype(array.dtype, jnp.floating)
    ]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]} is not an array of floating-point numbers")
    return found


def checkpoint_digest(path: str) -> str:
    """BLAKE2b digest (32 hexadecimal digits) of names, shapes and numbers, however they are stored."""
    digest = hashlib.blake2b(digest_size=16)
    for kind, tree in sorted(read_checkpoint(path).items()):
        for name, array in named_tensors(tree):
            array = np.asarray(array, np.float64)  # holds the shorter kinds exactly
            digest.update(f"{kind}.{'.'.join(name)} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()


def _named(place: Path) -> Variables:
    arrays = read_arrays(place)
    return to_trees({name: array for key, array in arrays.items() if (name := canonical_name(key))})


def _read_orbax(place: Path) -> Any:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise ValueError(
            f"{place} needs the package orbax-checkpoint ({error}): pip install orbax-checkpoint"
        ) from None
    logging.getLogger("absl").setLevel(logging.ERROR)  # it warns of shardings that a file cannot have
    try:
        with ocp.StandardCheckpointer() as reader:
            return reader.restore(place.resolve())
    except Exception as error:  # the library raises many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{place} cannot be read as an Orbax checkpoint: {reason}") from error


def _trees(stored: Any) -> Variables:
    if not isinstance(stored, Mapping) or "params" not in stored:
        names = ", ".join(map(str, stored)) if isinstance(stored, Mapping) else type(stored).__name__
        raise ValueError(
            f"config.pretrained.checkpoint: expected an Orbax checkpoint of the trees params and batch_stats, found "
            f"{names}"
        )
    kinds = {kind: stored.get(kind) or {} for kind in ("params", "batch_stats")}
    return jax.tree.map(np.asarray, kinds)

"""The joint model's reference arrays as our networks and trees."""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.models import NetworkConfig, build_network
from seqfinal_jax.models.convert.from_torch import to_torch, to_trees
from seqfinal_jax.models.network import Network, Variables
from seqfinal_jax.models.per_step.names import steps_from_torch, steps_to_torch
from seqfinal_jax.models.per_step.network import StepNetwork, build_steps
from seqfinal_jax.models.per_step.side import SideSizes

# By turns; the reference counts units and dense layers from 0.
PARTS = (
    (r"^stem/", "conv1/"), (r"^head/", "fc/"), (r"/unit(\d)/", r"/\1/"), (r"/proj_(conv|bn)/", r"/downsample/\1/"),
    (r"/side_(conv\d|bn)/", r"/side/\1/"), (r"/(conv|bn)_a/", r"/\g<1>1/"), (r"/(conv|bn)_b/", r"/\g<1>2/"),
)  # fmt: skip
LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


Arrays = Mapping[str, np.ndarray]


def of_version(arrays: Arrays, version: int) -> dict[str, np.ndarray]:
    """The tensors of one version by their names behind `t<version>/`; of a single network all that there are."""
    start = f"t{version}/"
    if not any(re.match(r"t\d/", name) for name in arrays):
        return dict(arrays)
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def plain_network(arrays: Arrays, images: np.ndarray, activations: Arrays | None = None) -> Network:
    """The network that tensors by the reference's names belong to.

    images: (n,c,h,w) of its inputs. activations: outputs by layer, which tell the strides; without them they are those
    that the reference's README names, 1 in the first block and 2 in the others.
    """
    first = of_version(arrays, 0)
    blocks = sorted({name.split("/")[0] for name in first if name.startswith("block")})
    family = family_of(name for name in first if name.startswith("block0/"))
    stem, classes = first["stem/conv/kernel"], len(first["head/linear/kernel"])
    sizes: dict[str, Any] = {"image_shape": (*images.shape[2:], stem.shape[1]), "stem_width": len(stem)}
    if family == "densenet":
        growth = len(first["block0/dense0/conv_b/kernel"])
        sizes |= {"dense_layers": tuple(count(first, f"{block}/dense") for block in blocks)}
        sizes |= {"width_factor": growth / 32}
    else:
        part = "unit0/conv_a" if family == "resnet" else "conv"
        sizes |= {"widths": tuple(len(first[f"{block}/{part}/kernel"]) for block in blocks)}
        sizes |= {"strides": strides_of(blocks, activations)}
    if family == "resnet":
        sizes |= {"units": count(first, "block0/unit")}
    return build_network(f"{family}-{len(blocks)}", classes, NetworkConfig(**sizes))


def family_of(names: Iterable[str]) -> str:
    """The family, by the parts of a block."""
    parts = {re.match(r"block0/([a-z]+)", name)[1] for name in names}
    return "resnet" if "unit" in parts else "densenet" if "dense" in parts else "convnet"


def count(arrays: Arrays, start: str) -> int:
    """How many numbered parts have this beginning."""
    return len({re.match(rf"{start}(\d+)", name)[1] for name in arrays if re.match(rf"{start}\d", name)})


def strides_of(blocks: list[str], activations: Arrays | None) -> tuple[int, ...]:
    if not activations:
        return (1, *(2,) * (len(blocks) - 1))
    heights = [activations[layer].shape[2] for layer in ("stem", *blocks)]
    return tuple(-(-before // after) for before, after in itertools.pairwise(heights))


def side_of(arrays: Arrays) -> SideSizes:
    """What version 1 adds beside the first block: a whole block, or convolutions of these channels before the last."""
    added = of_version(arrays, 1)
    kernels = sorted(name for name in added if re.match(r"block0/side_conv\d+/kernel", name))
    return tuple(len(added[name]) for name in kernels[:-1]) if kernels else "block"


def steps_network(
    base: Network, steps: int, side: SideSizes | None = None, all_layers_efficient: bool = False
) -> StepNetwork:
    """Separate versions everywhere, or side modules where their sizes are given."""
    if side is None:
        return build_steps(base, steps)
    return build_steps(base, steps, "side_tune", side=side, all_layers_efficient=all_layers_efficient)


def canonical(name: str) -> str:
    """`block0/conv/kernel` to `layer1.conv.weight`, `t1/stem/bn/mean` to `conv1@1.bn.running_mean`."""
    version = re.match(r"t(\d)/", name)
    if version:
        group, rest = canonical(name[version.end() :]).split(".", 1)
        return f"{group}@{version[1]}.{rest}"
    name = re.sub(r"^block(\d)", lambda m: f"layer{int(m[1]) + 1}", name)
    name = re.sub(r"/dense(\d)/", lambda m: f"/dense{int(m[1]) + 1}/", name)
    for pattern, part in PARTS:
        name = re.sub(pattern, part, name)
    *path, leaf = name.split("/")
    return ".".join((*path, LEAVES.get(leaf, leaf)))


def steps_variables(network: StepNetwork, arrays: Mapping[str, np.ndarray]) -> Variables:
    """Variables of a network of several steps by the reference's names."""
    state = {canonical(name): array.astype(np.float64) for name, array in arrays.items()}
    return jax.tree.map(jnp.asarray, steps_from_torch(network, state))


def plain_variables(arrays: Mapping[str, np.ndarray]) -> Variables:
    """Variables of a single network by the reference's names."""
    return jax.tree.map(jnp.asarray, to_trees({canonical(name): array for name, array in arrays.items()}))


class Named:
    """Trees of a network of several steps, or of a single one, by the reference's names."""

    def __init__(self, network: StepNetwork | None, params: Any, batch_stats: Any = None) -> None:
        variables = {"params": params, "batch_stats": batch_stats or {}}
        self.state = to_torch(variables) if network is None else steps_to_torch(network, variables)

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(self.state[canonical(name)])

    def sums(self, names: Iterable[str]) -> np.ndarray:
        """Sum and sum of squares of every tensor, (n,2)."""
        return np.asarray([[self[n].sum(), np.square(self[n]).sum()] for n in names])


def images(array: np.ndarray) -> np.ndarray:
    """Reference images (n,c,h,w) as ours."""
    return array.transpose(0, 2, 3, 1)


def joined(case: Any, prefixes: list[str]) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """The samples `x{prefix}`, `y{prefix}` as the data of a problem, and the rows of each set."""
    xs, ys = ([case[kind + prefix] for prefix in prefixes] for kind in "xy")
    data = {"images": images(np.concatenate(xs)), "labels": np.concatenate(ys).astype(np.int32)}
    return data, np.split(np.arange(len(data["labels"])), np.cumsum([len(y) for y in ys])[:-1])

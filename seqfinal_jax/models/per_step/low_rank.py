"""Low-rank adapters of convolution and dense kernels, as pure functions on trees (spec of the networks, section 4).

A group with adapters holds three trees: `base` (kernels and the head's bias as trained first), `adapters` (for each
kernel `A_in` and `A_out`, and a new bias where there is one, stacked over later versions) and `norms` (a complete set
of batch norms per version, stacked). `adapted` makes of them the plain tree of one version, for training and for
merging alike.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.parts import ops

AdapterMode = Literal["add", "multiply"]
AdapterInit = Literal["uniform", "identity"]
BOUND = 1.5
Tree = dict[str, Any]


@dataclass(frozen=True)
class Adapter:
    """How kernels are adapted: W + ΣM or W ⊙ ΠM, the rank of M, and how the factors start.

    init: "uniform" draws both factors from ±1.5, as published, which starts far from the identity; "identity"
    starts with no effect.
    """

    mode: AdapterMode
    rank: int
    init: AdapterInit = "uniform"


def largest_rank(inputs: int, outputs: int) -> int:
    """The largest rank r with r·(in + out) < in·out."""
    return (inputs * outputs - 1) // (inputs + outputs)


def check_rank(rank: int, inputs: int, outputs: int, where: str) -> None:
    """Raises ValueError for a rank that saves no weights."""
    if rank > largest_rank(inputs, outputs):
        raise ValueError(
            f"adapter.rank = {rank} is too large for {where} ({inputs} to {outputs} channels); "
            f"the largest rank there is {largest_rank(inputs, outputs)}"
        )


def split_norms(tree: Tree) -> tuple[Tree, Tree]:
    """A group's tree as (all but batch norms, batch norms only)."""
    rest, norms = {}, {}
    for name, value in tree.items():
        if name.startswith("bn"):
            norms[name] = value
        elif isinstance(value, dict):
            inner_rest, inner_norms = split_norms(value)
            rest |= {name: inner_rest} if inner_rest else {}
            norms |= {name: inner_norms} if inner_norms else {}
        else:
            rest[name] = value
    return rest, norms


def join(first: Tree, second: Tree) -> Tree:
    """The union of two nested trees without common leaves."""
    joined = dict(first)
    for name, value in second.items():
        joined[name] = join(joined[name], value) if name in joined else value
    return joined


def init_adapters(key: Array, base: Tree, adapter: Adapter, rank: int, where: str) -> Tree:
    """One adapter for every kernel of a group's `base` tree; raises ValueError for a rank that is too large."""
    adapters: Tree = {}
    for place, (name, value) in enumerate(sorted(base.items())):
        own = jax.random.fold_in(key, place)
        if "kernel" in value:
            adapters[name] = _init_one(own, value, adapter, rank, f"{where}.{name}")
        else:
            adapters[name] = init_adapters(own, value, adapter, rank, f"{where}.{name}")
    return adapters


def _init_one(key: Array, layer: Tree, adapter: Adapter, rank: int, where: str) -> Tree:
    *window, inputs, outputs = layer["kernel"].shape
    check_rank(rank, inputs, outputs, where)
    shapes = {"A_in": (*window, rank, inputs), "A_out": (*window, outputs, rank)}
    keys = dict(zip((*shapes, "bias"), jax.random.split(key, 3), strict=True))
    factors = {n: jax.random.uniform(keys[n], s, minval=-BOUND, maxval=BOUND) for n, s in shapes.items()}
    if adapter.init == "identity":
        factors |= identity_factors(adapter.mode, factors)
    if "bias" in layer:
        new = ops.uniform_fan_in(keys["bias"], (outputs,), inputs)
        factors["bias"] = layer["bias"] if adapter.init == "identity" else new
    return factors


def identity_factors(mode: AdapterMode, factors: Tree) -> Tree:
    """Factors without effect: A_out = 0 (add), or A_in = 1 and A_out = 1/r (multiply)."""
    if mode == "add":
        return {"A_out": jnp.zeros_like(factors["A_out"])}
    rank = factors["A_in"].shape[-2]
    return {"A_in": jnp.ones_like(factors["A_in"]), "A_out": jnp.full_like(factors["A_out"], 1 / rank)}


def product(factors: Tree) -> Array:
    """M = A_out·A_in at every kernel position, in the kernel's layout, leading axes kept."""
    return jnp.einsum("...rc,...or->...co", factors["A_in"], factors["A_out"])


def adapted(tree: Tree, version: int | Array, mode: AdapterMode) -> Tree:
    """The plain parameter tree of one version: adapted kernels, the version's bias and batch norms.

    Adapters 1..version act together; the bias is that of the last one alone. `version` may be traced. A group without
    batch norms may lack the entry "norms": stored trees have no empty branches.
    """
    norms = jax.tree.map(lambda leaf: leaf[version], tree.get("norms", {}))
    return join(_adapt_kernels(tree["base"], tree.get("adapters", {}), version, mode), norms)


def _adapt_kernels(base: Tree, adapters: Tree, version: int | Array, mode: AdapterMode) -> Tree:
    result = {}
    for name, value in base.items():
        if name not in adapters:
            result[name] = value
        elif "kernel" in value:
            result[name] = _adapt_layer(value, adapters[name], version, mode)
        else:
            result[name] = _adapt_kernels(value, adapters[name], version, mode)
    return result


def _adapt_layer(layer: Tree, factors: Tree, version: int | Array, mode: AdapterMode) -> Tree:
    if isinstance(version, int):
        if version == 0:
            return layer
        factors = jax.tree.map(lambda leaf: leaf[:version], factors)
    matrices = product(factors)
    number = jnp.arange(1, len(matrices) + 1).reshape((-1,) + (1,) * (matrices.ndim - 1))
    acting = jnp.where(number <= version, matrices, 0 if mode == "add" else 1)
    kernel = layer["kernel"]
    kernel = kernel + jnp.sum(acting, axis=0) if mode == "add" else kernel * jnp.prod(acting, axis=0)
    adapted_layer = {"kernel": kernel}
    if "bias" in layer:
        adapted_layer["bias"] = jnp.concatenate([layer["bias"][None], factors["bias"]])[version]
    return adapted_layer


def head_rank(rank: int, width: int, num_classes: int) -> int:
    """Rank of the head's adapter where all layers are efficient: at most the largest admissible one."""
    return min(rank, math.floor((width * num_classes - 1) / (width + num_classes)))

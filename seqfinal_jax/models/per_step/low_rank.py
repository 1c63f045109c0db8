"""Low-rank adapters of convolution and dense kernels, as pure functions on trees (spec of the networks, section 4).

A group with adapters holds three trees: `base` (kernels and the head's bias as trained first), `adapters` (for each
kernel `A_in` and `A_out`, and a new bias where there is one, stacked over later versions) and `norms` (a complete set
of batch norms per version, stacked). `adapted` makes of them the plain tree of one version, for training and for
merging alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqfinal_jax.models.network import Names, Network, Tree, Variables, apply_group
from seqfinal_jax.models.parts import ops
from seqfinal_jax.models.parts.groups import Path
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.per_step.form import Form, Stats, frozen_by
from seqfinal_jax.models.per_step.side import block_shapes
from seqfinal_jax.models.per_step.versions import pick, stack, stack_of_one, with_version
from seqfinal_jax.records.kinds import one, whole

AdapterMode = Literal["add", "multiply"]
AdapterInit = Literal["uniform", "identity"]
BOUND = 1.5
STEM_RANK = 1


@dataclass(frozen=True)
class Adapter:
    """The section `config.adapter`: how kernels are adapted (W + ΣM or W ⊙ ΠM), the rank of M, and how the factors start.

    init: "uniform" draws both factors from ±1.5, as published, which starts far from the identity; "identity"
    starts with no effect.
    """

    mode: AdapterMode = one("add", "How adapters change a kernel.")
    rank: int = one(1, "The rank of each adapter.", whole(1))
    init: AdapterInit = one("uniform", "The initial values of adapters.")


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


def map_adapters(function: Callable[[Tree, Tree], Tree], base: Tree, adapters: Tree) -> Tree:
    """`function(layer, factors)` of every layer that is adapted, in a tree like `adapters`."""
    return {
        name: function(base[name], value) if "A_in" in value else map_adapters(function, base[name], value)
        for name, value in adapters.items()
    }


def neutral_factors(mode: AdapterMode, layer: Tree, factors: Tree) -> Tree:
    """Factors without effect: A_in = 0 (add), or A_in = 1 and A_out = 1/rank (multiply); the bias of the layer."""
    add = {"A_in": jnp.zeros_like(factors["A_in"])}
    neutral = {**factors, **(add if mode == "add" else identity_factors(mode, factors))}
    if "bias" in factors:
        neutral["bias"] = jnp.broadcast_to(layer["bias"], factors["bias"].shape)
    return neutral


def continued_bias(last: int, layer: Tree, factors: Tree) -> Tree:
    """`last` versions were there before: the factors last, last+1, ... begin with the bias of version last-1."""
    if "bias" not in factors:
        return factors
    biases = jnp.concatenate([layer["bias"][None], factors["bias"]])
    return {**factors, "bias": factors["bias"].at[last - 1 :].set(biases[last - 1])}


def product(factors: Tree) -> Array:
    """M = A_out·A_in at every kernel position, in the kernel's layout, leading axes kept."""
    return jnp.einsum("...rc,...or->...co", factors["A_in"], factors["A_out"])


def adapted(tree: Tree, version: int | Array, mode: AdapterMode) -> Tree:
    """The plain parameter tree of one version: adapted kernels, the version's bias and batch norms.

    Adapters 1..version act together; the bias is that of the last one alone. `version` may be traced. A group without
    batch norms may lack the entry "norms": stored trees have no empty branches.
    """
    norms = jax.tree.map(lambda leaf: leaf[version], tree.get("norms", {}))
    merge = partial(_adapt_layer, version, mode)
    kernels = map_adapters(merge, tree["base"], tree["adapters"]) if "adapters" in tree else tree["base"]
    return join(kernels, norms)


def _adapt_layer(version: int | Array, mode: AdapterMode, layer: Tree, factors: Tree) -> Tree:
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


@dataclass(frozen=True)
class Adapted(Form):
    """{"base", "adapters", "norms"}: a version uses the kernels that adapters 1 to its own make, and its own norms.

    A group without batch norms has no statistics; statistics are a stack (versions, ...).
    """

    rank: int = field(kw_only=True)
    adapter: Adapter = field(kw_only=True)
    later = "adapters"

    def init(self, base: Network, key: Array, drawn: list[Variables]) -> Variables:
        """Kernels of the first draw, batch norms of all, and adapters of each later version."""
        kernels, _ = split_norms(drawn[0]["params"])
        norms = stack([split_norms(each["params"])[1] for each in drawn])
        key = jax.random.fold_in(key, 2000 + base.group_names.index(self.group))
        keys = [jax.random.fold_in(key, k) for k in range(1, len(drawn))]
        made = [init_adapters(k, kernels, self.adapter, self.rank, self.group) for k in keys]
        params = {"base": kernels, "norms": norms, **({"adapters": stack(made)} if made else {})}
        return {"params": params, "batch_stats": stack([each["batch_stats"] for each in drawn])}

    def apply(self, params: Tree, stats: Stats, version: Any, x: Array, mode: Pass) -> tuple[Array, Stats]:
        """The plain group with the kernels that the version makes."""
        mode = frozen_by(mode, lambda masks: masks["norms"][version])
        own = adapted(params, version, self.adapter.mode)
        x, moved = apply_group(self.module, own, None if stats is None else pick(stats, version), x, mode)
        return x, stats if moved is None else with_version(stats, version, moved)

    def masks(self, free: np.ndarray) -> Any:
        """Batch norms have a mask per version."""
        return {**super().masks(free), "norms": free}

    def plain(self, kind: str, tree: Tree, version: int) -> Tree:
        """The adapters merged into the kernels."""
        return adapted(tree, version, self.adapter.mode) if kind == "params" else pick(tree, version)

    def from_plain(self, kind: str, tree: Tree) -> Tree:
        """Kernels as they are, batch norms as the first of a stack."""
        if kind == "batch_stats":
            return stack_of_one(tree)
        kernels, norms = split_norms(tree)
        return {"base": kernels, "norms": stack_of_one(norms)}

    def continued(self, params: Tree, stats: Stats, before: Tree) -> tuple[Tree, Stats]:
        """Where adapters start as the identity, later versions also take the last earlier bias and batch norms."""
        if self.adapter.init != "identity":
            return params, stats
        adapters = jax.tree.leaves(before.get("adapters", {}))
        last = 1 + (len(adapters[0]) if adapters else 0)

        repeat = lambda leaf: leaf.at[last:].set(leaf[last - 1])  # noqa: E731
        return self._changed(params, stats, repeat, partial(continued_bias, last))

    def without_effect(self, params: Tree, stats: Stats) -> tuple[Tree, Stats]:
        """Adapters are the identity, their biases that of the base, and all batch norms those of version 0."""
        first = lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape)  # noqa: E731
        return self._changed(params, stats, first, partial(neutral_factors, self.adapter.mode))

    def _changed(self, params: Tree, stats: Stats, norms: Callable, factors: Callable) -> tuple[Tree, Stats]:
        """Functions applied to every leaf of all batch norms, and to every layer and its factors."""
        changed = {**params, "norms": jax.tree.map(norms, params["norms"])}
        if "adapters" in params:
            changed["adapters"] = map_adapters(factors, params["base"], params["adapters"])
        return changed, jax.tree.map(norms, stats)

    def names(self, kind: str, path: Path, leaf: str, length: int) -> Names:
        """`layer1.conv.A_in@1`, `layer1.bn@2.weight`: the version stands behind what it has of its own."""
        if path[0] == "base":
            yield None, ".".join((self.group, *path[1:-1], leaf))
        elif kind == "batch_stats" or path[0] == "norms":
            *outer, norm = path[:-1] if kind == "batch_stats" else path[1:-1]
            for row in range(length):
                yield row, ".".join((self.group, *outer, f"{norm}@{row}", leaf))
        else:
            for row in range(length):
                yield row, ".".join((self.group, *path[1:-1], f"{leaf}@{row + 1}"))


def adapted_forms(
    base: Network, side: Any, adapter: Adapter | None, all_layers_efficient: bool
) -> dict[str, Callable[..., Form]]:
    """The form of every adapted group; raises ValueError for a rank that is missing or too large for its kernels."""
    if adapter is None:
        raise ValueError("low-rank adaptation needs adapter.mode (add or multiply) and adapter.rank")
    if adapter.rank < 1:
        raise ValueError(f"adapter.rank must be at least 1, found {adapter.rank}")
    ranks = dict.fromkeys(base.group_names[1:-1], adapter.rank)
    if all_layers_efficient:
        width = block_shapes(base)[base.group_names[-2]][1]
        ranks = {"conv1": STEM_RANK, **ranks, "fc": head_rank(adapter.rank, width, base.num_classes)}
    for group, rank in ranks.items():
        kernels, _ = split_norms(base.shapes["params"][group])
        draw = partial(init_adapters, adapter=adapter, rank=rank, where=group)
        jax.eval_shape(draw, jax.random.key(0), kernels)
    return {
        group: partial(Adapted, efficient=True, rank=rank, adapter=adapter) for group, rank in ranks.items()
    }

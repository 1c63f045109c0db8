"""Side modules: small blocks whose output is added to a trained block's output (spec of the networks, section 3).

A group with side modules holds a plain tree `base` and a stack `side` of later versions' modules; running statistics
alike. A step sums versions 0 to its own.
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.families.architectures import FAMILIES, small_side_modules
from seqfinal_jax.models.network import Names, Network, Tree, Variables, apply_group
from seqfinal_jax.models.parts.groups import Path, reported_count
from seqfinal_jax.models.parts.interpolation import Mix
from seqfinal_jax.models.parts.layers import EVALUATION, BatchNorm, Conv, Pass
from seqfinal_jax.models.per_step.form import ENDS, Form, Stats, frozen_by
from seqfinal_jax.models.per_step.versions import pick, stack, with_version

SideSizes = tuple[int, ...] | Literal["block"]


class SideModule(nn.Module):
    """3x3 convolutions without activation between them, the first with the block's stride, then one batch norm."""

    features: int
    stride: int
    sizes: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: Array, mode: Pass) -> Array:
        """(n,h,w,c) to (n,h/stride,w/stride,features)."""
        for j, width in enumerate((*self.sizes, self.features)):
            x = Conv(width, 3, self.stride if j == 0 else 1, padding=1, name=f"conv{j}")(x)
        return BatchNorm(name="bn")(x, mode)


@dataclass(frozen=True)
class Summed(Form):
    """Version 0 is a plain group, and every later one adds the output of `side`, which may be a copy of the group."""

    side: nn.Module = field(kw_only=True)
    later = "side"
    shares = True

    def init(self, base: Network, key: Array, drawn: list[Variables]) -> Variables:
        """A plain group and side modules; copies of the group are further draws of it."""
        later = drawn[1:] if self.side == self.module else self._init_modules(base, key)
        trees = {"base": drawn[0], **({"side": stack(later)} if later else {})}
        return {kind: {part: tree[kind] for part, tree in trees.items()} for kind in drawn[0]}

    def _init_modules(self, base: Network, key: Array) -> list[Variables]:
        height, width, _ = base.config.image_shape
        x = jnp.zeros((1, height, width, block_shapes(base)[self.group][0]))
        place = base.group_names.index(self.group)
        keys = [jax.random.fold_in(jax.random.fold_in(key, 1000 + k), place) for k in range(1, self.count)]
        made = [self.side.init(own, x, EVALUATION) for own in keys]
        return [{"params": v["params"], "batch_stats": v["batch_stats"]} for v in made]

    def apply(self, params: Tree, stats: Stats, version: Any, x: Array, mode: Pass) -> tuple[Array, Stats]:
        """Version 0 and all side modules up to `version`."""
        base_mode = frozen_by(mode, lambda masks: masks["base"])
        total, moved = apply_group(self.module, params["base"], stats and stats["base"], x, base_mode)
        new_stats = None if stats is None else {**stats, "base": moved}
        for k in range(version if isinstance(version, int) else self.count - 1):
            side_mode = frozen_by(mode, lambda masks, k=k: masks["side"][k])
            side_stats = None if stats is None else pick(stats["side"], k)
            own = (pick(params["side"], k), side_stats, x)
            output, side_moved = self._added(k, version, own, side_mode, total)
            total = total + output
            if new_stats is not None:
                new_stats["side"] = with_version(new_stats["side"], k, side_moved)
        return total, new_stats

    def _added(self, k: int, version: Any, own: tuple[Any, ...], mode: Pass, like: Array) -> Any:
        """Output and statistics of side module k; one beyond a traced version is skipped as the program runs."""

        def add(params: Tree, stats: Stats, x: Array) -> Any:
            return apply_group(self.side, params, stats, x, mode)

        def skip(params: Tree, stats: Stats, x: Array) -> Any:
            return jnp.zeros_like(like), stats

        return add(*own) if isinstance(version, int) else jax.lax.cond(k < version, add, skip, *own)

    @property
    def tied(self) -> bool:
        """Stem and head, whose side modules are copies; never blocks."""
        return self.count > 1 and self.group in ENDS

    def complete(self, params: Tree) -> Tree:
        """Version 0 and the copies."""
        return jax.tree.map(
            lambda first, later: jnp.concatenate([first[None], later]), params["base"], params["side"]
        )

    def between(self, own: Variables, ends: Any, factor: Any, x: Array, mode: Pass, mix: Mix) -> Array:
        """The new module's output counts by `factor`, so that both ends are the models themselves (analysis spec D3)."""
        before, after = (self.apply(own["params"], own.get("batch_stats"), k, x, mode)[0] for k in ends)
        return before if ends[0] == ends[1] else (1 - factor) * before + factor * after

    def names(self, kind: str, path: Path, leaf: str, length: int) -> Names:
        """`layer1@2.conv.weight`; of a module of another shape than the group's `layer1@2.side.conv0.weight`."""
        own_shape = path[0] == "side" and self.side != self.module
        return super().names(kind, ("side", *path) if own_shape else path, leaf, length)

    def published(self, version: int, rest: str, ndim: int) -> str | None:
        """A side module's layers are numbered in the published program."""
        layer = re.fullmatch(r"\d+\.(weight|bias|running_mean|running_var)", rest)
        if layer is None or version == 0 or self.side == self.module:
            return None
        part = f"conv{rest.partition('.')[0]}" if ndim == 4 else "bn"
        return f"{self.group}@{version}.side.{part}.{layer[1]}"


def summed_forms(
    base: Network, side: SideSizes, adapter: Any, all_layers_efficient: bool
) -> dict[str, Callable[..., Form]]:
    """The form of every group that has side modules; raises ValueError as `side_modules` does."""
    modules = side_modules(base, side)
    modules |= {name: module for name, module in base.groups if name in ENDS and all_layers_efficient}
    small = small_side_modules(base)
    return {
        name: partial(Summed, efficient=small and (name in ENDS or side != "block"), side=module)
        for name, module in modules.items()
    }


def side_modules(network: Network, sizes: SideSizes) -> dict[str, nn.Module]:
    """The module that a later version of each block adds; `sizes` is "block" for a full copy of the block.

    Raises ValueError where the family has no such side modules, and for sizes that are not smaller than the block.
    """
    blocks = network.groups[1:-1]
    if sizes == "block":
        return dict(blocks)
    if not small_side_modules(network):
        raise ValueError(
            f"a block of {FAMILIES.get(network.family).title} is one convolution already, so its side modules must be "
            f"whole blocks: set side.layer_sizes to 'block'"
        )
    widths = block_shapes(network)
    modules: dict[str, nn.Module] = {}
    for name, block in blocks:
        inputs, outputs = widths[name]
        check_sizes(network, name, inputs, outputs, sizes)
        modules[name] = SideModule(outputs, block.stride, sizes)
    return modules


def block_shapes(network: Network) -> dict[str, tuple[int, int]]:
    """Channels that each block takes and gives."""
    config = network.config
    x = jax.ShapeDtypeStruct((1, *config.image_shape), jnp.float32)
    outputs = jax.eval_shape(lambda v, x: network.apply(v, x)[2], network.shapes, x)
    channels = [output.shape[-1] for output in outputs]
    return {name: (channels[i], channels[i + 1]) for i, name in enumerate(network.group_names[1:-1])}


def check_sizes(network: Network, name: str, inputs: int, outputs: int, sizes: tuple[int, ...]) -> None:
    """Raises ValueError when intermediate sizes make a module as large as its block.

    The block's kernels are counted as published: without shortcuts in layer1, with them elsewhere.
    """
    if not sizes:
        return
    if min(sizes) < 1:
        raise ValueError(f"side.layer_sizes = {sizes}: every size must be at least 1")
    chain = (inputs, *sizes, outputs)
    count = sum(9 * a * b for a, b in itertools.pairwise(chain))
    block = network.shapes["params"][name]
    limit = reported_count(block)
    if name != "layer1" and "downsample" in block.get("0", {}):
        limit += inputs * outputs
    if count >= limit:
        raise ValueError(
            f"side.layer_sizes = {sizes} gives {name} of {network.name} a side module of {count} kernel weights, "
            f"which must be fewer than the block's {limit}; give smaller sizes"
        )

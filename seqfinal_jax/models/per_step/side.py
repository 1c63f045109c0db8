"""Side modules: small blocks whose output is added to a trained block's output (spec of the networks, section 3)."""

import itertools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.families.architectures import FAMILIES, small_side_modules
from seqfinal_jax.models.network import Network, apply_network, init_variables
from seqfinal_jax.models.parts.groups import reported_count
from seqfinal_jax.models.parts.layers import BatchNorm, Conv, Pass

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
    variables = jax.eval_shape(lambda key: init_variables(network, key), jax.random.key(0))
    outputs = jax.eval_shape(lambda v, x: apply_network(network, v, x)[2], variables, x)
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
    variables = jax.eval_shape(lambda key: init_variables(network, key), jax.random.key(0))
    block = variables["params"][name]
    limit = reported_count(block)
    if name != "layer1" and "downsample" in block.get("0", {}):
        limit += inputs * outputs
    if count >= limit:
        raise ValueError(
            f"side.layer_sizes = {sizes} gives {name} of {network.name} a side module of {count} kernel weights, "
            f"which must be fewer than the block's {limit}; give smaller sizes"
        )

"""The ConvNet family: a block is one 3x3 convolution and batch norm, with no activation (as published)."""

import flax.linen as nn
import jax
from jax import Array

from seqfinal_jax.models.network import Network, NetworkConfig, block_strides, block_widths
from seqfinal_jax.models.parts.layers import BatchNorm, Conv, Head, Pass, Stem


class ConvBlock(nn.Module):
    """3x3 convolution, batch norm, and a ReLU only if `relu` (`block_relu`, not in the published network)."""

    features: int
    stride: int
    relu: bool = False

    @nn.compact
    def __call__(self, x: Array, mode: Pass) -> Array:
        """(n,h,w,c) to (n,h/stride,w/stride,features)."""
        x = Conv(self.features, 3, self.stride, padding=1, name="conv")(x)
        x = BatchNorm(name="bn")(x, mode)
        return jax.nn.relu(x) if self.relu else x


def convnet(num_blocks: int, num_classes: int, config: NetworkConfig) -> Network:
    """ConvNet of 1 or more blocks (spec: stem, blocks, linear head)."""
    stem, widths = block_widths(num_blocks, config)
    strides = block_strides(num_blocks, config)
    groups: list[tuple[str, nn.Module]] = [("conv1", Stem(stem))]
    for k, (width, stride) in enumerate(zip(widths, strides, strict=True), start=1):
        groups.append((f"layer{k}", ConvBlock(width, stride, config.block_relu)))
    groups.append(("fc", Head(num_classes)))
    return Network("convnet", num_blocks, num_classes, config, tuple(groups))

"""The ResNet family: a block is a list of basic units of two 3x3 convolutions with a shortcut."""

import flax.linen as nn
import jax
from jax import Array

from seqfinal_jax.models.network import Network, NetworkConfig, block_strides, block_widths
from seqfinal_jax.models.parts.layers import BatchNorm, Conv, Head, Pass, Stem


class Downsample(nn.Module):
    """Projection shortcut: 1x1 convolution and batch norm."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: Array, mode: Pass) -> Array:
        """(n,h,w,c) to (n,h/stride,w/stride,features)."""
        return BatchNorm(name="bn")(Conv(self.features, 1, self.stride, name="conv")(x), mode)


class BasicUnit(nn.Module):
    """Two convolutions with batch norm, the shortcut added before the last ReLU.

    The shortcut is the identity where stride is 1 and the width stays, else a projection.
    """

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: Array, mode: Pass) -> Array:
        """(n,h,w,c) to (n,h/stride,w/stride,features)."""
        y = Conv(self.features, 3, self.stride, padding=1, name="conv1")(x)
        y = jax.nn.relu(BatchNorm(name="bn1")(y, mode))
        y = BatchNorm(name="bn2")(Conv(self.features, 3, padding=1, name="conv2")(y), mode)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = Downsample(self.features, self.stride, name="downsample")(x, mode)
        return jax.nn.relu(x + y)


class ResidualBlock(nn.Module):
    """A list of basic units, the first one with the block's stride."""

    features: int
    stride: int
    units: int = 2

    @nn.compact
    def __call__(self, x: Array, mode: Pass) -> Array:
        """(n,h,w,c) to (n,h/stride,w/stride,features)."""
        for i in range(self.units):
            x = BasicUnit(self.features, self.stride if i == 0 else 1, name=str(i))(x, mode)
        return x


def resnet(num_blocks: int, num_classes: int, config: NetworkConfig) -> Network:
    """ResNet of 1 or more blocks; widths and strides are those of the ConvNet."""
    stem, widths = block_widths(num_blocks, config)
    strides = block_strides(num_blocks, config)
    groups: list[tuple[str, nn.Module]] = [("conv1", Stem(stem))]
    for k, (width, stride) in enumerate(zip(widths, strides, strict=True), start=1):
        groups.append((f"layer{k}", ResidualBlock(width, stride, config.units)))
    groups.append(("fc", Head(num_classes)))
    return Network("resnet", num_blocks, num_classes, config, tuple(groups))

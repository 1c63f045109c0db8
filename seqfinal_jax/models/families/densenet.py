"""The DenseNet family: a block concatenates what its dense layers add; every block but the last ends in a transition."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.network import Network, NetworkConfig, check_length, scaled
from seqfinal_jax.models.parts import ops
from seqfinal_jax.models.parts.layers import BatchNorm, Conv, Linear, Pass, Stem

STEM, GROWTH, BOTTLENECK = 64, 32, 4
PRESET_DENSE_LAYERS = {1: (16,), 2: (6, 16), 3: (6, 12, 16), 4: (6, 12, 24, 16)}


class DenseLayer(nn.Module):
    """Batch norm, ReLU, 1x1 convolution to 4 x growth, batch norm, ReLU, 3x3 convolution to growth."""

    growth: int

    @nn.compact
    def __call__(self, x: Array, mode: Pass, moments: ops.Moments | None = None) -> Array:
        """(n,h,w,c), and in training the moments of its channels, to the new features (n,h,w,growth)."""
        x = jax.nn.relu(BatchNorm(name="bn1")(x, mode, moments))
        x = Conv(BOTTLENECK * self.growth, 1, name="conv1")(x)
        x = jax.nn.relu(BatchNorm(name="bn2")(x, mode))
        return Conv(self.growth, 3, padding=1, name="conv2")(x)


class Transition(nn.Module):
    """Batch norm, ReLU, 1x1 convolution to half the width, 2x2 mean of stride 2."""

    @nn.compact
    def __call__(self, x: Array, mode: Pass, moments: ops.Moments | None = None) -> Array:
        """(n,h,w,c), and in training the moments of its channels, to (n,h/2,w/2,c/2)."""
        width = x.shape[-1] // 2
        x = jax.nn.relu(BatchNorm(name="bn")(x, mode, moments))
        return ops.mean_pool(Conv(width, 1, name="conv")(x))


class DenseBlock(nn.Module):
    """Dense layers, each fed with the input and all earlier outputs, and the transition that follows.

    What is fed on is a concatenation of pieces that stay as they are, so the moments of each are computed once.
    """

    layers: int
    growth: int
    transition: bool

    @property
    def stride(self) -> int:
        """By what the block shrinks height and width."""
        return 2 if self.transition else 1

    @nn.compact
    def __call__(self, x: Array, mode: Pass) -> Array:
        """(n,h,w,c) to (n,h,w,c + layers x growth), or what the transition makes of it."""
        pieces, moments = [x], _moments(x, mode)
        for i in range(1, self.layers + 1):
            added = DenseLayer(self.growth, name=f"dense{i}")(x, mode, moments)
            pieces.append(added)
            moments = _joined(moments, _moments(added, mode))
            x = jnp.concatenate(pieces, axis=-1)
        return Transition(name="transition")(x, mode, moments) if self.transition else x


def _moments(x: Array, mode: Pass) -> ops.Moments | None:
    return ops.batch_moments(x, mode.sample_mask) if mode.train else None


def _joined(first: ops.Moments | None, second: ops.Moments | None) -> ops.Moments | None:
    """Moments of a concatenation, from those of its two parts."""
    if first is None or second is None:
        return None
    mean, variance = (
        jnp.concatenate([getattr(each, name) for each in (first, second)]) for name in ("mean", "variance")
    )
    return ops.Moments(mean, variance, first.unbiased)


class DenseHead(nn.Module):
    """Group `fc` of the DenseNet: batch norm, ReLU, global mean, linear."""

    num_classes: int

    @nn.compact
    def __call__(self, x: Array, mode: Pass) -> Array:
        """(n,h,w,c) to logits (n, num_classes)."""
        x = jax.nn.relu(BatchNorm(name="bn")(x, mode))
        return Linear(self.num_classes, name="linear")(ops.global_mean(x))


def densenet(num_blocks: int, num_classes: int, config: NetworkConfig) -> Network:
    """DenseNet of 1 to 4 blocks; `config.dense_layers` gives the dense layers of each block.

    Raises ValueError for widths and strides, which this family does not have.
    """
    if config.widths or config.strides:
        raise ValueError(
            "network.widths and network.strides are for ConvNet and ResNet; DenseNet has dense_layers"
        )
    layers = config.dense_layers or PRESET_DENSE_LAYERS[num_blocks]
    check_length("dense_layers", layers, num_blocks)
    growth = scaled(GROWTH, config.width_factor)
    groups: list[tuple[str, nn.Module]] = [
        ("conv1", Stem(config.stem_width or scaled(STEM, config.width_factor)))
    ]
    for k, count in enumerate(layers, start=1):
        groups.append((f"layer{k}", DenseBlock(count, growth, transition=k < num_blocks)))
    groups.append(("fc", DenseHead(num_classes)))
    return Network("densenet", num_blocks, num_classes, config, tuple(groups))

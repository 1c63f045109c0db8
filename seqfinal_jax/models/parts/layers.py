"""Flax modules that the groups of all families are built from."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.parts import ops
from seqfinal_jax.models.parts.convolution import conv
from seqfinal_jax.models.parts.cpu_bfloat16 import conv_in_bfloat16
from seqfinal_jax.models.parts.precision import Precision, layer_product

Initialiser = Callable[..., Array]


class Pass(NamedTuple):
    """How a forward pass treats batch norm, and in which precision it multiplies.

    train: normalise by the minibatch and move the running statistics (a Python bool: part of the program).
    sample_mask: (n,) bool, False for padded samples, or None.
    frozen: a traced scalar; where true, this group's batch norm behaves as in evaluation even in training
    (`freeze_batch_stats`); None for the published behaviour.
    precision: of the products of its layers (part of the program).
    """

    train: bool = False
    sample_mask: Array | None = None
    frozen: Array | None = None
    precision: Precision = "highest"


EVALUATION = Pass()


def fan_in_initialiser(fan_in: int) -> Initialiser:
    """A Flax initialiser, uniform in ±1/sqrt(fan_in)."""
    return lambda key, shape: ops.uniform_fan_in(key, shape, fan_in)


class Conv(nn.Module):
    """A square convolution without bias; parameter `kernel` (size, size, in, features)."""

    features: int
    size: int
    stride: int = 1
    padding: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(n,h,w,c) to (n,h',w',features)."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        fan_in = self.size * self.size * x.shape[-1]
        kernel = self.param("kernel", fan_in_initialiser(fan_in), shape)
        how = {"stride": self.stride, "padding": self.padding}
        return layer_product(partial(conv, **how), x, kernel, partial(conv_in_bfloat16, **how))


class BatchNorm(nn.Module):
    """Batch norm with PyTorch's conventions; parameters `scale`, `bias`, statistics `mean`, `var`."""

    @nn.compact
    def __call__(self, x: Array, mode: Pass, moments: ops.Moments | None = None) -> Array:
        """Normalises by the batch (training, and the running statistics move) or by the running statistics.

        `moments` are the batch's, where they are known already.
        """
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), channels)
        bias = self.param("bias", nn.initializers.zeros_init(), channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        if not mode.train:
            return ops.normalise(x, running_mean.value, running_var.value, scale, bias)
        mean, variance, unbiased = moments or ops.batch_moments(x, mode.sample_mask)
        next_mean = _follow(running_mean.value, mean)
        next_var = _follow(running_var.value, variance * unbiased)
        if mode.frozen is not None:
            mean, next_mean = (jnp.where(mode.frozen, running_mean.value, m) for m in (mean, next_mean))
            variance, next_var = (jnp.where(mode.frozen, running_var.value, v) for v in (variance, next_var))
        running_mean.value, running_var.value = next_mean, next_var
        return ops.normalise(x, mean, variance, scale, bias)


def _follow(running: Array, batch: Array) -> Array:
    return (1 - ops.MOMENTUM) * running + ops.MOMENTUM * jax.lax.stop_gradient(batch)


class Linear(nn.Module):
    """Dense head; parameters `kernel` (in, features) and `bias`, both uniform in ±1/sqrt(in)."""

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(n, in) to (n, features)."""
        init = fan_in_initialiser(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        return layer_product(jnp.matmul, x, kernel) + self.param("bias", init, (self.features,))


class Stem(nn.Module):
    """Group `conv1` of every family: 7x7 convolution of stride 2, batch norm, ReLU, max-pool."""

    width: int

    @nn.compact
    def __call__(self, x: Array, mode: Pass) -> Array:
        """(n,h,w,3) to (n,h/4,w/4,width)."""
        x = Conv(self.width, 7, stride=2, padding=3, name="conv")(x)
        x = BatchNorm(name="bn")(x, mode)
        return ops.max_pool(jax.nn.relu(x))


class Head(nn.Module):
    """Group `fc` of ConvNet and ResNet: global mean, linear."""

    num_classes: int

    @nn.compact
    def __call__(self, x: Array, mode: Pass) -> Array:
        """(n,h,w,c) to logits (n, num_classes)."""
        return Linear(self.num_classes, name="linear")(ops.global_mean(x))

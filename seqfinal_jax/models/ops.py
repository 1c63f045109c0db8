"""The arithmetic of all networks: convolution, batch norm, pooling, dropout, initial weights.

Arrays are NHWC, kernels HWIO, nothing fixes a dtype. The conventions are PyTorch's: explicit symmetric padding,
batch norm that normalises with the biased variance and keeps the unbiased one, kernels uniform in
±1/sqrt(fan_in).
"""

import math
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

ConvForm = Literal["patches", "native"]

# Which form of the convolution each backend gets. CPU: measured, docs/performance.md (inside a compiled loop
# the native form is 50 to 200 times slower). GPU and TPU: patches become one batched matrix product under
# `vmap`, where native kernels become a grouped convolution; to be measured on such a machine.
CONV_FORM: dict[str, ConvForm] = {"cpu": "patches", "gpu": "patches", "tpu": "patches"}
EPSILON = 1e-5
MOMENTUM = 0.1


def conv(x: Array, kernel: Array, stride: int, padding: int, form: ConvForm | None = None) -> Array:
    """Two-dimensional convolution without bias, (n,h,w,c) by (kh,kw,c,o) to (n,h',w',o).

    `form` is "patches" (gather patches, one matrix product) or "native" (XLA's convolution); both agree to
    rounding. Left out, `CONV_FORM` chooses by backend.
    """
    form = form or CONV_FORM.get(jax.default_backend(), "patches")
    if form == "native":
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    columns = patches(x, kernel.shape[0], kernel.shape[1], stride, padding)
    n, height, width, depth = columns.shape
    product = columns.reshape(n * height * width, depth) @ kernel.reshape(depth, kernel.shape[3])
    return product.reshape(n, height, width, kernel.shape[3])


def patches(x: Array, kernel_h: int, kernel_w: int, stride: int, padding: int) -> Array:
    """All kernel-sized windows of x, (n,h,w,c) to (n,h',w',kh*kw*c), in the order of an HWIO kernel."""
    if kernel_h == kernel_w == stride == 1 and padding == 0:
        return x
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    out_h = (x.shape[1] - kernel_h) // stride + 1
    out_w = (x.shape[2] - kernel_w) // stride + 1
    span_h, span_w = (out_h - 1) * stride + 1, (out_w - 1) * stride + 1
    windows = [
        x[:, i : i + span_h : stride, j : j + span_w : stride, :]
        for i in range(kernel_h)
        for j in range(kernel_w)
    ]
    return jnp.concatenate(windows, axis=-1)


def max_pool(x: Array) -> Array:
    """3x3 maximum with stride 2 and padding 1 of -inf, as two one-dimensional maxima."""
    return _max_pool_axis(_max_pool_axis(x, 1), 2)


def _max_pool_axis(x: Array, axis: int) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (1, 1)
    padded = jnp.pad(x, widths, constant_values=-jnp.inf)
    out = (x.shape[axis] - 1) // 2 + 1
    first, middle, last = (
        lax.slice_in_dim(padded, i, i + 2 * out - 1, stride=2, axis=axis) for i in range(3)
    )
    return jnp.maximum(jnp.maximum(first, middle), last)


def mean_pool(x: Array) -> Array:
    """2x2 mean with stride 2; a last odd row or column is left out."""
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return jnp.mean(x.reshape(n, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def global_mean(x: Array) -> Array:
    """Mean over height and width, (n,h,w,c) to (n,c)."""
    return jnp.mean(x, axis=(1, 2))


def batch_moments(x: Array, sample_mask: Array | None) -> tuple[Array, Array, Array]:
    """Mean and biased variance per channel, and the unbiased factor m/(m-1), over all axes but the last.

    `sample_mask` (n,) leaves padded samples out; m counts the values of one channel that took part.
    """
    axes = tuple(range(x.ndim - 1))
    per_sample = math.prod(x.shape[1:-1])
    if sample_mask is None:
        count = jnp.asarray(x.shape[0] * per_sample, x.dtype)
        mean = jnp.mean(x, axis=axes)
        variance = jnp.mean(jnp.square(x - mean), axis=axes)
    else:
        weight = sample_mask.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1))
        count = jnp.sum(weight) * per_sample
        mean = jnp.sum(x * weight, axis=axes) / count
        variance = jnp.sum(jnp.square(x - mean) * weight, axis=axes) / count
    return mean, variance, count / jnp.maximum(count - 1, 1)


def normalise(x: Array, mean: Array, variance: Array, scale: Array, bias: Array) -> Array:
    """Batch norm as one multiply-add per entry."""
    factor = scale * lax.rsqrt(variance + EPSILON)
    return x * factor + (bias - mean * factor)


def dropout(x: Array, rate: Array, key: Array) -> Array:
    """Elementwise inverted dropout with a traced rate; at rate 0 no random bits are drawn.

    Sixteen random bits an entry, so the rate is resolved to 1/65536 (0.5 is exact). The branch is one where
    members run one after another; under `vmap` it becomes a selection.
    """

    def drop(x: Array) -> Array:
        bits = jax.random.bits(key, x.shape, jnp.uint16)
        keep = bits.astype(jnp.int32) >= jnp.round(rate * 65536).astype(jnp.int32)
        return jnp.where(keep, x / (1 - rate), jnp.zeros_like(x))

    return lax.cond(rate > 0, drop, lambda x: x, x)


def uniform_fan_in(key: Array, shape: Sequence[int], fan_in: int) -> Array:
    """PyTorch's default initial weights: uniform in ±1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return jax.random.uniform(key, tuple(shape), minval=-bound, maxval=bound)

"""The arithmetic of all networks beside convolution: batch norm, pooling, dropout, initial weights.

Arrays are NHWC, nothing fixes a dtype. The conventions are PyTorch's: batch norm that normalises with the biased
variance and keeps the unbiased one, kernels uniform in ±1/sqrt(fan_in).
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.random import threefry_2x32

EPSILON = 1e-5
MOMENTUM = 0.1


class Moments(NamedTuple):
    """Mean and biased variance per channel (c,), and the factor m/(m-1) that makes the variance unbiased."""

    mean: Array
    variance: Array
    unbiased: Array


def max_pool(x: Array) -> Array:
    """3x3 maximum with stride 2 and padding 1 of -inf, as two one-dimensional maxima.

    Of equal pixels the first in row order has the gradient, as in PyTorch.
    """
    return _max_pool_axis(_max_pool_axis(x, 2), 1)


def _max_pool_axis(x: Array, axis: int) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (1, x.shape[axis] % 2)
    return _max_of_three(jnp.pad(x, widths, constant_values=-jnp.inf), axis)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_of_three(x: Array, axis: int) -> Array:
    """Maxima of the entries 0 to 2, 2 to 4, ... of an axis of odd length."""
    return _max_and_place(x, axis)[0]


def _max_and_place(x: Array, axis: int) -> tuple[Array, Array]:
    """The maxima, and which of its three entries each of them is (uint8)."""
    first, middle, last = (
        lax.slice_in_dim(x, i, x.shape[axis] - 2 + i, stride=2, axis=axis) for i in range(3)
    )
    best = jnp.maximum(jnp.maximum(first, middle), last)
    return best, jnp.where(first == best, 0, jnp.where(middle == best, 1, 2)).astype(jnp.uint8)


def _max_of_three_gradient(axis: int, place: Array, above: Array) -> tuple[Array]:
    """Entries at odd places are in one window, those at even places in two."""
    first, middle, last = (jnp.where(place == i, above, 0) for i in range(3))
    around = [(0, 0)] * above.ndim
    around[axis] = (0, 1)
    shape = list(above.shape)
    shape[axis] = 2 * shape[axis] + 1
    even = jnp.pad(first, around) + jnp.pad(last, [(b, a) for a, b in around])
    both = jnp.stack([even, jnp.pad(middle, around)], axis + 1)
    merged = both.reshape([*shape[:axis], shape[axis] + 1, *shape[axis + 1 :]])
    return (lax.slice_in_dim(merged, 0, shape[axis], axis=axis),)


_max_of_three.defvjp(_max_and_place, _max_of_three_gradient)


def mean_pool(x: Array) -> Array:
    """2x2 mean with stride 2; a last odd row or column is left out."""
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return jnp.mean(x.reshape(n, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def global_mean(x: Array) -> Array:
    """Mean over height and width, (n,h,w,c) to (n,c)."""
    return jnp.mean(x, axis=(1, 2))


def batch_moments(x: Array, sample_mask: Array | None) -> Moments:
    """Mean and biased variance per channel, and the unbiased factor m/(m-1), over all axes but the last.

    `sample_mask` (n,) leaves padded samples out; m counts the values of one channel that took part.
    """
    per_sample = math.prod(x.shape[1:-1])
    if sample_mask is None:
        weight, count = None, jnp.asarray(x.shape[0] * per_sample, x.dtype)
    else:
        weight = sample_mask.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1))
        count = jnp.sum(weight) * per_sample
    mean = _channel_mean(x, weight, count)
    return Moments(mean, _centred_square(x, mean, weight, count), count / jnp.maximum(count - 1, 1))


def _channel_mean(x: Array, weight: Array | None, count: Array) -> Array:
    return jnp.sum(x if weight is None else x * weight, axis=tuple(range(x.ndim - 1))) / count


@jax.custom_jvp
def _centred_square(x: Array, mean: Array, weight: Array | None, count: Array) -> Array:
    """Mean over a channel of the squared distance from `mean`, which must be the mean of x by the same weights."""
    return _channel_mean(jnp.square(x - mean), weight, count)


@_centred_square.defjvp
def _centred_square_tangent(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Moving the mean changes nothing, because distances from it cancel; so no pass over x is spent on that."""
    x, mean, weight, count = primals
    moved: Any = 2 * (x - mean) * tangents[0]
    return _centred_square(*primals), _channel_mean(moved, weight, count)


def normalise(x: Array, mean: Array, variance: Array, scale: Array, bias: Array) -> Array:
    """Batch norm as one multiply-add per entry."""
    factor = scale * lax.rsqrt(variance + EPSILON)
    return x * factor + (bias - mean * factor)


def dropout(x: Array, rate: Array, key: Array) -> Array:
    """Elementwise inverted dropout with a traced rate; at rate 0 no random bits are drawn.

    Sixteen random bits per entry, so the rate is resolved to 1/65536 (0.5 is exact). The branch is one where
    members run one after another; under `vmap` it becomes a selection.
    """

    def drop(x: Array) -> Array:
        keep = random_bits(key, x.shape).astype(jnp.int32) >= jnp.round(rate * 65536).astype(jnp.int32)
        return jnp.where(keep, x / (1 - rate), jnp.zeros_like(x))

    return lax.cond(rate > 0, drop, lambda x: x, x)


def random_bits(key: Array, shape: Sequence[int]) -> Array:
    """Uniform 16-bit numbers (uint16) of a shape, from a key of the threefry generator.

    One evaluation of threefry (Salmon et al. 2011, Parallel Random Numbers) gives four of them; `jax.random.bits` makes
    one evaluation for each. The numbers depend on the key and on how many are drawn.
    """
    count = math.prod(shape)
    words = threefry_2x32(jax.random.key_data(key), lax.iota(jnp.uint32, -(-count // 4) * 2))
    return lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[:count].reshape(tuple(shape))


def uniform_fan_in(key: Array, shape: Sequence[int], fan_in: int) -> Array:
    """PyTorch's default initial weights: uniform in ±1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return jax.random.uniform(key, tuple(shape), minval=-bound, maxval=bound)

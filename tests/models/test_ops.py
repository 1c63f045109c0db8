"""The arithmetic of the networks against XLA's own operations and numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from seqfinal_jax.models.parts import ops


def normal(seed, *shape):
    return jnp.asarray(np.random.RandomState(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("size", [16, 7, 2])
def test_max_pool_is_a_window_maximum(size):
    x = normal(0, 2, size, size, 3)
    wanted = lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    )
    np.testing.assert_array_equal(ops.max_pool(x), wanted)


@pytest.mark.parametrize("size", [16, 7, 2])
def test_the_gradient_of_max_pool_reaches_every_maximum(size):
    """No two pixels are equal here, so the derivative is unique."""
    x = jnp.asarray(np.random.RandomState(0).permutation(2 * size * size * 3).reshape(2, size, size, 3) / 100)
    window = lambda x: lax.reduce_window(  # noqa: E731
        x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    )
    wanted, back = jax.vjp(window, x)
    above = normal(1, *wanted.shape)
    found, ours = jax.vjp(ops.max_pool, x)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(ours(above)[0], back(above)[0], rtol=1e-5, atol=1e-6)


def test_of_equal_pixels_the_first_has_the_gradient():
    gradient = jax.grad(lambda x: jnp.sum(ops.max_pool(x)))(jnp.ones((1, 4, 4, 1)))[0, :, :, 0]
    np.testing.assert_array_equal(gradient, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_batch_moments_by_hand():
    x = jnp.asarray([1.0, 2.0, 6.0]).reshape(3, 1, 1, 1)
    mean, variance, unbiased = ops.batch_moments(x, None)
    assert mean[0] == 3 and np.isclose(variance[0], 14 / 3) and unbiased == 1.5
    mean, variance, unbiased = ops.batch_moments(x, jnp.asarray([True, True, False]))
    assert mean[0] == 1.5 and variance[0] == 0.25 and unbiased == 2


def test_a_masked_sample_changes_nothing():
    x, mask = normal(0, 6, 4, 4, 3), jnp.asarray([True] * 5 + [False])
    first = ops.batch_moments(x, mask)
    second = ops.batch_moments(x.at[5].set(1e6), mask)
    alone = ops.batch_moments(x[:5], None)
    for a, b, c in zip(first, second, alone, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mask", [None, [True, True, True, False]])
def test_derivatives_of_the_moments_are_those_of_a_plain_formula(mask):
    """The rule leaves the mean's part out, which cancels; second derivatives have to see it."""
    x, mask = normal(0, 4, 2, 2, 3), None if mask is None else jnp.asarray(mask)
    away = normal(1, 4, 2, 2, 3)

    def plain(x):
        kept = x if mask is None else x[np.flatnonzero(mask)]
        return jnp.sum(jnp.sin(jnp.var(kept, axis=(0, 1, 2)) + jnp.mean(kept, axis=(0, 1, 2))))

    def ours(x):
        mean, variance, _ = ops.batch_moments(x, mask)
        return jnp.sum(jnp.sin(variance + mean))

    np.testing.assert_allclose(jax.grad(ours)(x), jax.grad(plain)(x), rtol=1e-4, atol=1e-6)
    curvature = [jax.grad(lambda x, f=f: jnp.sum(jax.grad(f)(x) * away))(x) for f in (ours, plain)]
    np.testing.assert_allclose(*curvature, rtol=1e-4, atol=1e-6)


def test_dropout_keeps_the_share_and_scales():
    x = jnp.ones((200, 500))
    kept = ops.dropout(x, jnp.float32(0.3), jax.random.key(0))
    assert set(np.unique(kept)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    assert abs(float(jnp.mean(kept > 0)) - 0.7) < 0.005
    np.testing.assert_array_equal(ops.dropout(x, jnp.float32(0), jax.random.key(0)), x)
    other = ops.dropout(x, jnp.float32(0.3), jax.random.key(1))
    assert not np.array_equal(kept, other)


def test_initial_weights_are_uniform_in_the_fan_in():
    weights = np.asarray(ops.uniform_fan_in(jax.random.key(0), (7, 7, 3, 64), 147))
    assert np.abs(weights).max() * np.sqrt(147) <= 1
    assert 0.98 < weights.std() * np.sqrt(3 * 147) < 1.02

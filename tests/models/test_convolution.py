"""Every form of the convolution against a sum written out tap by tap, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.models.parts import convolution

LAYERS = [
    (32, 7, 2, 3, 4, 5),
    (8, 3, 2, 1, 4, 5),
    (7, 3, 2, 1, 4, 5),
    (2, 3, 2, 1, 4, 5),
    (5, 3, 1, 1, 6, 3),
    (2, 3, 1, 1, 6, 3),
    (1, 3, 1, 1, 6, 3),
    (4, 5, 1, 2, 6, 3),
    (4, 1, 1, 0, 4, 5),
    (4, 1, 2, 0, 4, 5),
]


def normal(seed, *shape):
    return np.random.RandomState(seed).normal(size=shape).astype(np.float32)


def by_hand(x, kernel, stride, padding):
    """The definition: every output pixel is a sum over the kernel's entries that meet the image."""
    n, height, width, _ = x.shape
    size, features = kernel.shape[0], kernel.shape[3]
    out = [(side + 2 * padding - size) // stride + 1 for side in (height, width)]
    result = np.zeros((n, *out, features))
    for row, column, i, j in np.ndindex(*out, size, size):
        y, z = row * stride - padding + i, column * stride - padding + j
        if 0 <= y < height and 0 <= z < width:
            result[:, row, column] += x[:, y, z] @ kernel[i, j]
    return result


@pytest.mark.parametrize("layer", LAYERS)
def test_the_chosen_form_is_the_definition(layer):
    size, taps, stride, padding, channels, features = layer
    x, kernel = normal(0, 3, size, size, channels), normal(1, taps, taps, channels, features)
    found = convolution.conv(jnp.asarray(x), jnp.asarray(kernel), stride, padding)
    np.testing.assert_allclose(found, by_hand(x, kernel, stride, padding), rtol=1e-4, atol=1e-4)


def outputs(form, layer):
    """Output and both gradients."""
    size, taps, stride, padding, channels, features = layer
    x, kernel = normal(0, 3, size, size, channels), normal(1, taps, taps, channels, features)
    conv = lambda x, k: convolution.conv(x, k, stride, padding, form)  # noqa: E731
    out, back = jax.vjp(conv, jnp.asarray(x), jnp.asarray(kernel))
    return out, *back(jnp.cos(out))


@pytest.mark.rare
@pytest.mark.parametrize("layer", LAYERS)
def test_forms_agree_with_the_native_one(layer):
    wanted = outputs("native", layer)
    keeps_size = layer[2] == 1
    for form in ("patches", "tap_rows", *(["shifts"] if keeps_size else [])):
        for found, each in zip(outputs(form, layer), wanted, strict=True):
            np.testing.assert_allclose(found, each, rtol=1e-4, atol=1e-5 * jnp.abs(each).max())


def test_images_of_other_height_than_width():
    x, kernel = normal(0, 2, 3, 5, 6), normal(1, 3, 3, 6, 2)
    for form in ("patches", "shifts", "tap_rows", "native"):
        found = convolution.conv(jnp.asarray(x), jnp.asarray(kernel), 1, 1, form)
        np.testing.assert_allclose(found, by_hand(x, kernel, 1, 1), rtol=1e-4, atol=1e-4)


def test_what_is_not_finite_stays_in_reach_of_the_kernel():
    x = jnp.zeros((1, 4, 4, 4)).at[0, 0, 0, 0].set(jnp.inf)
    kernel = jnp.ones((3, 3, 4, 2))
    finite = jnp.isfinite(convolution.conv(x, kernel, 1, 1, "shifts"))
    assert not finite[0, :2, :2].any() and finite.sum() == 2 * (16 - 4)


@pytest.mark.parametrize("size", [(9, 7), (10, 12)])
def test_rows_of_taps_are_the_transposed_patches(size):
    x = jnp.asarray(normal(0, 2, *size, 3))
    rows, columns = (convolution.used_taps(length, 5, 2, 2) for length in size)
    matrix = convolution.patches(x, 2, rows, columns).reshape(-1, 75)
    np.testing.assert_array_equal(convolution.tap_rows(x, 2, rows, columns), matrix.T)


def test_few_inputs_are_copied_by_rows_on_a_cpu():
    on_cpu = jax.default_backend() == "cpu"
    wanted = "tap_rows" if on_cpu else "patches"
    assert convolution.choose_form((100, 32, 32, 3), (7, 7, 3, 64), 2, 3) == wanted


@pytest.mark.parametrize("size", [(2, 2), (1, 2), (3, 2)])
def test_a_dense_layer_over_whole_images_is_the_convolution(size):
    x, kernel = jnp.asarray(normal(0, 3, *size, 4)), jnp.asarray(normal(1, 5, 5, 4, 6))
    found, back = jax.vjp(lambda x, k: convolution.conv(x, k, 1, 2, "whole"), x, kernel)
    wanted, native = jax.vjp(lambda x, k: convolution.conv(x, k, 1, 2, "native"), x, kernel)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(back(jnp.cos(wanted)), native(jnp.cos(wanted)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_tiny_maps_are_multiplied_whole_on_a_cpu():
    wanted = "whole" if jax.default_backend() == "cpu" else "patches"
    assert convolution.choose_form((100, 2, 2, 512), (3, 3, 512, 512), 1, 1) == wanted
    assert convolution.choose_form((100, 3, 3, 512), (3, 3, 512, 512), 1, 1) == "patches"
    assert convolution.choose_form((100, 2, 2, 256), (3, 3, 256, 512), 2, 1) == "patches"


def test_few_outputs_are_shifted_and_one_pixel_is_not():
    assert convolution.choose_form((100, 8, 8, 128), (3, 3, 128, 32), 1, 1) == "shifts"
    assert convolution.choose_form((100, 8, 8, 64), (3, 3, 64, 512), 1, 1) == "patches"
    assert convolution.choose_form((100, 8, 8, 128), (3, 3, 128, 32), 2, 1) == "patches"
    assert convolution.choose_form((100, 1, 1, 128), (3, 3, 128, 32), 1, 1) == "patches"
    assert convolution.choose_form((100, 8, 8, 128), (1, 1, 128, 32), 1, 0) == "patches"


def test_taps_that_meet_padding_only_are_left_out():
    assert convolution.used_taps(8, 3, 1, 1) == (0, 3, 1, 8)
    assert convolution.used_taps(1, 3, 1, 1) == (1, 2, 0, 1)
    assert convolution.used_taps(2, 3, 2, 1) == (1, 3, 0, 1)


def test_a_stored_gradient_is_the_gradient():
    x, ahead = jnp.asarray(normal(0, 5, 3)), jnp.asarray(normal(1, 5, 3))
    _, back = jax.vjp(convolution.stored_gradient, x)
    np.testing.assert_array_equal(back(ahead)[0], ahead)

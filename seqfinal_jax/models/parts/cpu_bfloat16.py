"""Convolutions in bfloat16 on a CPU that multiplies matrices of such numbers itself (AMX, AVX512-BF16).

The numbers are those of rounded operands that are multiplied in float32, up to the order of sums (`precision`). Such a
CPU is fast where the rows of one stored matrix meet the columns or the rows of another. It is slow, or XLA fails, where
both are contracted over their rows, as autodiff does for a kernel's gradient. So the three products of a layer are
written out here. Where the map keeps its size, the patches of the gradient that arrives serve both gradients: with the
turned kernel they give the input's, with the transposed input they give the kernel's.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.layout import Layout, with_layout_constraint

from seqfinal_jax.models.parts.convolution import (
    Taps,
    choose_form,
    dense_matrix,
    patches,
    shifted_products,
    tap_rows,
    used_taps,
)
from seqfinal_jax.models.parts.precision import to_bfloat16

Pair = tuple[Array, Array]


class Shape(NamedTuple):
    """What a layer's products need to know of it: the form of its forward pass, and the taps that are used."""

    form: str
    stride: int
    rows: Taps
    columns: Taps
    size_stays: bool


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_in_bfloat16(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """`convolution.conv` of rounded operands: float32 (n,h,w,c) by (kh,kw,c,o) to float32 (n,h',w',o)."""
    return _forward(x, kernel, stride, padding)[0]


def _forward(x: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, Pair]:
    layer = _shape_of(x, kernel, stride, padding)
    x, kernel = _rounded(x), _rounded(kernel)
    product = {"tap_rows": _rows_product, "whole": _whole_product, "shifts": _shifts_product}.get(
        layer.form, _patches_product
    )
    out = product(x, kernel, layer)
    return out.reshape(x.shape[0], layer.rows.out, layer.columns.out, kernel.shape[3]), (x, kernel)


def _backward(stride: int, padding: int, saved: Pair, above: Array) -> Pair:
    layer = _shape_of(*saved, stride, padding)
    if layer.form == "tap_rows":
        return _rows_gradients(*saved, _rounded(above), layer)
    if layer.form == "whole":
        return _whole_gradients(*saved, _rounded(above))
    gradients = _same_size_gradients if layer.size_stays else _patches_gradients
    return gradients(*saved, _rounded(above), layer)


conv_in_bfloat16.defvjp(_forward, _backward)


def _shape_of(x: Array, kernel: Array, stride: int, padding: int) -> Shape:
    form = choose_form(x.shape, kernel.shape, stride, padding)
    rows, columns = (used_taps(x.shape[1 + axis], kernel.shape[axis], stride, padding) for axis in range(2))
    size_stays = stride == 1 and kernel.shape[0] == kernel.shape[1] == 2 * padding + 1
    return Shape(form, stride, rows, columns, size_stays)


def _rounded(x: Array) -> Array:
    return to_bfloat16(x).astype(jnp.bfloat16)


def _product(a: Array, b: Array, over: int = 0) -> Array:
    """a (m,k) by b (k,n), or by b (n,k) with `over` 1, with sums in float32."""
    return lax.dot_general(a, b, (((1,), (over,)), ((), ())), preferred_element_type=jnp.float32)


def _moved(move: Callable[[Array], Array], x: Array) -> Array:
    """`move(x)`, which only copies numbers, of bfloat16. XLA would turn them into float32 for it, but not integers."""
    return lax.bitcast_convert_type(move(lax.bitcast_convert_type(x, jnp.uint16)), jnp.bfloat16)


def _turned(x: Array) -> Array:
    """The transpose (c,m) of a matrix (m,c), stored. XLA folds a plain one into a product, but not one of three axes."""

    def turn(x: Array) -> Array:
        halves = jnp.pad(x, ((0, len(x) % 2), (0, 0))).reshape(2, -1, x.shape[1])
        return halves.transpose(2, 0, 1).reshape(x.shape[1], -1)[:, : len(x)]

    return _moved(turn, x)


def _used(kernel: Array, layer: Shape) -> Array:
    return kernel[layer.rows.first : layer.rows.end, layer.columns.first : layer.columns.end]


def _whole_kernel(used: Array, kernel: Array, layer: Shape) -> Array:
    """The gradient of all of a kernel, from that of the taps that are used."""
    ends = zip((layer.rows, layer.columns), kernel.shape[:2], strict=True)
    return jnp.pad(used, (*((taps.first, size - taps.end) for taps, size in ends), (0, 0), (0, 0)))


def _matrix(x: Array) -> Array:
    """(..., c) to (m, c)."""
    return x.reshape(-1, x.shape[-1])


def _patches_product(x: Array, kernel: Array, layer: Shape) -> Array:
    windows = _moved(lambda x: patches(x, layer.stride, layer.rows, layer.columns), x)
    return _product(_matrix(windows), _matrix(_used(kernel, layer)))


def _shifts_product(x: Array, kernel: Array, layer: Shape) -> Array:
    return shifted_products(x, _used(kernel, layer), (layer.rows.before, layer.columns.before), _product)


def _same_size_gradients(x: Array, kernel: Array, above: Array, layer: Shape) -> Pair:
    used = _used(kernel, layer)
    height, width, depth, features = used.shape
    windows = _matrix(_moved(lambda above: patches(above, 1, layer.rows, layer.columns), above))
    turned = used[::-1, ::-1].transpose(2, 0, 1, 3).reshape(depth, -1)
    to_x = _product(windows, turned, over=1).reshape(x.shape)
    to_kernel = _product(_turned(_matrix(x)), windows).reshape(depth, height, width, features)
    return to_x, _whole_kernel(to_kernel[:, ::-1, ::-1].transpose(1, 2, 0, 3), kernel, layer)


def _patches_gradients(x: Array, kernel: Array, above: Array, layer: Shape) -> Pair:
    used, above = _used(kernel, layer), _matrix(above)
    cut = lambda x: patches(x, layer.stride, layer.rows, layer.columns)  # noqa: E731
    windows = _moved(cut, x)
    to_windows = _product(above, _matrix(used), over=1).reshape(windows.shape)
    [to_x] = jax.vjp(cut, x.astype(jnp.float32))[1](to_windows)
    to_kernel = _product(_turned(_matrix(windows)), above).reshape(used.shape)
    return to_x, _whole_kernel(to_kernel, kernel, layer)


def _rows_product(x: Array, kernel: Array, layer: Shape) -> Array:
    """The product comes out as (o,m). Pinned layouts make XLA turn it once; else every later use does so again."""
    rows = _moved(lambda x: tap_rows(x, layer.stride, layer.rows, layer.columns), x)
    product = _product(_turned(_matrix(_used(kernel, layer))), rows)
    product = with_layout_constraint(product[None], Layout((2, 0, 1)))
    return with_layout_constraint(product.transpose(2, 0, 1), Layout((0, 1, 2)))


def _rows_gradients(x: Array, kernel: Array, above: Array, layer: Shape) -> Pair:
    used, above = _used(kernel, layer), _matrix(above)
    cut = lambda x: tap_rows(x, layer.stride, layer.rows, layer.columns)  # noqa: E731
    to_rows = _product(_matrix(used), above, over=1)
    [to_x] = jax.vjp(cut, x.astype(jnp.float32))[1](to_rows)
    return to_x, _whole_kernel(_product(_moved(cut, x), above).reshape(used.shape), kernel, layer)


def _whole_product(x: Array, kernel: Array, layer: Shape) -> Array:
    matrix = _moved(lambda kernel: dense_matrix(kernel, x.shape[1:3]), kernel)
    return _product(x.reshape(len(x), -1), matrix)


def _whole_gradients(x: Array, kernel: Array, above: Array) -> Pair:
    rows, above = x.reshape(len(x), -1), above.reshape(len(x), -1)
    expand = lambda kernel: dense_matrix(kernel, x.shape[1:3])  # noqa: E731
    to_x = _product(above, _moved(expand, kernel), over=1).reshape(x.shape)
    _, back = jax.vjp(expand, kernel.astype(jnp.float32))
    return to_x, *back(_product(_turned(rows), above))

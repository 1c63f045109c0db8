"""Two-dimensional convolution as matrix products, in the form that measurement chose for its layer.

Arrays are NHWC, kernels HWIO, padding is symmetric and explicit. Every form agrees with the others to rounding.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental.layout import Layout, with_layout_constraint

ConvForm = Literal["patches", "shifts", "tap_rows", "whole", "native"]

# CPU: measured, docs/performance.md (inside a compiled loop the native form is 50 to 200 times slower). GPU and TPU:
# patches become one batched matrix product under `vmap`, where native kernels become a grouped convolution; to be
# measured on such a machine. `choose_form` takes another form in place of "patches" where a layer has few outputs,
# hardly any inputs or tiny maps.
CONV_FORM: dict[str, ConvForm] = {"cpu": "patches", "gpu": "patches", "tpu": "patches"}


class Taps(NamedTuple):
    """Which entries of a kernel ever meet the image along one axis, and where they do.

    Entries first to end - 1 do; the others see padding alone. `before` is the padding that the first of them needs.
    `out` is the size of the output.
    """

    first: int
    end: int
    before: int
    out: int


def conv(x: Array, kernel: Array, stride: int, padding: int, form: ConvForm | None = None) -> Array:
    """Two-dimensional convolution without bias, (n,h,w,c) by (kh,kw,c,o) to (n,h',w',o).

    `form` is "patches" (gather patches, one matrix product), "shifts" (one matrix product, whose parts are shifted
    and added; only where height and width stay), "tap_rows" (the transposed patches, one row per tap, and one matrix
    product), "whole" (a dense layer over whole images; only where every output sees every pixel) or "native" (XLA's
    convolution). Left out, `choose_form` decides.
    """
    form = form or choose_form(x.shape, kernel.shape, stride, padding)
    if form == "native":
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    if form == "whole":
        return _dense_layer(x, kernel)
    rows, columns = (used_taps(x.shape[1 + axis], kernel.shape[axis], stride, padding) for axis in range(2))
    kernel = kernel[rows.first : rows.end, columns.first : columns.end]
    if form == "shifts":
        return shifted_products(x, kernel, (rows.before, columns.before))
    if form == "tap_rows":
        product = _product_of_taps(kernel.reshape(-1, kernel.shape[3]), tap_rows(x, stride, rows, columns))
        return product.reshape(x.shape[0], rows.out, columns.out, kernel.shape[3])
    windows = patches(x, stride, rows, columns)
    product = windows.reshape(-1, windows.shape[3]) @ kernel.reshape(-1, kernel.shape[3])
    return product.reshape(*windows.shape[:3], kernel.shape[3])


def choose_form(x: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int) -> ConvForm:
    """The form for a backend and the shapes (n,h,w,c) and (kh,kw,c,o).

    Patches have kh·kw·c numbers per pixel, shifted products kh·kw·o: the fewer of them, the less is moved to and fro.
    Where an image has few channels a CPU copies whole rows of one channel sooner than pixels of a few numbers. On maps
    of 2x2 pixels more than half of all patches is padding.
    """
    form = CONV_FORM.get(jax.default_backend(), "patches")
    if jax.default_backend() == "cpu" and kernel[2] <= 4 and kernel[0] > 3:
        return "tap_rows"
    size_stays = stride == 1 and kernel[0] == kernel[1] == 2 * padding + 1
    several_taps = padding > 0 and max(x[1:3]) > 1
    if form != "patches" or not size_stays or not several_taps:
        return form
    if kernel[3] < kernel[2]:
        return "shifts"
    all_seen = max(x[1:3]) <= padding + 1
    return "whole" if all_seen and jax.default_backend() == "cpu" else "patches"


def used_taps(size: int, kernel: int, stride: int, padding: int) -> Taps:
    """The taps of a kernel along an axis; on maps of one pixel a 3x3 kernel has one that meets it."""
    out = (size + 2 * padding - kernel) // stride + 1
    starts = [stride * place - padding for place in range(out)]
    used = [tap for tap in range(kernel) if any(0 <= start + tap < size for start in starts)]
    return Taps(used[0], used[-1] + 1, padding - used[0], out)


def patches(x: Array, stride: int, rows: Taps, columns: Taps) -> Array:
    """All windows of x, (n,h,w,c) to (n,h',w',kh·kw·c), in the order of an HWIO kernel."""
    x = _padded(_padded(x, 1, rows, stride), 2, columns, stride)
    if max(rows.end - rows.first, columns.end - columns.first) > 3:  # measured: pays for the 7x7 stem only
        across = jnp.concatenate(_slices(x, 2, columns, stride), axis=3)
        return jnp.concatenate(_slices(across, 1, rows, stride), axis=3)
    bands = _slices(x, 1, rows, stride)
    windows = [window for band in bands for window in _slices(band, 2, columns, stride)]
    return windows[0] if len(windows) == 1 else jnp.concatenate(windows, axis=3)


def tap_rows(x: Array, stride: int, rows: Taps, columns: Taps) -> Array:
    """The transpose of `patches` as a matrix, (n,h,w,c) to (kh·kw·c, n·h'·w').

    Pixels are first sorted by their remainders modulo the stride, so that what a tap sees of a row lies together.
    """
    n, depth = x.shape[0], x.shape[3]
    x = _padded(_padded(x, 1, rows, stride), 2, columns, stride)
    ends = [-size % stride for size in x.shape[1:3]]
    x = jnp.pad(x, ((0, 0), (0, ends[0]), (0, ends[1]), (0, 0)))
    height, width = x.shape[1] // stride, x.shape[2] // stride
    sorted_pixels = x.reshape(n, height, stride, width, stride, depth).transpose(2, 4, 5, 0, 1, 3)
    starts = [divmod(tap, stride) for tap in range(columns.end - columns.first)]
    across = jnp.stack(
        [sorted_pixels[:, rest, ..., start : start + columns.out] for start, rest in starts], 1
    )
    lines = across.reshape(stride, len(starts) * depth * n, height * columns.out)

    def band(tap: Array) -> Array:
        start = (tap % stride, 0, tap // stride * columns.out)
        return lax.dynamic_slice(lines, start, (1, lines.shape[1], rows.out * columns.out))

    # A loop is a plain copy here, a concatenation is not.
    bands = lax.map(band, jnp.arange(rows.end - rows.first))
    return bands.reshape(-1, n * rows.out * columns.out)


@jax.custom_vjp
def _product_of_taps(kernel: Array, taps: Array) -> Array:
    """(taps, features) and (taps, pixels) to (pixels, features); each product in its fastest order on a CPU."""
    product = lax.dot_general(kernel, taps, (((0,), (0,)), ((), ())))
    product = with_layout_constraint(product, Layout((0, 1)))
    return with_layout_constraint(product.T, Layout((0, 1)))


def _taps_forward(kernel: Any, taps: Any) -> tuple[Array, tuple[Array | None, Array]]:
    """Keeps the kernel only if the gradient of the taps is wanted; of images it is not."""
    product = _product_of_taps(kernel.value, taps.value)
    return product, (kernel.value if taps.perturbed else None, taps.value)


def _taps_backward(saved: tuple[Array | None, Array], above: Array) -> tuple[Array, Array | None]:
    kernel, taps = saved
    return taps @ above, None if kernel is None else kernel @ above.T


_product_of_taps.defvjp(_taps_forward, _taps_backward, symbolic_zeros=True)


def _padded(x: Array, axis: int, taps: Taps, stride: int) -> Array:
    """x with zeros before and after along an axis, or cut where no window reaches its end."""
    reach = (taps.out - 1) * stride + taps.end - taps.first
    after = reach - taps.before - x.shape[axis]
    if taps.before == after == 0:
        return x
    around = [(0, 0, 0)] * x.ndim
    around[axis] = (taps.before, after, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), around)


def _slices(x: Array, axis: int, taps: Taps, stride: int) -> list[Array]:
    span = (taps.out - 1) * stride + 1
    starts = range(taps.end - taps.first)
    return [lax.slice_in_dim(x, start, start + span, stride, axis) for start in starts]


def shifted_products(
    x: Array, kernel: Array, before: tuple[int, int], multiply: Callable[[Array, Array], Array] = jnp.matmul
) -> Array:
    """Convolution of stride 1 that keeps height and width, as one product with kh·kw·o outputs.

    Pixels are rows of a matrix, so moving by (down, right) pixels is moving by w·down + right rows; what comes from
    beyond an edge of the image is left out.
    """
    (n, height, width, depth), (kernel_h, kernel_w, _, features) = x.shape, kernel.shape
    pixels, margin = n * height * width, before[0] * width + before[1]
    x = jnp.pad(x.reshape(pixels, depth), ((margin, margin), (0, 0)))
    product = multiply(x, kernel.transpose(2, 0, 1, 3).reshape(depth, -1))
    row, column = np.arange(pixels) // width % height, np.arange(pixels) % width
    total = jnp.zeros((pixels, features), product.dtype)
    for place, part in enumerate(lax.split(product, [features] * (kernel_h * kernel_w), axis=1)):
        down, right = place // kernel_w - before[0], place % kernel_w - before[1]
        inside = (row + down >= 0) & (row + down < height) & (column + right >= 0) & (column + right < width)
        start = margin + down * width + right
        moved = lax.slice_in_dim(part, start, start + pixels, axis=0)
        total = total + jnp.where(inside[:, None], moved, 0)
    return stored_gradient(total).reshape(n, height, width, features)


def _dense_layer(x: Array, kernel: Array) -> Array:
    """Convolution of stride 1 that keeps height and width, where every output sees every pixel."""
    n, height, width, depth = x.shape
    product = x.reshape(n, height * width * depth) @ dense_matrix(kernel, (height, width))
    return product.reshape(n, height, width, kernel.shape[3])


def _joining_taps(size: tuple[int, int], middle: int) -> list[list[tuple[int, int]]]:
    """For every pixel of an input and every pixel of an output the tap that joins them."""
    pixels = [(row, column) for row in range(size[0]) for column in range(size[1])]
    return [[(middle + k - i, middle + m - j) for i, j in pixels] for k, m in pixels]


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def dense_matrix(kernel: Array, size: tuple[int, int]) -> Array:
    """The matrix (pixels·c, pixels·o) of a kernel (k,k,c,o) on maps of this size, one block per pair of pixels."""
    rows = [jnp.concatenate([kernel[tap] for tap in row], 1) for row in _joining_taps(size, len(kernel) // 2)]
    return jnp.concatenate(rows, 0)


def _dense_matrix_forward(kernel: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    return dense_matrix(kernel, size), jnp.zeros((*kernel.shape[:2], 0))


def _dense_matrix_gradient(size: tuple[int, int], saved: Array, above: Array) -> tuple[Array]:
    """A tap gathers from the blocks where it stands; autodiff would pad and add each block."""
    pixels = size[0] * size[1]
    blocks = above.reshape(pixels, -1, pixels, above.shape[1] // pixels)
    taps = [[jnp.zeros_like(blocks[0, :, 0]) for _ in range(saved.shape[1])] for _ in range(saved.shape[0])]
    for k, row in enumerate(_joining_taps(size, len(saved) // 2)):
        for i, (down, right) in enumerate(row):
            taps[down][right] += blocks[k, :, i]
    return (jnp.stack([jnp.stack(row) for row in taps]),)


dense_matrix.defvjp(_dense_matrix_forward, _dense_matrix_gradient)


@jax.custom_jvp
def stored_gradient(x: Array) -> Array:
    """(rows, features) as they are; the gradient that arrives is stored before it is used.

    Without this XLA computes it again for every tap that needs it, and in a dense block it is a sum over all later
    layers. A product with the identity is what it does not look through; barriers have no effect on a CPU.
    """
    return x


@stored_gradient.defjvp
def _stored_tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (moved,) = primals, tangents
    if jax.default_backend() != "cpu":
        return x, moved
    return x, jnp.matmul(moved, jnp.eye(x.shape[1], dtype=x.dtype), precision=lax.Precision.HIGHEST)

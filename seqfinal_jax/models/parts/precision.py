"""How the products of convolutions and dense layers are computed: in float32, or of operands in bfloat16.

In bfloat16 the two operands of a layer's product are rounded, and so is the gradient that arrives at its result; sums
are kept in float32, and all that is no product of a layer (batch norm, softmax, penalties, the optimiser) is float32
as ever. The meaning does not depend on the machine. On a GPU or a TPU the backend is told that the operands are
bfloat16, so that it may use its matrix units (never tried on one yet). A CPU multiplies the rounded operands in float32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import jax
from jax import Array, lax

Precision = Literal["highest", "bfloat16"]

_PRECISION: ContextVar[Precision] = ContextVar("precision", default="highest")
EXPONENT_BITS, MANTISSA_BITS = 8, 7  # of bfloat16


@contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """Layers that are traced inside have their products in this precision."""
    token = _PRECISION.set(precision)
    native = precision == "bfloat16" and jax.default_backend() != "cpu"
    try:
        with jax.default_matmul_precision("BF16_BF16_F32" if native else "highest"):
            yield
    finally:
        _PRECISION.reset(token)


def layer_product(product: Callable[[Array, Array], Array], x: Array, kernel: Array) -> Array:
    """`product(x, kernel)`, which must be linear in both, in the precision that `products_in` names."""
    if _PRECISION.get() == "highest":
        return product(x, kernel)
    return _gradient_rounded(product(_rounded(x), _rounded(kernel)))


def _to_bfloat16(x: Array) -> Array:
    """The nearest numbers that bfloat16 has. XLA may leave out a conversion to and fro, but never this."""
    return lax.reduce_precision(x, EXPONENT_BITS, MANTISSA_BITS)


@jax.custom_jvp
def _rounded(x: Array) -> Array:
    """x rounded; the gradient passes as it is."""
    return _to_bfloat16(x)


@_rounded.defjvp
def _rounded_tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _rounded(*primals), tangents[0]


@jax.custom_vjp
def _gradient_rounded(x: Array) -> Array:
    """x as it is; the gradient that arrives is rounded."""
    return x


_gradient_rounded.defvjp(lambda x: (x, None), lambda _, above: (_to_bfloat16(above),))

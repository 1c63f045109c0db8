"""How the products of convolutions and dense layers are computed: in float32, or of operands in bfloat16.

In bfloat16 the two operands of a layer's product are rounded, and so is the gradient that arrives at its result; sums
are kept in float32, and all that is no product of a layer (batch norm, softmax, penalties, the optimiser) is float32
as ever. The meaning does not depend on the machine. On a GPU or a TPU the backend is told that the operands are
bfloat16, so that it may use its matrix units (never tried on one yet). A CPU that has units for it uses them, where a
layer brings a form for them (`cpu_bfloat16`). Any other CPU multiplies the rounded operands in float32.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array, lax

Precision = Literal["highest", "bfloat16"]
Product = Callable[[Array, Array], Array]

_PRECISION: ContextVar[Precision] = ContextVar("precision", default="highest")
EXPONENT_BITS, MANTISSA_BITS = 8, 7  # of bfloat16
CPU_UNITS = ("amx_bf16", "avx512_bf16")  # flags of processors that multiply bfloat16 and sum in float32
_without_units = False


@cache
def cpu_units(listed: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Those of `CPU_UNITS` that the processor has, as Linux lists them; none where nothing is listed."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", listed.read_text(), re.MULTILINE)
    except OSError:
        return ()
    return tuple(unit for unit in CPU_UNITS if flags and unit in flags[1].split())


def uses_cpu_units() -> bool:
    """Whether layers that are traced from now on use a CPU's units for bfloat16."""
    return jax.default_backend() == "cpu" and bool(cpu_units()) and not _without_units


def do_without_cpu_units() -> None:
    """From now on a CPU multiplies rounded operands in float32; programs that were compiled before are dropped."""
    global _without_units
    _without_units = True
    jax.clear_caches()


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


def layer_product(product: Product, x: Array, kernel: Array, on_cpu_units: Product | None = None) -> Array:
    """`product(x, kernel)`, which must be linear in both, in the precision that `products_in` names.

    `on_cpu_units` computes the product of rounded float32 operands, and its gradients, on a CPU's units for bfloat16.
    """
    if _PRECISION.get() == "highest":
        return product(x, kernel)
    if on_cpu_units and x.dtype == kernel.dtype == jnp.float32 and uses_cpu_units():
        return on_cpu_units(x, kernel)
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

"""How the products of convolutions and dense layers are computed: in float32, or of operands in bfloat16.

In bfloat16 the two operands of a layer's product are rounded, and so is the gradient that arrives at its result; sums
are kept in float32, and all that is no product of a layer (batch norm, softmax, penalties, the optimiser) is float32
as ever. The meaning does not depend on the machine. On a GPU or a TPU the backend is told that the operands are
bfloat16, so that it may use its matrix units (never tried on one yet). A CPU that has units for it uses them, where a
layer brings a form for them (`cpu_bfloat16`). Any other CPU multiplies the rounded operands in float32, and so does a
machine whose units fail (`allow_units`).
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
# Whether this process may still use a machine's units for bfloat16, and whether a traced program does.
_may_use_units, _uses_units = True, False


@cache
def cpu_units(listed: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Those of `CPU_UNITS` that the processor has, as Linux lists them; none where nothing is listed."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", listed.read_text(), re.MULTILINE)
    except OSError:
        return ()
    return tuple(unit for unit in CPU_UNITS if flags and unit in flags[1].split())


def units() -> tuple[str, ...]:
    """What multiplies bfloat16 in programs that are traced from now on; nothing where float32 is used for it."""
    if not _may_use_units:
        return ()
    backend = jax.default_backend()
    return cpu_units() if backend == "cpu" else (backend,)


def units_in_use() -> bool:
    """Whether a program that this process has traced uses units for bfloat16."""
    return _uses_units


def allow_units(allowed: bool) -> None:
    """Whether units are used from now on, or rounded operands multiplied in float32; drops programs traced before."""
    global _may_use_units
    _may_use_units = allowed
    jax.clear_caches()


def _on_units(precision: Precision) -> bool:
    global _uses_units
    wanted = precision == "bfloat16" and bool(units())
    _uses_units = _uses_units or wanted
    return wanted


@contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """Layers that are traced inside have their products in this precision."""
    token = _PRECISION.set(precision)
    accelerated = jax.default_backend() != "cpu" and _on_units(precision)
    try:
        with jax.default_matmul_precision("BF16_BF16_F32" if accelerated else "highest"):
            yield
    finally:
        _PRECISION.reset(token)


def layer_product(product: Product, x: Array, kernel: Array, on_cpu_units: Product | None = None) -> Array:
    """`product(x, kernel)`, which must be linear in both, in the precision that `products_in` names.

    `on_cpu_units` computes the product of rounded float32 operands, and its gradients, on a CPU's units for bfloat16.
    """
    if _PRECISION.get() == "highest":
        return product(x, kernel)
    here = on_cpu_units and jax.default_backend() == "cpu" and x.dtype == kernel.dtype == jnp.float32
    if here and _on_units("bfloat16"):
        return on_cpu_units(x, kernel)
    return _gradient_rounded(product(_rounded(x), _rounded(kernel)))


def to_bfloat16(x: Array) -> Array:
    """The nearest numbers that bfloat16 has, in the type of x; XLA may leave out a conversion, but never this."""
    return lax.reduce_precision(x, EXPONENT_BITS, MANTISSA_BITS)


@jax.custom_jvp
def _rounded(x: Array) -> Array:
    """x rounded; the gradient passes as it is."""
    return to_bfloat16(x)


@_rounded.defjvp
def _rounded_tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _rounded(*primals), tangents[0]


@jax.custom_vjp
def _gradient_rounded(x: Array) -> Array:
    """x as it is; the gradient that arrives is rounded."""
    return x


_gradient_rounded.defvjp(lambda x: (x, None), lambda _, above: (to_bfloat16(above),))

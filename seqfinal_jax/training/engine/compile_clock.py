"""How long this process has spent compiling, by JAX's own events."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax

EVENTS = ("/jax/core/compile/backend_compile_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")
_spent = {"seconds": 0.0}


def _listen(event: str, seconds: float, **details: Any) -> None:
    if event in EVENTS:
        _spent["seconds"] += seconds


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Counts the seconds within as spent compiling, for what JAX's events do not tell of."""
    began = time.perf_counter()
    try:
        yield
    finally:
        _spent["seconds"] += time.perf_counter() - began


def compile_seconds() -> float:
    """Seconds spent compiling so far, or reading compiled programs from the cache."""
    return _spent["seconds"]

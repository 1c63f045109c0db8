"""How long this process has spent compiling, by JAX's own events."""

from typing import Any

import jax

EVENTS = ("/jax/core/compile/backend_compile_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")
_spent = {"seconds": 0.0}


def _listen(event: str, seconds: float, **details: Any) -> None:
    if event in EVENTS:
        _spent["seconds"] += seconds


jax.monitoring.register_event_duration_secs_listener(_listen)


def compile_seconds() -> float:
    """Seconds spent compiling so far, or reading compiled programs from the cache."""
    return _spent["seconds"]

"""Seq-to-Final in JAX: learning for now from a sequence of shifting data."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["load_model", "run"]


def __getattr__(name: str) -> Any:
    """`load_model` and `run`, imported when they are first asked for: they need JAX, the version does not."""
    if name == "load_model":
        from seqfinal_jax.stored_model import load_model

        return load_model
    if name == "run":
        from seqfinal_jax.runs.loop import run

        return run
    raise AttributeError(f"module 'seqfinal_jax' has no attribute {name!r}")

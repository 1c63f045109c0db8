"""Seq-to-Final in JAX: learning for now from a sequence of shifting data."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    """`seqfinal_jax.load_model`, imported when it is first asked for: it needs JAX, the version does not."""
    if name == "load_model":
        from seqfinal_jax.stored_model import load_model

        return load_model
    raise AttributeError(f"module 'seqfinal_jax' has no attribute {name!r}")

"""Seq-to-Final in JAX: learning for now from a sequence of shifting data."""

__version__ = "0.1.0"

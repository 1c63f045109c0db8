"""The recipes of all methods; importing this package registers them, in the order of the published table."""

from seqfinal_jax.methods.method import METHODS, published_row
from seqfinal_jax.methods.recipes import single, fine_tune, sequential, joint  # noqa: I001  (the table's order)

__all__ = ["METHODS", "fine_tune", "joint", "published_row", "sequential", "single"]

"""The recipes of all methods; importing this package registers them, in the order of the published table."""

from seqfinal_jax.methods.method import METHODS, published_row
from seqfinal_jax.methods.recipes import single

# isort: split
from seqfinal_jax.methods.recipes import fine_tune

# isort: split
from seqfinal_jax.methods.recipes import sequential

# isort: split
from seqfinal_jax.methods.recipes import joint

__all__ = ["METHODS", "fine_tune", "joint", "published_row", "sequential", "single"]

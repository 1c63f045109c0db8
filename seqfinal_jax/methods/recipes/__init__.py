"""The recipes of all methods; importing this package registers them, in the order of the published table."""

from seqfinal_jax.methods.method import METHODS, default_row, published_row
from seqfinal_jax.methods.recipes import single

# isort: split
from seqfinal_jax.methods.recipes import fine_tune

# isort: split
from seqfinal_jax.methods.recipes import sequential

# isort: split
from seqfinal_jax.methods.recipes import joint

# isort: split
from seqfinal_jax.methods.recipes import controls

__all__ = [
    "METHODS",
    "controls",
    "default_row",
    "fine_tune",
    "joint",
    "published_row",
    "sequential",
    "single",
]

"""Methods as recipes of stages; importing this package registers all of them."""

from seqfinal_jax.methods import fine_tune, joint, sequential, single
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.names import FULL_ROW, METHODS
from seqfinal_jax.methods.recipe import RECIPES, Choice, Node, Setting, Stage

__all__ = [
    "FULL_ROW",
    "METHODS",
    "RECIPES",
    "Choice",
    "Grid",
    "Node",
    "Setting",
    "Stage",
    "fine_tune",
    "joint",
    "sequential",
    "single",
]

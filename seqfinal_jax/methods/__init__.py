"""Methods as recipes of stages; importing this package registers all of them."""

from seqfinal_jax.methods import fine_tune, single
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.names import METHODS
from seqfinal_jax.methods.recipe import RECIPES, Setting, Stage, build_recipe

__all__ = ["METHODS", "RECIPES", "Grid", "Setting", "Stage", "build_recipe", "fine_tune", "single"]

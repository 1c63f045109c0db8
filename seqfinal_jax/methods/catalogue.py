"""All recipes: importing this module registers every method."""

from seqfinal_jax.methods import fine_tune, joint, sequential, single
from seqfinal_jax.methods.recipe import RECIPES

__all__ = ["RECIPES", "fine_tune", "joint", "sequential", "single"]

"""Methods as recipes of stages: records, recipes, and the stages that they are made of."""

from seqfinal_jax.methods.method import Axis, Field, Method, method
from seqfinal_jax.methods.nodes import Choice, Stage, StepForm, Transform
from seqfinal_jax.methods.setting import Setting

__all__ = ["Axis", "Choice", "Field", "Method", "Setting", "Stage", "StepForm", "Transform", "method"]

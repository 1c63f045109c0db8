"""Optimisers, one record for each: an `optax` transformation of gradients, and the axes of the grid that it reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import optax
from jax import Array

Axes = tuple[tuple[str, tuple[float, ...]], ...]  # as of `Grid.own`: (name, values) each


@dataclass(frozen=True)
class Optimiser:
    """An optimiser; static, so equal ones share compiled programs.

    axes: the hyper-parameters that it reads and the values that are tried, `learning_rate` always among them.
    transformation: from hyper-parameters by name to the `optax` transformation whose result, times the learning rate, is
        subtracted from the parameters. The structure of its state must not depend on their values.
    """

    id: str
    axes: Axes
    transformation: Callable[[Mapping[str, Any]], optax.GradientTransformation]

    def init(self, params: Any) -> Any:
        """The state before the first update."""
        return self.transformation({name: values[0] for name, values in self.axes}).init(params)

    def update(self, params: Any, gradients: Any, state: Any, hyper: Mapping[str, Array]) -> tuple[Any, Any]:
        """The parameters and the state after an update."""
        steps, state = self.transformation(hyper).update(gradients, state, params)
        rate = hyper["learning_rate"]
        return jax.tree.map(lambda p, step: p - rate.astype(p.dtype) * step, params, steps), state


# As published: the penalty's gradient goes through the moments, epsilon outside the square root.
ADAM = Optimiser(
    "adam",
    (("learning_rate", (1e-3, 1e-4)),),
    lambda hyper: optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
)

"""Optimisers, one record for each: an `optax` transformation of gradients, and the axes of the grid that it reads.

@optimiser("lion", axes={"b1": (0.9,)})
def lion(hyper, progress):
    return optax.scale_by_lion(b1=hyper["b1"], b2=0.99)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax import Array

from seqfinal_jax.models.parts.groups import is_batch_norm
from seqfinal_jax.records.code_identity import defined_in
from seqfinal_jax.records.registry import Registry

Axes = tuple[tuple[str, tuple[float, ...]], ...]  # as of `Grid.own`: (name, values) each
Schedule = Literal["constant", "cosine", "linear_warmup", "warmup_cosine"]
WARM_UP = 0.1  # the share of the allowed updates over which the learning rate rises


class Progress(NamedTuple):
    """Where a fit is: its epoch (from 1), its update (from 0, over all epochs), the updates that it is allowed."""

    epoch: Array
    update: Array
    updates: Array

    @property
    def done(self) -> Array:
        """The share of the allowed updates that lies behind, 0 to 1."""
        return self.update / self.updates


Transformation = Callable[[Mapping[str, Any], Progress], optax.GradientTransformation]


def rate_factor(schedule: Schedule, progress: Progress) -> Array:
    """The factor by which a schedule multiplies the learning rate at an update.

    cosine: (1 + cos(pi t)) / 2 of the share t of the allowed updates that lies behind (Loshchilov and Hutter 2017, arXiv
    1608.03983, without restarts). linear_warmup: rises to 1 over the first tenth; warmup_cosine: both.
    """
    factor = jnp.ones(())
    if schedule in ("linear_warmup", "warmup_cosine"):
        factor = jnp.minimum(1.0, (progress.update + 1) / jnp.maximum(1.0, WARM_UP * progress.updates))
    if schedule in ("cosine", "warmup_cosine"):
        factor = factor * 0.5 * (1 + jnp.cos(jnp.pi * progress.done))
    return factor


@dataclass(frozen=True)
class Optimiser:
    """An optimiser; static, so equal ones share compiled programs.

    axes: the hyper-parameters that it reads besides those of every grid, and the values that are tried.
    transformation: from hyper-parameters by name and progress to the `optax` transformation whose result, times the
        learning rate, is subtracted from the parameters. The structure of its state must not depend on their values.
    decoupled: it applies `weight_decay` itself, so that the loss contains none; such an optimiser is refused for
        objectives that weigh a penalty of their own with it.
    schedule: how the learning rate moves during a fit.
    """

    id: str
    axes: Axes
    transformation: Transformation
    decoupled: bool = False
    schedule: Schedule = "constant"

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown schedule."""
        if self.schedule not in get_args(Schedule):
            known = ", ".join(get_args(Schedule))
            raise ValueError(f"optimiser {self.id!r}: schedule = {self.schedule!r}; expected one of {known}")

    def init(self, params: Any) -> Any:
        """The state before the first update."""
        first = Progress(*(jnp.ones(()) for _ in Progress._fields))
        usual = {"learning_rate": 0.0, "weight_decay": 0.0}
        return self.transformation({**usual, **self._first_values()}, first).init(params)

    def update(
        self, params: Any, gradients: Any, state: Any, hyper: Mapping[str, Array], progress: Progress
    ) -> tuple[Any, Any]:
        """What is to be subtracted from the parameters, and the state after the update."""
        own = {**self._first_values(), **hyper}
        steps, state = self.transformation(own, progress).update(gradients, state, params)
        rate = hyper["learning_rate"]
        if self.schedule != "constant":
            rate = rate * rate_factor(self.schedule, progress).astype(rate.dtype)
        return jax.tree.map(lambda p, step: rate.astype(p.dtype) * step, params, steps), state

    def in_loss(self, hyper: dict[str, Array]) -> dict[str, Array]:
        """The hyper-parameters that the loss sees."""
        return {**hyper, "weight_decay": jnp.zeros_like(hyper["weight_decay"])} if self.decoupled else hyper

    def _first_values(self) -> dict[str, float]:
        return {name: values[0] for name, values in self.axes}


OPTIMISERS: Registry[Optimiser] = Registry("optimiser")


def optimiser(
    id: str, *, axes: Mapping[str, Sequence[float]] | None = None, decoupled: bool = False
) -> Callable[[Transformation], Transformation]:
    """Registers the function below it as an optimiser for `config.training.optimiser`; see `Optimiser`.

    Its axes are set by `config.<id>.<axis>`. Raises ValueError when the id is taken, or for an axis without values.
    """

    def register(transformation: Transformation) -> Transformation:
        own = tuple((name, tuple(map(float, values))) for name, values in (axes or {}).items())
        for name, values in own:
            if not values:
                raise ValueError(f"optimiser {id!r}: axis {name!r} has no value; give at least one")
        OPTIMISERS.add(id, Optimiser(id, own, transformation, decoupled), origin=defined_in(transformation))
        return transformation

    return register


def penalised(params: Any) -> Any:
    """Which tensors weight decay acts on, a tree of bool: all but the scales and biases of batch norms."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: not is_batch_norm(tuple(part.key for part in path)), params
    )


@optimiser("adam")
def adam(hyper: Mapping[str, Any], progress: Progress) -> optax.GradientTransformation:
    """As published: the penalty's gradient goes through the moments, epsilon outside the square root."""
    return optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


@optimiser("adamw", decoupled=True)
def adamw(hyper: Mapping[str, Any], progress: Progress) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
    decay = optax.add_decayed_weights(hyper["weight_decay"], mask=penalised)
    return optax.chain(optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8), decay)


@optimiser("sgd", axes={"momentum": (0.9,)})
def sgd(hyper: Mapping[str, Any], progress: Progress) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum (Polyak 1964)."""
    return optax.trace(decay=hyper["momentum"])


@optimiser("sgd_nesterov", axes={"momentum": (0.9,)})
def sgd_nesterov(hyper: Mapping[str, Any], progress: Progress) -> optax.GradientTransformation:
    """Stochastic gradient descent with Nesterov's momentum (Sutskever et al. 2013)."""
    return optax.trace(decay=hyper["momentum"], nesterov=True)


ADAM = OPTIMISERS.get("adam")

"""Empirical risk with a penalty towards earlier models: `previous`, `previous_l1`, Fisher weights and EWC.

One or more anchors stand for the models of earlier phases or steps (single-model spec 2.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqfinal_jax.models.network import Network, Variables
from seqfinal_jax.models.parts.groups import PenaliseBatchNorm
from seqfinal_jax.training.engine.streams import EvaluationSet
from seqfinal_jax.training.objectives.fisher import fisher_of
from seqfinal_jax.training.objectives.penalties import distance
from seqfinal_jax.training.objectives.risk import Context, Objective, Pooled, of_run


@dataclass(frozen=True)
class Anchor:
    """A model towards which an objective has a penalty, with the samples and loss weights of its training."""

    variables: Variables
    trained_on: EvaluationSet


@dataclass(frozen=True)
class Anchored(Pooled):
    """Pooled risk with a penalty towards earlier models (`Stage.anchors`) in place of weight decay (spec 2.5).

    The penalty is weight_decay·Σ_k Σ F_k·|θ - θ_k|^power. power: 2 or 1. weighted: F_k is the Fisher information of
    anchor k, otherwise 1. places: anchors are padded to this number, so that stages with few and with many anchors share
    one compiled program. penalise_bn: which batch norms take part (`models.parts.groups.is_compared`).

    The context's constants are {"anchors": tree, "weights": tree}, both like the parameters with a leading axis of
    anchors k (`anchor_constants` makes them); without `weighted` "weights" may be left out. Raises ValueError for another
    power.
    """

    power: int = 2
    weighted: bool = False
    places: int = 1
    penalise_bn: PenaliseBatchNorm = of_run("none")

    def __post_init__(self) -> None:
        """Checks the power."""
        if self.power not in (1, 2):
            raise ValueError(f"power = {self.power}: a penalty towards earlier models has power 1 or 2")

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The fields that say which batch norms are compared and, for weighted penalties, which Fisher information."""
        return ("penalise_bn", "fisher") if self.weighted else ("penalise_bn",)

    def constants(
        self, network: Network, training: Any, data: dict[str, Any], anchors: Sequence[Anchor]
    ) -> Any:
        """The anchors' parameters and, where weighted, their Fisher information."""
        params = [anchor.variables["params"] for anchor in anchors]
        if not self.weighted:
            return anchor_constants(params)
        plain, each = Objective(network=network, scaling=training.scaling), training.fisher == "per_sample"

        def fisher(anchor: Anchor) -> Any:
            variables = jax.tree.map(jnp.asarray, anchor.variables)
            return fisher_of(plain, variables, data, anchor.trained_on, training.batch_size, each)

        return anchor_constants(params, [fisher(anchor) for anchor in anchors], self.places)

    def penalty(self, params: Any, context: Context) -> Array:
        """See the class."""
        weights = context.constants["weights"] if self.weighted else None

        def to_one(anchor: Any, weight: Any) -> Array:
            return distance(params, anchor, self.penalise_bn, self.power, weight)

        distances = jax.vmap(to_one)(context.constants["anchors"], weights)
        return context.hyper["weight_decay"] * jnp.sum(distances)


def anchor_constants(
    anchors: Sequence[Any], weights: Sequence[Any] | None = None, places: int | None = None
) -> dict[str, Any]:
    """The constants of `Anchored`: parameter trees and, if given, as many trees of weights, each set stacked.

    `places` fills both up to so many anchors, with weights 0, so that stages with few and with many anchors share one
    compiled program. Raises ValueError where counts do not fit.
    """
    if not anchors or (weights is not None and len(weights) != len(anchors)):
        given = "no" if weights is None else len(weights)
        raise ValueError(f"{len(anchors)} anchors and {given} trees of weights: each anchor has its own")
    missing = 0 if places is None else places - len(anchors)
    if missing < 0 or (missing and weights is None):
        raise ValueError(
            f"{len(anchors)} anchors for {places} places: none may be left out, and filling up needs weights"
        )
    stacked = {"anchors": _stacked([*anchors, *[anchors[0]] * missing])}
    if weights is not None:
        zeros = jax.tree.map(np.zeros_like, weights[0])
        stacked["weights"] = _stacked([*weights, *[zeros] * missing])
    return stacked


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)

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

from seqfinal_jax.models.parts.groups import PenaliseBatchNorm
from seqfinal_jax.training.objectives.penalties import distance
from seqfinal_jax.training.objectives.risk import Context, EmpiricalRisk


@dataclass(frozen=True)
class AnchoredRisk(EmpiricalRisk):
    """Mean w·cross-entropy + weight_decay·Σ_k Σ F_k·|θ - θ_k|^power, in place of the squared norm (spec 2.5).

    The context's constants are {"anchors": tree, "weights": tree}, both like the parameters with a leading axis of
    anchors k (`anchor_constants` makes them); without `weighted` all F_k are 1 and "weights" may be left out.
    `penalise_bn` says which batch norms take part (`models.groups.is_compared`). Raises ValueError for another power
    than 1 or 2.
    """

    power: int = 2
    penalise_bn: PenaliseBatchNorm = "none"
    weighted: bool = False

    def __post_init__(self) -> None:
        """Checks the power."""
        if self.power not in (1, 2):
            raise ValueError(f"power = {self.power}: a penalty towards earlier models has power 1 or 2")

    def penalty(self, params: Any, context: Context, hyper: dict[str, Array]) -> Array:
        """See the class."""
        weights = context.constants["weights"] if self.weighted else None

        def to_one(anchor: Any, weight: Any) -> Array:
            return distance(params, anchor, self.penalise_bn, self.power, weight)

        return hyper["weight_decay"] * jnp.sum(jax.vmap(to_one)(context.constants["anchors"], weights))


def anchor_constants(
    anchors: Sequence[Any], weights: Sequence[Any] | None = None, places: int | None = None
) -> dict[str, Any]:
    """The constants of `AnchoredRisk`: parameter trees and, if given, as many trees of weights, each set stacked.

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

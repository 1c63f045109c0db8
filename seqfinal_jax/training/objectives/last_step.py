"""Training the last time step's part of a per-step network, with all that earlier steps use frozen."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from seqfinal_jax.models.network import Variables
from seqfinal_jax.training.objectives.risk import Context, Pooled
from seqfinal_jax.training.objectives.step_penalties import adjacent_norm, parameter_norm


@dataclass(frozen=True)
class LastStep(Pooled):
    """Mean w·cross-entropy at the last step of a per-step network + weight_decay·Ω + adjacent·Δ (single-model spec, 5).

    Ω and Δ run over all steps as in the joint model; what is frozen is constant in them. The members' masks must be
    those of `network.trained_from(last step)`.
    """

    def training_logits(self, params: Any, context: Context) -> tuple[Array, Any]:
        """Logits (b,k) of the last step's network in training mode, and all running statistics after the pass."""
        return super().training_logits(self._held(params), context)

    def penalty(self, params: Any, context: Context) -> Array:
        """weight_decay·Ω + adjacent·Δ."""
        params = self._held(params)
        penalty = context.hyper["weight_decay"] * parameter_norm(self.network, params)
        return penalty + context.hyper["adjacent"] * adjacent_norm(self.network, params)

    def logits(self, variables: Variables, data: dict[str, Array], index: Array, step: Array | None) -> Array:
        """Logits (n,k) of rows (n,) in evaluation mode, always of the last step's network."""
        return super().logits(variables, data, index, None)

    def _held(self, params: Any) -> Any:
        return hold_frozen(params, self.network.trained_from(self.network.num_steps - 1))


def hold_frozen(params: Any, masks: Any) -> Any:
    """Stops gradients where a whole tree is frozen, so that no time goes into computing them."""
    if isinstance(masks, dict):
        return {name: hold_frozen(subtree, masks[name]) for name, subtree in params.items()}
    return params if np.any(masks) else jax.lax.stop_gradient(params)

"""Training the last time step's part of a per-step network, with all that earlier steps use frozen."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from seqfinal_jax.models.layers import Pass
from seqfinal_jax.models.network import Variables, random_dropout
from seqfinal_jax.models.per_step import StepNetwork, apply_step, trained_from
from seqfinal_jax.training.objectives import Batch, Context, Objective, Sums, batch_sums
from seqfinal_jax.training.step_penalties import adjacent_norm, parameter_norm


@dataclass(frozen=True)
class LastStepRisk(Objective):
    """Mean w·cross-entropy at the last step + weight_decay·Ω + adjacent·Δ (single-model spec, section 5).

    Ω and Δ run over all steps as in the joint model; what is frozen is constant in them. The members' masks must be
    those of `trained_from(network, last step)`.
    """

    network: StepNetwork

    @property
    def last(self) -> int:
        """The last step's number."""
        return self.network.num_steps - 1

    def loss(
        self,
        params: Any,
        batch_stats: Any,
        context: Context,
        batch: Batch,
        hyper: dict[str, Array],
        key: Array,
    ) -> tuple[Array, tuple[Any, Sums]]:
        """See the class."""
        index = batch.index[0]
        mask = None if batch.mask is None else batch.mask[0]
        dtype = jax.tree.leaves(params)[0].dtype
        params = hold_frozen(params, trained_from(self.network, self.last))
        logits, new_stats, _ = apply_step(
            self.network,
            {"params": params, "batch_stats": batch_stats},
            self.last,
            self.inputs(context.data, index, dtype),
            Pass(train=True, sample_mask=mask),
            drop=random_dropout(hyper["dropout"], key),
            frozen=self.frozen(context),
        )
        sums = batch_sums(logits, context.data["labels"][index], mask, batch.weight[0])
        penalty = hyper["weight_decay"] * parameter_norm(self.network, params)
        penalty += hyper["adjacent"] * adjacent_norm(self.network, params)
        return sums.loss / sums.count + penalty, (new_stats, sums)

    def logits(self, variables: Variables, data: dict[str, Array], index: Array, step: Array) -> Array:
        """Logits (n,k) of rows (n,) in evaluation mode, always of the last step's network."""
        dtype = jax.tree.leaves(variables["params"])[0].dtype
        return apply_step(self.network, variables, self.last, self.inputs(data, index, dtype))[0]


def hold_frozen(params: Any, masks: Any) -> Any:
    """Stops gradients where a whole tree is frozen, so that no time goes into computing them."""
    if isinstance(masks, dict):
        return {name: hold_frozen(subtree, masks[name]) for name, subtree in params.items()}
    return params if np.any(masks) else jax.lax.stop_gradient(params)

"""All steps pooled; the head sees features that the time step scales and shifts (FiLM, Perez et al. 2018)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from seqfinal_jax.methods import Stage, method
from seqfinal_jax.methods.stages.objectives import Pooled
from seqfinal_jax.models.network import random_dropout
from seqfinal_jax.models.parts.layers import Pass


@dataclass(frozen=True)
class TimeConditioned(Pooled):
    """The head sees (1 + g_t) · h + b_t, with a row of g and b for each step, 0 at the start and not penalised."""

    sees_steps = True

    def own_params(self, train, params):
        width = params["fc"]["linear"]["kernel"].shape[0]
        return {"film": {name: jnp.zeros((len(train), width)) for name in ("scale", "shift")}}

    def conditioned(self, params, features, step):
        step = -1 if step is None else step
        rows = jax.tree.map(
            lambda rows: rows[step][..., None, None, :].astype(features.dtype), params["film"]
        )
        return (1 + rows["scale"]) * features + rows["shift"]

    def training_logits(self, params, context):
        dropped = random_dropout(context.hyper["dropout"], context.key)
        last = len(self.network.group_names) - 2

        def drop(place, output):
            output = dropped(place, output)
            return self.conditioned(params, output, context.batch.step) if place == last else output

        images = self.training_inputs(context, jnp.float32)
        mode = Pass(train=True, sample_mask=context.batch.mask)
        variables = {"params": params, "batch_stats": context.batch_stats}
        return self.network.apply(variables, images, mode, drop=drop)[:2]

    def logits(self, variables, data, index, step):
        *_, outputs = self.network.apply(variables, self.inputs(data, index, jnp.float32))
        features = self.conditioned(variables["params"], outputs[-2], step)
        head, mode = len(self.network.group_names) - 1, Pass(precision=self.network.precision)
        return self.network.apply_group(head, None, variables["params"]["fc"], None, features, mode)[0]

    def penalty(self, params, context):
        return super().penalty({name: tree for name, tree in params.items() if name != "film"}, context)


@method("my_time_conditioned", column="Time", legend="pooled, conditioned on time", family="all data")
def my_time_conditioned(setting):
    """All steps pooled, with features that the time step scales and shifts."""
    steps, last = setting.all_steps, (setting.final_step,)
    return Stage("timed", "final", steps, last, setting.plain_grid, TimeConditioned())

"""Two objectives over domains: V-REx (Krueger et al. 2021, 2003.00688) and CORAL (Sun and Saenko 2016, 1607.01719)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from seqfinal_jax.methods import Axis, Stage, method
from seqfinal_jax.methods.stages.objectives import Domains
from seqfinal_jax.models.network import random_dropout
from seqfinal_jax.models.parts.layers import Pass


@dataclass(frozen=True)
class VarianceOfRisks(Domains):
    """The mean of the domains' losses + beta · their variance."""

    def loss(self, params, context):
        passes = self.passes(params, context)
        risk = jnp.mean(passes.losses) + context.hyper["beta"] * jnp.var(passes.losses)
        return risk + self.penalty(params, context), (passes.batch_stats, passes.total)


@dataclass(frozen=True)
class Aligned(Domains):
    """The mean of the domains' losses + gamma · the squared distances of their features' covariances."""

    def loss(self, params, context):
        stats, losses, sums, spreads = context.batch_stats, [], [], []
        for place in range(context.batch.index.shape[0]):
            key = jax.random.fold_in(context.key, place)
            own = context._replace(batch=context.batch.stream(place), key=key)
            images = self.training_inputs(own, jnp.float32)
            drop, mode = random_dropout(own.hyper["dropout"], own.key), Pass(True, own.batch.mask)
            logits, stats, outputs = self.network.apply(
                {"params": params, "batch_stats": stats}, images, mode, drop=drop
            )
            features = outputs[-2].reshape(len(images), -1, outputs[-2].shape[-1]).mean(1)
            spreads.append(jnp.cov(features, rowvar=False, aweights=own.batch.weight))
            sums.append(self.sums(logits, own.labels, own))
            losses.append(sums[-1].loss / sums[-1].count)
        apart = sum(jnp.mean((spread - spreads[0]) ** 2) for spread in spreads[1:])
        loss = sum(losses) / len(losses) + context.hyper["gamma"] * apart + self.penalty(params, context)
        return loss, (stats, jax.tree.map(lambda *parts: sum(parts), *sums))


def over_all_steps(setting, objective):
    return Stage("final", "final", setting.all_steps, (setting.final_step,), setting.own_grid, objective)


@method("my_vrex", column="V-REx", legend="V-REx", family="all data", axes=(Axis("beta", (1.0, 10.0)),))
def my_vrex(setting):
    """All steps, with a penalty on the variance of their losses."""
    return over_all_steps(setting, VarianceOfRisks())


@method("my_coral", column="CORAL", legend="CORAL", family="all data", axes=(Axis("gamma", (1.0,)),))
def my_coral(setting):
    """All steps, with a penalty on the distance of their features' covariances."""
    return over_all_steps(setting, Aligned())

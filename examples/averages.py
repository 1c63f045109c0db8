"""Exponential averages: of the weights while a model trains, and of the models along a sequence (arXiv 2412.06712)."""

from dataclasses import dataclass

import jax

from seqfinal_jax.methods import Stage, Transform, method
from seqfinal_jax.methods.nodes import at_step
from seqfinal_jax.methods.recipes.fine_tune import history_stage
from seqfinal_jax.methods.recipes.sequential import follow
from seqfinal_jax.methods.stages.objectives import Pooled


@dataclass(frozen=True)
class Averaged(Pooled):
    """Evaluates and keeps the average of all variables, the running statistics among them."""

    beta: float = 0.9

    def init_extra(self, variables):
        return variables

    def after_update(self, extra, update):
        return jax.tree.map(lambda a, b: self.beta * a + (1 - self.beta) * b, extra, update.variables)

    def evaluated(self, variables, extra):
        return extra


@method("my_ema", column="EMA", legend="fine-tune, averaged weights", family="history, then adapt")
def my_ema(setting):
    """The history model, tuned on the final step; the average of its weights is kept."""
    last, start = (setting.final_step,), history_stage(setting)
    return Stage("final", "final", last, last, setting.plain_grid, Averaged(), start=start)


def average(*models, beta):
    """m_0 = θ_0, m_t = beta · m_(t-1) + (1 - beta) · θ_t."""
    found = models[0]
    for model in models[1:]:
        found = jax.tree.map(lambda a, b: beta * a + (1 - beta) * b, found, model)
    return found


@method("my_sequential_average", column="Average", legend="average along the sequence", family="sequential")
def my_sequential_average(setting):
    """The average of the models of all steps, each trained from the one before."""
    chain = follow(setting, setting.plain_grid.learning_rate[:1] * setting.num_steps)
    models = [at_step(chain, step) for step in setting.all_steps]
    shares, last = [{"beta": beta} for beta in (0.25, 0.5, 0.75)], (setting.final_step,)
    return Transform(average, models, candidates=shares, statistics=last, valid=last)

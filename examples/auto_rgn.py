"""Auto-RGN: fine-tuning in which tensors with a large relative gradient learn faster (Lee et al. 2023, 2210.11466)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from seqfinal_jax.methods import Stage, method
from seqfinal_jax.methods.recipes.fine_tune import history_stage
from seqfinal_jax.methods.stages.objectives import Pooled


@dataclass(frozen=True)
class RelativeRates(Pooled):
    """Each tensor's rate is its relative gradient norm over the largest one, measured before every epoch."""

    def init_extra(self, variables):
        return jax.tree.map(lambda leaf: jnp.ones((), leaf.dtype), variables["params"])

    def before_epoch(self, extra, variables, data, batches, num_batches):
        index, mask = batches.index[:, 0], batches.mask
        used = jnp.arange(len(index)) < num_batches

        def mean_loss(params):
            def add(total, one):
                rows, kept, real = one
                logits = self.logits({**variables, "params": params}, data, rows, None)
                losses = self.sample_losses(logits, data["labels"][rows], {})
                return total + jnp.sum(jnp.where(kept & real, losses, 0)), None

            kept = jnp.ones(index.shape, bool) if mask is None else mask[:, 0]
            return jax.lax.scan(add, jnp.zeros(()), (index, kept, used))[0]

        gradients = jax.grad(mean_loss)(variables["params"])
        norm = lambda tree: jax.tree.map(lambda leaf: jnp.sqrt(jnp.sum(leaf**2)), tree)  # noqa: E731
        scores = jax.tree.map(
            lambda g, p: jnp.where(p > 0, g / p, 0), norm(gradients), norm(variables["params"])
        )
        largest = jnp.max(jnp.stack(jax.tree.leaves(scores)))
        return jax.tree.map(lambda score: jnp.where(score > 0, score / largest, 1), scores)

    def rates(self, extra, context):
        return extra


@method(
    "my_auto_rgn", column="Auto-RGN", legend="fine-tune, rates by gradients", family="history, then adapt"
)
def my_auto_rgn(setting):
    """The history model, tuned on the final step with a rate for each tensor."""
    last = (setting.final_step,)
    start = history_stage(setting)
    return Stage("tuned", "final", last, last, setting.plain_grid, RelativeRates(), start=start)

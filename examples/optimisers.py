"""The final step alone by SAM (Foret et al. 2021, 2010.01412), AdamW, and SGD with half a cosine."""

from dataclasses import dataclass, replace

import jax
import optax

from seqfinal_jax.methods import Stage, method
from seqfinal_jax.methods.stages.objectives import Pooled
from seqfinal_jax.training.engine.optimisers import OPTIMISERS, optimiser
from seqfinal_jax.training.objectives.multi_domain import with_gradient


@optimiser("my_lion", axes={"b1": (0.9,)})
def my_lion(hyper, progress):
    """The sign of an average of gradients (Chen et al. 2023, arXiv 2302.06675)."""
    return optax.scale_by_lion(b1=hyper["b1"], b2=0.99)


@dataclass(frozen=True)
class Sharpness(Pooled):
    """The gradient at the worst point within a distance of rho."""

    rho: float = 0.05

    def loss(self, params, context):
        here = jax.lax.stop_gradient(params)
        gradient = jax.grad(lambda p: Pooled.loss(self, p, context)[0])(here)
        scale = self.rho / (optax.tree.norm(gradient) + 1e-12)
        worst = jax.tree.map(lambda p, g: p + scale * g, here, gradient)
        (value, seen), gradient = jax.value_and_grad(lambda p: Pooled.loss(self, p, context), has_aux=True)(
            worst
        )
        return with_gradient(params, value, gradient), seen


def final_alone(setting, **changes):
    """The final step alone."""
    last = (setting.final_step,)
    return Stage("final", "final", last, last, setting.plain_grid, **changes)


@method("my_sam", column="SAM", legend="final step, SAM", family="reference")
def my_sam(setting):
    """The final step alone, with sharpness-aware minimisation."""
    return final_alone(setting, objective=Sharpness())


@method("my_adamw", column="AdamW", legend="final step, AdamW", family="reference")
def my_adamw(setting):
    """The final step alone, with decoupled weight decay."""
    return final_alone(setting, optimiser="adamw")


@method("my_sgd_cosine", column="SGD", legend="final step, SGD with half a cosine", family="reference")
def my_sgd_cosine(setting):
    """The final step alone, by descent with momentum; the rate falls to 0, and the last model is kept."""
    return final_alone(setting, optimiser=replace(OPTIMISERS.get("sgd"), schedule="cosine"), keep="last")

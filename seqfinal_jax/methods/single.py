"""Methods that train one model once (single-model spec, section 2)."""

from seqfinal_jax.methods.recipe import Setting, Stage, recipe
from seqfinal_jax.methods.time_weights import increasing_weights


@recipe("erm_final")
def erm_final(setting: Setting) -> Stage:
    """The final step only."""
    last = (setting.final_step,)
    return Stage("final", "final", train=last, valid=last, grid=setting.grid)


@recipe("oracle")
def oracle(setting: Setting) -> Stage:
    """The final step only, of a sequence whose final step is as large as the oracle's size."""
    last = (setting.final_step,)
    return Stage("final", "final", train=last, valid=last, grid=setting.grid, variant="oracle")


@recipe("erm_all")
def erm_all(setting: Setting) -> Stage:
    """All steps pooled; the final step's validation set selects."""
    last = (setting.final_step,)
    return Stage("all", "final", train=setting.all_steps, valid=last, grid=setting.grid)


@recipe("erm_all_weighted")
def erm_all_weighted(setting: Setting) -> Stage:
    """All steps pooled, with weights 1/(number of steps until the last)."""
    weights = increasing_weights(setting.num_steps)
    last = (setting.final_step,)
    return Stage("all", "final", train=setting.all_steps, valid=last, grid=setting.grid, weights=weights)

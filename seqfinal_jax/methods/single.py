"""Methods that train one model once (single-model spec, section 2)."""

from dataclasses import replace

from seqfinal_jax.methods.recipe import Objective, Setting, Stage, recipe
from seqfinal_jax.methods.time_weights import increasing_weights


@recipe("erm_final")
def erm_final(setting: Setting) -> Stage:
    """The final step only."""
    last = (setting.final_step,)
    return Stage("final", "final", train=last, valid=last, grid=plain(setting).grid)


@recipe("oracle")
def oracle(setting: Setting) -> Stage:
    """The final step only, of a sequence whose final step is as large as the oracle's size."""
    return replace(erm_final(setting), variant="oracle")


def plain(setting: Setting) -> Setting:
    """The setting without strengths of an adjacent penalty in its grid."""
    return replace(setting, grid=replace(setting.grid, adjacent=()))


def on_all(setting: Setting, objective: Objective) -> Stage:
    """All steps; the final step's validation set selects."""
    last = (setting.final_step,)
    return Stage("all", "final", setting.all_steps, last, plain(setting).grid, objective=objective)


@recipe("erm_all")
def erm_all(setting: Setting) -> Stage:
    """All steps pooled."""
    return on_all(setting, "erm")


@recipe("irm_all")
def irm_all(setting: Setting) -> Stage:
    """Every step a domain, invariant risk."""
    return on_all(setting, "irm")


@recipe("dro_all")
def dro_all(setting: Setting) -> Stage:
    """Every step a domain, the worst one's risk."""
    return on_all(setting, "dro")


@recipe("erm_all_weighted")
def erm_all_weighted(setting: Setting) -> Stage:
    """All steps pooled, with weights 1/(number of steps until the last), as they are or with mean 1 over the steps."""
    weights = increasing_weights(setting.num_steps)
    if setting.options.normalise_time_weights:
        weights = tuple(weight * len(weights) / sum(weights) for weight in weights)
    return replace(on_all(setting, "erm"), weights=weights)

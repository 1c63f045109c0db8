"""Methods that train one model once (single-model spec, section 2)."""

from dataclasses import replace

from seqfinal_jax.methods.method import ALL, REFERENCE, method
from seqfinal_jax.methods.nodes import Stage
from seqfinal_jax.methods.recipes.naming import start_name
from seqfinal_jax.methods.recipes.time_weights import increasing_weights
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.objectives import Invariant, Pooled, StageObjective, WorstDomain


@method("erm_final", column="Final", legend="ERM final", family=REFERENCE, published=True, limit="weak")
def erm_final(setting: Setting) -> Stage:
    """The final step alone."""
    last = (setting.final_step,)
    return Stage("final", "final", train=last, valid=last, grid=setting.plain_grid)


@method(
    "oracle", column="Oracle", legend="ERM final oracle", family=REFERENCE, published=True, comparable=False
)
def oracle(setting: Setting) -> Stage:
    """The final step alone, of a sequence whose final step has `config.oracle_size` samples."""
    return replace(erm_final(setting), variant="oracle")


def on_all(setting: Setting, objective: StageObjective) -> Stage:
    """All steps; the final step's validation set selects."""
    last = (setting.final_step,)
    return Stage("all", "final", setting.all_steps, last, setting.plain_grid, objective)


@method("erm_all", column="ERM", legend="ERM all", family=ALL, published=True, limit="strong")
def erm_all(setting: Setting) -> Stage:
    """All steps pooled."""
    return on_all(setting, Pooled())


@method("irm_all", column="IRM", legend="IRM", family=ALL, published=True)
def irm_all(setting: Setting) -> Stage:
    """All steps, each a domain of invariant risk minimisation."""
    return on_all(setting, Invariant())


@method("dro_all", column="DRO", legend="DRO", family=ALL, published=True)
def dro_all(setting: Setting) -> Stage:
    """All steps, each a domain, of which the worst counts."""
    return on_all(setting, WorstDomain())


@method(
    "erm_all_weighted", column="wERM", legend="ERM all, weighted", family=ALL, aliases=("erm_weighted_loss",),
    options=("normalise_time_weights",),
    naming=lambda record, options, blocks: (
        record.id + "_normalised" * options.normalise_time_weights + start_name(options)
    ),
)  # fmt: skip
def erm_all_weighted(setting: Setting) -> Stage:
    """All steps pooled, later ones with more weight."""
    weights = increasing_weights(setting.num_steps)
    if setting.options.normalise_time_weights:  # mean 1 over the steps
        weights = tuple(weight * len(weights) / sum(weights) for weight in weights)
    return on_all(setting, Pooled(weights))

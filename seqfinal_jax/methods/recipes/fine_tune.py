"""Methods that train on history and then adapt to the final step (single-model spec, section 2.5)."""

from functools import partial

from seqfinal_jax.methods.method import ADAPT, Method, method
from seqfinal_jax.methods.nodes import Node, Stage
from seqfinal_jax.methods.options import Options
from seqfinal_jax.methods.recipes.adapt import (
    MODULES,
    TUNING,
    adapt,
    refused_options,
    standard_mode_only,
)
from seqfinal_jax.methods.recipes.layer_language import parse_layers
from seqfinal_jax.methods.recipes.naming import adapted_name, fixed_name
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.objectives import Invariant, Pooled, StageObjective, WorstDomain


def history_stage(setting: Setting, objective: StageObjective = Pooled()) -> Stage:
    """All steps but the final one; shared by all methods that start from it.

    `options.history_steps` "all" trains IRM and DRO on the final step too, as published; selection still uses the
    validation sets of the history.
    """
    steps, pooled = setting.history, isinstance(objective, Pooled)
    train = setting.all_steps if not pooled and setting.options.history_steps == "all" else steps
    return Stage("history", "start", train, steps, setting.plain_grid, objective)


def from_history(setting: Setting, objective: StageObjective = Pooled()) -> Node:
    """History under an objective, then the final step with plain risk."""
    start = history_stage(setting, objective)
    layers = parse_layers(setting.options.layers, setting.num_blocks, 1, sequential=False)
    return adapt(setting, start, setting.final_step, layers[0], (start,))


def refused(record: Method, options: Options) -> str | None:
    """Why a fine-tuning method cannot be built with these options, or None."""
    if options.regularization == "fisher_all":
        return (
            f"config.fine_tune.regularization = 'fisher_all' is for sequential methods; for method {record.id} "
            f"take 'fisher'"
        )
    return refused_options(record, options)


def refused_after_domains(record: Method, options: Options) -> str | None:
    """The same for methods that start from IRM and DRO, which support neither other modes nor ablated starts."""
    if why := standard_mode_only(record, options) or refused(record, options):
        return why
    if options.ablate_init:
        return f"config.fine_tune.ablate_init does not work with method {record.id}"
    return None


adapting = partial(method, family=ADAPT, published=True)


@adapting(
    "erm_fine_tune", column="FT", legend="ERM + fine-tune", options=(*TUNING, *MODULES), refuses=refused,
    naming=adapted_name("erm", "erm_fine_tune"),
)  # fmt: skip
def erm_fine_tune(setting: Setting) -> Node:
    """History pooled, then the final step."""
    return from_history(setting)


@adapting(
    "irm_fine_tune", column="I-FT", legend="IRM + fine-tune", options=TUNING, refuses=refused_after_domains,
    naming=adapted_name("irm", "irm_fine_tune"),
)  # fmt: skip
def irm_fine_tune(setting: Setting) -> Node:
    """History under invariant risk, then the final step."""
    return from_history(setting, Invariant())


@adapting(
    "dro_fine_tune", column="D-FT", legend="DRO + fine-tune", options=TUNING, refuses=refused_after_domains,
    naming=adapted_name("dro", "dro_fine_tune"),
)  # fmt: skip
def dro_fine_tune(setting: Setting) -> Node:
    """History under the worst domain's risk, then the final step."""
    return from_history(setting, WorstDomain())


@adapting(
    "erm_linear_probe_fine_tune", column="LP-FT", legend="ERM + LP-FT",
    aliases=("erm_linear_probe_then_fine_tune",), fixed={"layers": "linear_probe_fine_tune"}, naming=fixed_name,
    behind="erm_fine_tune",
)  # fmt: skip
def erm_linear_probe_fine_tune(setting: Setting) -> Node:
    """History pooled, then the head on the final step, then all layers."""
    return from_history(setting)


@adapting(
    "erm_side_tune", column="ST-1", legend="ERM + side-tune", options=("side", "all_layers_efficient"),
    fixed={"mode": "side_tune"}, naming=adapted_name("erm", "erm_fine_tune"),
)  # fmt: skip
def erm_side_tune(setting: Setting) -> Node:
    """History pooled and frozen, then side modules of one convolution beside its blocks."""
    return from_history(setting)


@adapting(
    "erm_side_tune_block", column="ST-B", legend="ERM + side-tune block", options=("all_layers_efficient",),
    fixed={"mode": "side_tune", "side": "block"}, naming=adapted_name("erm", "erm_fine_tune"),
)  # fmt: skip
def erm_side_tune_block(setting: Setting) -> Node:
    """History pooled and frozen, then whole blocks beside its blocks."""
    return from_history(setting)

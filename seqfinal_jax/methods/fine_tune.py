"""Methods that train on history and then adapt to the final step (single-model spec, section 2.5)."""

from collections.abc import Callable

from seqfinal_jax.methods.adapt import adapt
from seqfinal_jax.methods.layer_language import parse_layers
from seqfinal_jax.methods.recipe import Node, Objective, Setting, Stage, recipe
from seqfinal_jax.methods.single import plain


def history_stage(setting: Setting, objective: Objective) -> Stage:
    """All steps but the final one; shared by all methods that start from it.

    `options.history_steps` "all" trains IRM and DRO on the final step too, as published; the validation sets that
    select are historical all the same.
    """
    steps = setting.history
    train = setting.all_steps if objective != "erm" and setting.options.history_steps == "all" else steps
    return Stage("history", "start", train, steps, plain(setting).grid, objective=objective)


def fine_tuning(objective: Objective) -> Callable[[Setting], Node]:
    """The recipe that starts from history under one objective and adapts to the final step with plain risk."""

    def build(setting: Setting) -> Node:
        start = history_stage(setting, objective)
        layers = parse_layers(setting.options.layers, setting.num_blocks, 1, sequential=False)
        return adapt(setting, start, setting.final_step, layers[0], (start,))

    return build


for method in ("erm_fine_tune", "erm_linear_probe_fine_tune", "erm_side_tune", "erm_side_tune_block"):
    recipe(method)(fine_tuning("erm"))
recipe("irm_fine_tune")(fine_tuning("irm"))
recipe("dro_fine_tune")(fine_tuning("dro"))

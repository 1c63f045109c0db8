"""The joint model over time: one network a time step, all trained together (joint spec)."""

from dataclasses import replace

from seqfinal_jax.methods.joint_options import EFFICIENT_SWEEP, SEARCH_EPOCHS, adjacent_strengths, joint_terms
from seqfinal_jax.methods.layer_language import layer_groups, layer_subsets
from seqfinal_jax.methods.recipe import Choice, Form, Node, Setting, Stage, recipe


def joint_stage(setting: Setting, separate: str) -> Stage:
    """All steps at once with the layers `separate` of their own; the final step's validation set selects."""
    options, joint = setting.options, setting.options.joint
    form = Form(
        joint.mode,
        setting.num_steps,
        options.side,
        options.adapter,
        options.all_layers_efficient,
        separate=separate,
    )
    grid = replace(setting.joint_grid, adjacent=adjacent_strengths(joint, setting.joint_grid.adjacent))
    if joint.increasing:  # the weights of all steps are given then
        grid = replace(grid, final_weight=(1.0,))
    if joint.sweep:
        grid = replace(grid, efficient_decay=EFFICIENT_SWEEP)
    last = (setting.final_step,)
    return Stage(
        "joint", "final", setting.all_steps, last, grid, "joint", form=form, joint=joint_terms(joint)
    )


def searched_stage(setting: Setting, separate: tuple[str, ...]) -> Stage:
    """One subset of the layer search: a single grid point without dropout, half the epochs (joint spec, section 4)."""
    groups = layer_groups(setting.num_blocks)
    stage = joint_stage(setting, "all" if separate == groups else ",".join(separate))
    strength = adjacent_strengths(setting.options.joint, (), search=True)
    grid = replace(stage.grid, adjacent=strength, dropout=(0.0,), final_weight=(1.0,))
    return replace(stage, name="joint-search", grid=grid, max_epochs=SEARCH_EPOCHS)


def joint(setting: Setting) -> Node:
    """The joint model, or with `separate_layers` "search" the best of all subsets of layers."""
    if setting.options.joint.separate != "search":
        return joint_stage(setting, setting.options.joint.separate)
    subsets = layer_subsets(layer_groups(setting.num_blocks))
    return Choice(tuple(searched_stage(setting, subset) for subset in subsets))


for method in ("joint", "joint_side_tune", "joint_side_tune_block"):
    recipe(method)(joint)

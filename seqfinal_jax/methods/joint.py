"""The joint model over time: one network a time step, all trained together (joint-model spec)."""

from dataclasses import replace

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.joint_options import (
    EFFICIENT_SWEEP,
    SEARCH_EPOCHS,
    JointOptions,
    adjacent_strengths,
    joint_terms,
)
from seqfinal_jax.methods.layer_language import layer_groups, layer_subsets
from seqfinal_jax.methods.recipe import Form, Resume, Setting, Stage, recipe


def joint(setting: Setting) -> Stage:
    """All steps at once; the final step's validation set selects. With `separate_layers` "search" see `layer_search`."""
    options, last = setting.options.joint, (setting.final_step,)
    stage = Stage(
        "joint", "final", setting.all_steps, last, joint_grid(setting), "joint", form=joint_form(setting),
        joint=joint_terms(options), variant="main" if options.samples == "all" else options.samples,
    )  # fmt: skip
    if options.separate == "search":
        stage = layer_search(setting, stage)
    return resumed(stage, options) if options.resume_to else stage


def resumed(stage: Stage, options: JointOptions) -> Stage:
    """The winner trained on to more epochs with another patience. Of equal name, so its random streams go on too."""
    resume = Resume(options.resume_to, options.resume_patience)
    return replace(stage, start=replace(stage, role="start"), resume=resume)


def joint_form(setting: Setting) -> Form:
    """The networks of all steps; in a layer search every layer has a version for every step."""
    options, joint = setting.options, setting.options.joint
    separate = "all" if joint.separate == "search" else joint.separate
    return Form(
        joint.mode,
        setting.num_steps,
        options.side,
        options.adapter,
        options.all_layers_efficient,
        separate=separate,
        ablate=joint.ablate,
        same_init=joint.same_init,
    )


def joint_grid(setting: Setting) -> Grid:
    """The grid, with the strengths that the penalty's type calls for."""
    joint = setting.options.joint
    grid = replace(setting.joint_grid, adjacent=adjacent_strengths(joint, setting.joint_grid.adjacent))
    if joint.increasing:  # the weights of all steps are given then
        grid = replace(grid, final_weight=(1.0,))
    return replace(grid, efficient_decay=EFFICIENT_SWEEP) if joint.sweep else grid


def layer_search(setting: Setting, stage: Stage) -> Stage:
    """Every non-empty subset of layers separate, the others shared: one grid point without dropout, fewer epochs.

    (Joint-model spec, section 4.) The subsets are members of one fit: which version a step uses is data.
    """
    strength = adjacent_strengths(setting.options.joint, (), search=True)
    grid = replace(stage.grid, adjacent=strength, dropout=(0.0,), final_weight=(1.0,))
    subsets = layer_subsets(layer_groups(setting.num_blocks))
    return replace(stage, name="joint-search", grid=grid, layers=subsets, max_epochs=SEARCH_EPOCHS)


for method in ("joint", "joint_side_tune", "joint_side_tune_block"):
    recipe(method)(joint)

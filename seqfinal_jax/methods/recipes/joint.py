"""The joint model over time: one network per time step, all trained together (joint-model spec)."""

from dataclasses import replace

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.joint_options import (
    EFFICIENT_SWEEP,
    SEARCH_EPOCHS,
    JointOptions,
    adjacent_strengths,
    check_joint,
)
from seqfinal_jax.methods.method import JOINT, Method, method
from seqfinal_jax.methods.nodes import Resume, Stage, StepForm
from seqfinal_jax.methods.options import Options
from seqfinal_jax.methods.recipes.adapt import MODULES
from seqfinal_jax.methods.recipes.layer_language import layer_groups, layer_subsets
from seqfinal_jax.methods.recipes.naming import joint_name
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.objectives import JointSteps


def refused(record: Method, options: Options) -> str | None:
    """Why a joint model cannot be built with these options, or None."""
    return check_joint(options.joint, record.id)


def lacks(setting: Setting) -> str | None:
    """Why a joint model is left out, or None."""
    if setting.options.pretrained and setting.options.joint.mode != "separate":
        return "the joint model starts from the weights of config.pretrained in mode 'separate' only"
    return None


def joint_method(id: str, **record: object) -> object:
    """Registers a method of the joint family."""
    return method(id, family=JOINT, published=True, naming=joint_name, refuses=refused, lacks=lacks, **record)


@joint_method(
    "joint", column="JM", legend="joint model", aliases=("joint_model_adjacent_reg_l2",),
    options=("joint", *MODULES),
)  # fmt: skip
def joint(setting: Setting) -> Stage:
    """A network for each step, all trained at once, neighbours tied by an l2 penalty."""
    options, last = setting.options.joint, (setting.final_step,)
    stage = Stage(
        "joint", "final", setting.all_steps, last, joint_grid(setting), joint_objective(options),
        form=joint_form(setting), variant="main" if options.loss_samples == "all" else options.loss_samples,
    )  # fmt: skip
    if options.separate_layers == "search":
        stage = layer_search(setting, stage)
    return resumed(stage, options) if options.resume_to_epochs else stage


def resumed(stage: Stage, options: JointOptions) -> Stage:
    """The best training, continued for more epochs with another patience; the same name continues its random streams."""
    resume = Resume(options.resume_to_epochs, options.resume_patience)
    return replace(stage, start=replace(stage, role="start"), resume=resume)


def joint_form(setting: Setting) -> StepForm:
    """The networks of all steps; in a layer search every layer has a version for every step."""
    options, joint = setting.options, setting.options.joint
    separate = "all" if joint.separate_layers == "search" else joint.separate_layers
    return StepForm(
        joint.mode,
        setting.num_steps,
        options.side,
        options.adapter,
        options.all_layers_efficient,
        separate=separate,
        ablate=joint.ablate,
        same_init=joint.same_init_over_time,
    )


def joint_grid(setting: Setting) -> Grid:
    """The grid, with the strengths that belong to the penalty's type."""
    joint = setting.options.joint
    grid = replace(setting.joint_grid, adjacent=adjacent_strengths(joint, setting.joint_grid.adjacent))
    if joint.increasing_loss_weights:  # the weights of all steps are given then
        grid = replace(grid, final_weight=(1.0,))
    return replace(grid, efficient_decay=EFFICIENT_SWEEP) if joint.sweep_efficient_penalty else grid


def layer_search(setting: Setting, stage: Stage) -> Stage:
    """Every non-empty subset of layers separate, the others shared: one grid point without dropout, fewer epochs.

    (Joint-model spec, section 4.) The subsets are trainings of one stage, because the versions that a step uses are data.
    """
    strength = adjacent_strengths(setting.options.joint, (), search=True)
    grid = replace(stage.grid, adjacent=strength, dropout=(0.0,), final_weight=(1.0,))
    subsets = layer_subsets(layer_groups(setting.num_blocks))
    return replace(stage, name="joint-search", grid=grid, layers=subsets, max_epochs=SEARCH_EPOCHS)


def joint_objective(options: JointOptions) -> JointSteps:
    """The terms of the objective."""
    fisher = options.adjacent_penalty == "l2_fisher"
    return JointSteps(
        power=1 if options.adjacent_penalty == "l1" else 2,
        by_time=options.penalty_by_time,
        increasing=options.increasing_loss_weights,
        fisher=fisher,
        per_sample=fisher and options.fisher == "per_sample_ce",
    )


@joint_method(
    "joint_side_tune", column="JST-1", legend="joint with side layer",
    aliases=("joint_model_side_tune_adjacent_reg_none",), options=("joint", "side"),
    fixed={"joint.mode": "side_tune", "joint.adjacent_penalty": "none", "all_layers_efficient": True},
)  # fmt: skip
def joint_side_tune(setting: Setting) -> Stage:
    """The joint model whose later steps add side modules of one convolution to all layers; no adjacent penalty."""
    return joint(setting)


@joint_method(
    "joint_side_tune_block", column="JST-B", legend="joint with side block",
    aliases=("joint_model_side_tune_block_adjacent_reg_none",), options=("joint",),
    fixed={
        "joint.mode": "side_tune", "joint.adjacent_penalty": "none", "all_layers_efficient": True, "side": "block",
    },
)  # fmt: skip
def joint_side_tune_block(setting: Setting) -> Stage:
    """The joint model whose later steps add whole blocks to all layers; no adjacent penalty."""
    return joint(setting)

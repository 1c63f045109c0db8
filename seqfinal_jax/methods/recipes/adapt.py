"""Adapting a model to one more time step: the piece that fine-tuning and sequential methods share."""

from dataclasses import replace

from seqfinal_jax.methods.method import Method
from seqfinal_jax.methods.nodes import LayerSets, Node, Stage, StepForm
from seqfinal_jax.methods.options import USING_JOINT, Options
from seqfinal_jax.methods.recipes.layer_language import StepLayers, layer_groups, layer_subsets
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.objectives import Anchored, LastStep, Pooled

USING_JOINT_GRID = (1e-4, 1e-2)
TUNING = ("layers", "regularization", "mode", "ablate_init")
MODULES = ("side", "adapter", "all_layers_efficient")


def adapt(setting: Setting, start: Node, step: int, layers: StepLayers, past: tuple[Node, ...]) -> Node:
    """The last stage of adapting `start` to time step `step`.

    layers: the layers to tune, in standard mode. past: the models of all earlier phases or steps, for penalties towards
    them.
    """
    if setting.options.mode != "standard":
        return _last_slot(setting, start, step, len(past))
    node, count = start, max(1, len(layers.stages))
    for place, sets in enumerate(layer_sets(layers, setting.num_blocks)):
        options, last = setting.options, place == count - 1
        node = Stage(
            name=stage_name(setting, step) + ("" if last else f"-{place + 1}of{count}"),
            role="final" if last else "probe",
            train=(step,),
            valid=(step,),
            grid=setting.plain_grid,
            objective=tuning_objective(setting),
            start=node,
            anchors=anchors(setting, past),
            fresh=options.ablate_init and place == 0,
            layers=sets,
        )
    return node


def stage_name(setting: Setting, step: int) -> str:
    """The name of the random streams of a step's training; the final step has those of `erm_final`."""
    return "final" if step == setting.final_step else f"step{step}"


def layer_sets(layers: StepLayers, num_blocks: int) -> list[LayerSets]:
    """For every stage, the sets of layers among which it chooses; empty for all layers."""
    groups = layer_groups(num_blocks)
    if layers.kind == "search":
        return [layer_subsets(groups)]
    if layers.kind != "stages":
        return [layers.kind]
    return [() if stage == groups else (stage,) for stage in layers.stages]


def tuning_objective(setting: Setting) -> Pooled:
    """Plain risk, or a penalty towards earlier models in place of weight decay, by `regularization`."""
    kind = setting.options.regularization
    if kind == "standard":
        return Pooled()
    if kind == "fisher_all":
        return Anchored(weighted=True, places=setting.final_step)
    return Anchored(power=1 if kind == "previous_l1" else 2, weighted=kind == "fisher")


def anchors(setting: Setting, past: tuple[Node, ...]) -> tuple[Node, ...]:
    """The models towards which the penalty pulls: none, the last one, or all."""
    kind = setting.options.regularization
    return () if kind == "standard" else past if kind == "fisher_all" else past[-1:]


def _last_slot(setting: Setting, start: Node, step: int, slots: int) -> Stage:
    """One stage that trains the last step of a per-step network; all earlier slots come from `start`."""
    options, grid = setting.options, setting.grid
    if options.mode in USING_JOINT:
        tied = options.mode.endswith("prev_reg")
        previous = "with_init" in options.mode
        form = StepForm("separate", slots + 1, init_last="previous" if previous else "fresh")
        decay = (0.0,) if tied else grid.weight_decay
        grid = replace(grid, weight_decay=decay, adjacent=USING_JOINT_GRID if tied else (0.0,))
    else:
        form = StepForm(options.mode, slots + 1, options.side, options.adapter, options.all_layers_efficient)
    name, steps = stage_name(setting, step), (step,)
    return Stage(
        name, "final", train=steps, valid=steps, grid=grid, objective=LastStep(), start=start, form=form
    )


def refused_options(record: Method, options: Options) -> str | None:
    """Why a method cannot be built with options that adapt a model, or None."""
    if options.ablate_init and options.mode != "standard":
        return f"config.fine_tune.ablate_init does not work with method {record.id} in mode {options.mode!r}"
    if options.ablate_init and options.regularization == "standard":
        return (
            "config.fine_tune.ablate_init needs config.fine_tune.regularization other than 'standard': "
            "without it nothing would link the steps"
        )
    if options.mode == "low_rank_adapt" and (options.adapter is None or options.adapter.rank < 1):
        return "config.fine_tune.mode = 'low_rank_adapt' needs config.adapter.rank of at least 1"
    return None


def standard_mode_only(record: Method, options: Options) -> str | None:
    """Why a method that supports only the mode "standard" cannot be built, or None."""
    if options.mode != "standard":
        return (
            f"config.fine_tune.mode = {options.mode!r} works with erm_fine_tune and sequential_fine_tune_none, not "
            f"with method {record.id}; leave the method out, or set the mode to 'standard'"
        )
    return refused_options(record, options)

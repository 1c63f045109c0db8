"""Adapting a model to one more time step: the piece that fine-tuning and sequential methods share."""

from dataclasses import replace

from seqfinal_jax.methods.layer_language import StepLayers, layer_groups, layer_subsets
from seqfinal_jax.methods.options import USING_JOINT
from seqfinal_jax.methods.recipe import Form, LayerSets, Node, Penalty, Setting, Stage
from seqfinal_jax.methods.single import plain

USING_JOINT_GRID = (1e-4, 1e-2)


def adapt(setting: Setting, start: Node, step: int, layers: StepLayers, past: tuple[Node, ...]) -> Node:
    """The last stage of adapting `start` to time step `step`.

    layers: what is tuned, in standard mode. past: the models of all earlier phases or steps, for penalties towards
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
            grid=plain(setting).grid,
            start=node,
            fresh=options.ablate_init and place == 0,
            layers=sets,
            penalty=penalty(setting, past),
        )
    return node


def stage_name(setting: Setting, step: int) -> str:
    """Names the random streams of a step's training: the final step's are those of `erm_final`."""
    return "final" if step == setting.final_step else f"step{step}"


def layer_sets(layers: StepLayers, num_blocks: int) -> list[LayerSets]:
    """For every stage the sets of layers that compete in it; empty for all layers."""
    groups = layer_groups(num_blocks)
    if layers.kind == "search":
        return [layer_subsets(groups)]
    if layers.kind != "stages":
        return [layers.kind]
    return [() if stage == groups else (stage,) for stage in layers.stages]


def penalty(setting: Setting, past: tuple[Node, ...]) -> Penalty | None:
    """What takes the place of weight decay, by `regularization`."""
    kind = setting.options.regularization
    if kind == "standard":
        return None
    if kind == "fisher_all":
        return Penalty(past, fisher=True, places=setting.final_step)
    return Penalty(past[-1:], power=1 if kind == "previous_l1" else 2, fisher=kind == "fisher")


def _last_slot(setting: Setting, start: Node, step: int, slots: int) -> Stage:
    """One stage that trains the last step of a per-step network; all earlier slots come from `start`."""
    options, grid = setting.options, setting.grid
    if options.mode in USING_JOINT:
        tied = options.mode.endswith("prev_reg")
        previous = "with_init" in options.mode
        form = Form("separate", slots + 1, init_last="previous" if previous else "fresh")
        decay = (0.0,) if tied else grid.weight_decay
        grid = replace(grid, weight_decay=decay, adjacent=USING_JOINT_GRID if tied else (0.0,))
    else:
        form = Form(options.mode, slots + 1, options.side, options.adapter, options.all_layers_efficient)
    name = stage_name(setting, step)
    return Stage(name, "final", train=(step,), valid=(step,), grid=grid, start=start, form=form)

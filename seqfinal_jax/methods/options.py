"""The options of methods that a user sets, and how they affect a method (single-model spec, section 4.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from seqfinal_jax.methods.joint_options import JointOptions
from seqfinal_jax.models.per_step.low_rank import Adapter
from seqfinal_jax.models.per_step.side import SideSizes

USING_JOINT = (
    "standard_using_joint",
    "standard_using_joint_with_init",
    "standard_using_joint_with_prev_reg",
    "standard_using_joint_with_init_and_prev_reg",
)
MODES = ("standard", "side_tune", "low_rank_adapt", *USING_JOINT)
REGULARIZATIONS = ("standard", "previous", "previous_l1", "fisher", "fisher_all")


@dataclass(frozen=True)
class Options:
    """How a model is adapted. The first group comes from `config.fine_tune` and its neighbours, the last from the
    protocol (docs/options.md, docs/protocols.md)."""

    layers: str = "all"
    regularization: str = "standard"
    mode: str = "standard"
    ablate_init: bool = False
    side: SideSizes = ()
    adapter: Adapter | None = None
    all_layers_efficient: bool = False
    normalise_time_weights: bool = False
    history_steps: Literal["history", "all"] = "history"
    decay_selection: Literal["validation", "test"] = "validation"
    pretrained: Literal["", "imagenet", "checkpoint"] = ""
    joint: JointOptions = JointOptions()


# What acts on every method: the protocol, and what random weights are replaced by.
GENERAL = ("history_steps", "decay_selection", "pretrained")


def effective(options: Options, reached: Iterable[str], fixed: Mapping[str, Any]) -> Options:
    """The options that a method uses: options that it does not use have their defaults, fixed ones their fixed values.

    `fixed` names options of the joint model as "joint.<name>".
    """
    kept = {name: getattr(options, name) for name in {*reached, *GENERAL}}
    own = {name: value for name, value in fixed.items() if not name.startswith("joint.")}
    joint = {name.removeprefix("joint."): value for name, value in fixed.items() if name not in own}
    found = replace(Options(**kept), **own)
    found = replace(found, joint=_in_force(replace(found.joint, **joint)))
    return _by_mode(found, found.joint.mode if "joint" in reached else found.mode)


def _by_mode(options: Options, mode: str) -> Options:
    """Side sizes only where side modules are added, adapters only where there are some."""
    if mode != "side_tune":
        options = replace(options, side=())
    if mode != "low_rank_adapt":
        options = replace(options, adapter=None)
    if mode not in ("side_tune", "low_rank_adapt"):
        options = replace(options, all_layers_efficient=False)
    return options


def _in_force(joint: JointOptions) -> JointOptions:
    """What depends on another option of the joint model, at its default where that is off."""
    if not joint.resume_to_epochs:
        joint = replace(joint, resume_patience=JointOptions.resume_patience)
    if joint.adjacent_penalty != "l2_fisher":
        joint = replace(joint, fisher=JointOptions.fisher)
    return joint


def changed(options: Options) -> dict[str, Any]:
    """The options that differ from their defaults, by name."""
    pairs = ((f.name, getattr(options, f.name), f.default) for f in fields(Options))
    return {name: value for name, value, default in pairs if value != default and name not in GENERAL}

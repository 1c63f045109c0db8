"""Ids of methods with what their options change (single-model spec, section 6; joint-model spec, section 6)."""

from collections.abc import Callable

from seqfinal_jax.methods.joint_options import JointOptions, joint_suffix
from seqfinal_jax.methods.method import Method
from seqfinal_jax.methods.options import USING_JOINT, Options
from seqfinal_jax.methods.recipes.layer_language import layers_name, parse_layers
from seqfinal_jax.models.per_step.side import SideSizes

Naming = Callable[[Method, Options, int], str]

REGULARIZED = {
    "standard": "", "previous": "_reg_previous", "previous_l1": "_l1_reg_previous",
    "fisher": "_reg_previous_fisher", "fisher_all": "_reg_all_previous_fisher",
}  # fmt: skip


def start_name(options: Options) -> str:
    """The end of an id that names the start weights."""
    return f"_start_with_{options.pretrained}" if options.pretrained else ""


def fixed_name(record: Method, options: Options, num_blocks: int) -> str:
    """The id of a method whose name fixes its options."""
    return record.id + start_name(options)


def adapted_name(first: str, tuned: str, decay: str = "") -> Naming:
    """The naming of methods that adapt a model.

    first: the word that ids begin with ("erm", "sequential"). tuned: the id of the method that tunes all layers.
    decay: the end of `tuned` that names a decay of learning rates.
    """

    def name(record: Method, options: Options, num_blocks: int) -> str:
        if options.mode == "standard":
            found = _standard_name(options, first, tuned, decay, num_blocks)
        elif options.mode == "side_tune":
            found = f"{first}_side_tune{side_name(options.side)}"
        elif options.mode == "low_rank_adapt":
            found = f"{first}_low_rank_adapt_{options.adapter.mode}_rank{options.adapter.rank}"
            found += "_identity" if options.adapter.init == "identity" else ""
        else:
            found = _using_joint_name(first, options.mode)
        return found + ("_all_efficient" if options.all_layers_efficient else "") + start_name(options)

    return name


def _standard_name(options: Options, first: str, tuned: str, decay: str, num_blocks: int) -> str:
    name, sequential = tuned, first == "sequential"
    if options.layers != "all":
        steps = parse_layers(options.layers, num_blocks, max(1, options.layers.count(":") + 1), sequential)
        name = f"{first}_{layers_name(steps, num_blocks)}{decay}"
    return name + ("_ablate_init" if options.ablate_init else "") + REGULARIZED[options.regularization]


def side_name(side: SideSizes) -> str:
    """ "_block", or how many layers of which sizes; empty for a single convolution."""
    if side == "block":
        return "_block"
    return f"_{len(side) + 1}layers_size{','.join(map(str, side))}" if side else ""


def _using_joint_name(first: str, mode: str) -> str:
    if first == "sequential":
        names = ("sequential_fine_tune_from_scratch_using_frozen_joint", "sequential_fine_tune_using_frozen_joint",
                 "sequential_fine_tune_reg_previous_using_frozen_joint_ablate_init",
                 "sequential_fine_tune_reg_previous_using_frozen_joint")  # fmt: skip
    else:
        stem = "erm_fine_tune_using_frozen_joint_adjacent_reg"
        names = ("erm_final_using_frozen_joint", f"{stem}_none", f"{stem}_l2_ablate_init", f"{stem}_l2")
    return names[USING_JOINT.index(mode)]


def joint_name(record: Method, options: Options, num_blocks: int) -> str:
    """The id of a joint model."""
    joint, name = options.joint, "joint"
    if joint.mode == "side_tune":
        name += f"_side_tune{side_name(options.side)}"
    elif joint.mode == "low_rank_adapt":
        name += f"_low_rank_{options.adapter.mode}_rank{options.adapter.rank}"
        name += "_identity" if options.adapter.init == "identity" else ""
    if joint.mode != "separate" and options.all_layers_efficient != record.fixed.get(
        "all_layers_efficient", False
    ):
        name += "_all_efficient"
    usual = record.fixed.get("joint.adjacent_penalty", JointOptions.adjacent_penalty)
    return name + joint_suffix(joint, JointOptions(adjacent_penalty=usual)) + start_name(options)

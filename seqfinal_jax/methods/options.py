"""The options of fine-tuning methods, which methods they reach, and the rules between them (spec 4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from seqfinal_jax.methods.joint_options import JointOptions, check_joint, joint_suffix
from seqfinal_jax.methods.layer_language import layers_name, parse_layers
from seqfinal_jax.models.low_rank import Adapter
from seqfinal_jax.models.side import SideSizes

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
    pretrained: bool = False
    joint: JointOptions = JointOptions()


TUNED = ("erm_fine_tune", "irm_fine_tune", "dro_fine_tune")
CHAINS = ("sequential_fine_tune_linear", "sequential_fine_tune_exponential")
FOLLOWING = ("sequential_fine_tune", "sequential_fine_tune_none", *CHAINS)
SIDE = ("erm_side_tune", "sequential_side_tune", "joint_side_tune")
JOINT = ("joint", "joint_side_tune", "joint_side_tune_block")
SEQUENTIAL = (*FOLLOWING, "sequential_ewc", "sequential_side_tune", "sequential_side_tune_block")

# What a method's name settles, whatever the options say.
FIXED: dict[str, dict[str, object]] = {
    "erm_linear_probe_fine_tune": {"layers": "linear_probe_fine_tune"},
    "erm_side_tune": {"mode": "side_tune"},
    "erm_side_tune_block": {"mode": "side_tune", "side": "block"},
    "sequential_ewc": {"regularization": "fisher_all"},
    "sequential_side_tune": {"mode": "side_tune"},
    "sequential_side_tune_block": {"mode": "side_tune", "side": "block"},
}
JOINT_FIXED: dict[str, dict[str, object]] = {
    "joint_side_tune": {"mode": "side_tune", "adjacent": "none"},
    "joint_side_tune_block": {"mode": "side_tune", "adjacent": "none"},
}
PROTOCOL_FIELDS = ("history_steps", "decay_selection")
UNCHANGED = Options(adapter=Adapter("add", 1))

# The configuration's names of the options.
CONFIG_FIELDS = {
    "layers": "fine_tune.layers", "regularization": "fine_tune.regularization", "mode": "fine_tune.mode",
    "ablate_init": "fine_tune.ablate_init", "side": "side.layer_sizes", "adapter": "adapter",
    "normalise_time_weights": "training.normalise_time_weights", "pretrained": "pretrained.resnet18",
    "joint.separate": "joint.separate_layers", "joint.adjacent": "joint.adjacent_penalty",
    "joint.by_time": "joint.penalty_by_time", "joint.increasing": "joint.increasing_loss_weights",
    "joint.samples": "joint.loss_samples", "joint.sweep": "joint.sweep_efficient_penalty",
    "joint.same_init": "joint.same_init_over_time", "joint.resume_to": "joint.resume_to_epochs",
}  # fmt: skip


def reached(method: str) -> frozenset[str]:
    """The names of the options that change a method, from those that a user sets."""
    names = {"pretrained"}
    if method in (*TUNED, *FOLLOWING):
        names |= {"layers", "regularization", "mode", "ablate_init"}
        if method in ("erm_fine_tune", "sequential_fine_tune", "sequential_fine_tune_none"):
            names |= {"side", "adapter", "all_layers_efficient"}
    if method in SIDE:
        names |= {"side", "all_layers_efficient"}
    if method in JOINT:
        names |= {"joint"}
    if method == "joint":
        names |= {"side", "adapter", "all_layers_efficient"}
    if method in ("erm_side_tune_block", "sequential_side_tune_block"):
        names |= {"all_layers_efficient"}
    if method == "erm_all_weighted":
        names |= {"normalise_time_weights"}
    return frozenset(names)


def effective(method: str, options: Options) -> Options:
    """The options as they act on a method: what does not reach it is at its default, what its name fixes is fixed."""
    kept = {name: getattr(options, name) for name in (*reached(method), *PROTOCOL_FIELDS)}
    found = replace(Options(**kept), **FIXED.get(method, {}))
    if method in JOINT:
        return _effective_joint(method, found)
    if found.mode != "side_tune":
        found = replace(found, side=())
    if found.mode != "low_rank_adapt":
        found = replace(found, adapter=None)
    if found.mode not in ("side_tune", "low_rank_adapt"):
        found = replace(found, all_layers_efficient=False)
    return found


def _effective_joint(method: str, options: Options) -> Options:
    joint = replace(options.joint, **JOINT_FIXED.get(method, {}))
    if not joint.resume_to:
        joint = replace(joint, resume_patience=JointOptions.resume_patience)
    if joint.adjacent != "l2_fisher":
        joint = replace(joint, fisher=JointOptions.fisher)
    named = method != "joint"
    return replace(
        options,
        joint=joint,
        side="block" if method.endswith("block") else options.side if joint.mode == "side_tune" else (),
        adapter=options.adapter if joint.mode == "low_rank_adapt" else None,
        all_layers_efficient=named or (options.all_layers_efficient and joint.mode != "separate"),
    )


def each_option(options: Options) -> dict[str, object]:
    """All that a user sets, by name; the joint model's as "joint.<name>"."""
    own = {f.name: getattr(options, f.name) for f in fields(Options) if f.name not in PROTOCOL_FIELDS}
    return {**own, **{f"joint.{name}": value for name, value in vars(own.pop("joint")).items()}}


def changed(options: Options) -> frozenset[str]:
    """The names of the options that a user has set to other than their default."""
    default = each_option(UNCHANGED)
    return frozenset(name for name, value in each_option(options).items() if value != default[name])


def unused_options(methods: Sequence[str], options: Options) -> list[str]:
    """Options that have been set and act on none of the methods, by the configuration's names."""
    asked = each_option(options)
    acting = [each_option(effective(method, options)) for method in methods]
    lost = [name for name in changed(options) if all(each[name] != asked[name] for each in acting)]
    return sorted(f"config.{CONFIG_FIELDS.get(name, name)}" for name in lost)


def check_options(method: str, options: Options) -> None:
    """Raises ValueError for a combination that a method does not allow."""
    found = effective(method, options)
    ask = f"method {method}"
    if method in JOINT:
        check_joint(found.joint, method)
    if found.mode != "standard" and method in ("irm_fine_tune", "dro_fine_tune", *CHAINS):
        raise ValueError(
            f"config.fine_tune.mode = {found.mode!r} works with erm_fine_tune and sequential_fine_tune_none, not with "
            f"{ask}; leave the method out, or set the mode to 'standard'"
        )
    if found.regularization == "fisher_all" and method in TUNED:
        raise ValueError(
            f"config.fine_tune.regularization = 'fisher_all' is for sequential methods; for {ask} take 'fisher'"
        )
    if found.ablate_init and (method in ("irm_fine_tune", "dro_fine_tune") or found.mode != "standard"):
        raise ValueError(f"config.fine_tune.ablate_init does not work with {ask} in mode {found.mode!r}")
    if found.ablate_init and found.regularization == "standard":
        raise ValueError(
            "config.fine_tune.ablate_init needs config.fine_tune.regularization other than 'standard': "
            "without it nothing would link the steps"
        )
    if found.mode == "low_rank_adapt" and (found.adapter is None or found.adapter.rank < 1):
        raise ValueError("config.fine_tune.mode = 'low_rank_adapt' needs config.adapter.rank of at least 1")


def idle_options(method: str, options: Options) -> list[str]:
    """Options that have been set and do nothing in a method's mode: to be warned of."""
    if method in JOINT or effective(method, options).mode == "standard":
        return []
    return sorted({"layers", "regularization"} & reached(method) & changed(options))


def derived_id(method: str, options: Options, num_blocks: int) -> str:
    """The method's id with what the options change (single-model spec, section 6); itself where they change nothing."""
    found, sequential = effective(method, options), method in SEQUENTIAL
    if method in JOINT:
        return _joint_id(method, found)
    if method in FIXED and "mode" not in FIXED[method]:
        return method + ("_start_with_imagenet" if found.pretrained else "")
    first = "sequential" if sequential else method.split("_")[0]
    if found.mode == "standard":
        name = _standard_id(method, found, first, num_blocks, sequential)
    elif found.mode == "side_tune":
        name = f"{first}_side_tune{_side_name(found.side)}"
    elif found.mode == "low_rank_adapt":
        name = f"{first}_low_rank_adapt_{found.adapter.mode}_rank{found.adapter.rank}"
        name += "_identity" if found.adapter.init == "identity" else ""
    else:
        name = _using_joint_id(first, found.mode)
    name += "_all_efficient" if found.all_layers_efficient else ""
    name += "_normalised" if found.normalise_time_weights else ""
    return name + ("_start_with_imagenet" if found.pretrained else "")


def _joint_id(method: str, options: Options) -> str:
    joint, name = options.joint, "joint"
    if joint.mode == "side_tune":
        name += f"_side_tune{_side_name(options.side)}"
    elif joint.mode == "low_rank_adapt":
        name += f"_low_rank_{options.adapter.mode}_rank{options.adapter.rank}"
        name += "_identity" if options.adapter.init == "identity" else ""
    named = method != "joint"
    if joint.mode != "separate" and options.all_layers_efficient != named:
        name += "_all_efficient"
    default = JointOptions(adjacent="none" if named else "l2")
    name += joint_suffix(joint, default)
    return name + ("_start_with_imagenet" if options.pretrained else "")


REGULARIZED = {
    "standard": "", "previous": "_reg_previous", "previous_l1": "_l1_reg_previous",
    "fisher": "_reg_previous_fisher", "fisher_all": "_reg_all_previous_fisher",
}  # fmt: skip


def _standard_id(method: str, options: Options, first: str, num_blocks: int, sequential: bool) -> str:
    if options.layers == "all":
        name = method
    else:
        steps = parse_layers(options.layers, num_blocks, max(1, options.layers.count(":") + 1), sequential)
        name = f"{first}_{layers_name(steps, num_blocks)}"
        name += method.removeprefix("sequential_fine_tune") if sequential else ""
    return name + ("_ablate_init" if options.ablate_init else "") + REGULARIZED[options.regularization]


def _side_name(side: SideSizes) -> str:
    if side == "block":
        return "_block"
    return f"_{len(side) + 1}layers_size{','.join(map(str, side))}" if side else ""


def _using_joint_id(first: str, mode: str) -> str:
    if first == "sequential":
        names = ("sequential_fine_tune_from_scratch_using_frozen_joint", "sequential_fine_tune_using_frozen_joint",
                 "sequential_fine_tune_reg_previous_using_frozen_joint_ablate_init",
                 "sequential_fine_tune_reg_previous_using_frozen_joint")  # fmt: skip
    else:
        stem = "erm_fine_tune_using_frozen_joint_adjacent_reg"
        names = ("erm_final_using_frozen_joint", f"{stem}_none", f"{stem}_l2_ablate_init", f"{stem}_l2")
    return names[USING_JOINT.index(mode)]

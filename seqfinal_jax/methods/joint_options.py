"""The options of the joint model, and the part of its id that follows from them."""

from dataclasses import dataclass
from typing import Literal, get_args

from seqfinal_jax.models.per_step.network import Mode

Adjacent = Literal["none", "l2", "l2_high", "l2_very_high", "l1", "l2_fisher"]
Samples = Literal["all", "nearest_neighbours", "optimal_matching"]

Fisher = Literal["batch_sums", "per_sample_ce"]
FISHERS: tuple[str, ...] = get_args(Fisher)
JOINT_MODES: tuple[str, ...] = get_args(Mode)
SAMPLES: tuple[str, ...] = get_args(Samples)

# Strengths of the adjacent penalty that are tried, and the one of the layer search (joint spec, section 1.3).
STRENGTHS: dict[str, tuple[float, ...]] = {
    "none": (0.0,), "l2": (0.01, 0.1, 1.0), "l2_high": (10.0, 100.0, 1000.0), "l2_very_high": (1e4, 1e5, 1e6),
    "l1": (0.01, 0.1, 1.0), "l2_fisher": (0.01, 0.1, 1.0),
}  # fmt: skip
HIGH = ("l2_high", "l2_very_high")
SEARCHED = {"none": 0.0, "l2": 0.1, "l2_high": 10.0, "l2_very_high": 1e4, "l1": 0.1, "l2_fisher": 0.1}
SEARCH_EPOCHS = 50
SWEPT_STRENGTH = 0.1
EFFICIENT_SWEEP = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)


@dataclass(frozen=True)
class JointOptions:
    """The options of the joint model: how the networks of all time steps are tied together (`config.joint`)."""

    mode: Mode = "separate"
    separate: str = "all"
    adjacent: Adjacent = "l2"
    by_time: bool = False
    increasing: bool = False
    samples: Samples = "all"
    ablate: bool = False
    sweep: bool = False
    same_init: bool = False
    fisher: Fisher = "batch_sums"
    resume_to: int = 0
    resume_patience: int = 10


def adjacent_strengths(
    options: JointOptions, asked: tuple[float, ...], search: bool = False
) -> tuple[float, ...]:
    """The strengths to try: the defaults of the type, or those that are set; only 0 for type none.

    Raises ValueError for strengths outside the range of the type, because names of methods contain the type only.
    """
    if search or options.adjacent == "none":
        return (SEARCHED[options.adjacent],)
    if options.sweep:
        return (SWEPT_STRENGTH,)
    usual = STRENGTHS[options.adjacent]
    if options.adjacent in HIGH and any(value < usual[0] for value in asked):
        raise ValueError(
            f"config.joint_grid.adjacent = {asked} is below what adjacent_penalty = {options.adjacent!r} stands for; "
            f"give strengths from {usual[0]:g} on, or () for {', '.join(f'{value:g}' for value in usual)}"
        )
    return asked or usual


def joint_suffix(options: JointOptions, default: JointOptions) -> str:
    """The part of the id after the mode (joint spec, section 6); empty for the method's own defaults."""
    parts = {
        "_ablate": options.ablate,
        "_weight_reg_by_time": options.by_time,
        "_nearest_neighbors_loss": options.samples == "nearest_neighbours",
        "_optimal_matching_loss": options.samples == "optimal_matching",
        "_increasing": options.increasing,
        f"_adjacent_reg_{options.adjacent}": options.adjacent != default.adjacent,
        "_per_sample": options.fisher == "per_sample_ce",
        "_sweep_efficient_reg": options.sweep,
        f"_separate_{options.separate}": options.separate != default.separate,
        "_same_init": options.same_init,
        f"_resumed_to_{options.resume_to}": options.resume_to > 0,
        f"_patience{options.resume_patience}": options.resume_patience != default.resume_patience,
    }
    return "".join(name for name, wanted in parts.items() if wanted)


def check_joint(options: JointOptions, method: str) -> str | None:
    """Why the options of the joint model contradict one another, or None."""
    if options.ablate and options.mode == "separate":
        return f"config.joint.ablate makes added modules without effect, and method {method} in mode 'separate' adds none"
    if options.sweep and options.mode == "separate":
        return (
            "config.joint.sweep_efficient_penalty varies the decay of side modules or adapters, which mode 'separate' "
            "does not have"
        )
    if options.sweep and options.by_time:
        return (
            "config.joint.penalty_by_time weighs all versions by time, so the decay that "
            "config.joint.sweep_efficient_penalty varies acts on none; leave one of them out"
        )
    if options.mode == "separate":
        return None
    if options.adjacent == "l2_fisher":
        return "config.joint.adjacent_penalty = 'l2_fisher' is for mode 'separate' only"
    if options.same_init:
        return "config.joint.same_init_over_time is for mode 'separate' only: elsewhere steps share version 0"
    if options.separate == "search":
        return "config.joint.separate_layers = 'search' is for mode 'separate' only"
    return None

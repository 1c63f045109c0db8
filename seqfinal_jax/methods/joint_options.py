"""The options of the joint model, and the part of its id that follows from them."""

from dataclasses import dataclass
from typing import Literal

from seqfinal_jax.data.matching.links import MEMORY_GIB
from seqfinal_jax.models.per_step.network import Mode
from seqfinal_jax.records.kinds import one, real, whole

Adjacent = Literal["none", "l2", "l2_high", "l2_very_high", "l1", "l2_fisher"]
Samples = Literal["all", "nearest_neighbours", "optimal_matching"]
Fisher = Literal["batch_sums", "per_sample_ce"]

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


# fmt: off
@dataclass(frozen=True)
class JointOptions:
    """The options of the joint model, `config.joint`: how the networks of all time steps are tied together."""

    mode: Mode = one("separate", "What later steps add: weights of their own, side modules, or adapters.")
    separate_layers: str = one("all", "The layers that are separate: `all`, `search`, or names by step.")
    adjacent_penalty: Adjacent = one("l2", "The penalty between the models of consecutive steps.")
    penalty_by_time: bool = one(False, "Makes weight decay grow with the time step.")
    increasing_loss_weights: bool = one(False, "Gives the loss of later steps more weight.")
    loss_samples: Samples = one("all", "Samples of earlier steps: all, or matched to the final ones.")
    ablate: bool = one(False, "Disables what later steps add, as a check.")
    sweep_efficient_penalty: bool = one(False, "Varies the weight decay of side modules or adapters.")
    same_init_over_time: bool = one(False, "Starts all steps from the same random weights.")
    resume_to_epochs: int = one(
        0, "Continues the selected training to this number of epochs; 0: no continuation.", whole(0))
    resume_patience: int = one(10, "The patience while resuming.", whole(0))
    fisher: Fisher = one("batch_sums", "How the penalty `l2_fisher` computes its Fisher weights.")
    matching_memory_gib: float = one(
        MEMORY_GIB, "Memory limit for the distances within one class, in GiB.", real(above=0), everywhere=True)
# fmt: on


def adjacent_strengths(
    options: JointOptions, asked: tuple[float, ...], search: bool = False
) -> tuple[float, ...]:
    """The strengths to try: the defaults of the type, or those that are set; only 0 for type none.

    Raises ValueError for strengths outside the range of the type, because names of methods contain the type only.
    """
    if search or options.adjacent_penalty == "none":
        return (SEARCHED[options.adjacent_penalty],)
    if options.sweep_efficient_penalty:
        return (SWEPT_STRENGTH,)
    penalty = options.adjacent_penalty
    usual = STRENGTHS[penalty]
    if penalty in HIGH and any(value < usual[0] for value in asked):
        raise ValueError(
            f"config.joint_grid.adjacent = {asked} is below what adjacent_penalty = {penalty!r} stands for; "
            f"give strengths from {usual[0]:g} on, or () for {', '.join(f'{value:g}' for value in usual)}"
        )
    return asked or usual


def joint_suffix(options: JointOptions, default: JointOptions) -> str:
    """The part of the id after the mode (joint spec, section 6); empty for the method's own defaults."""
    parts = {
        "_ablate": options.ablate,
        "_weight_reg_by_time": options.penalty_by_time,
        "_nearest_neighbors_loss": options.loss_samples == "nearest_neighbours",
        "_optimal_matching_loss": options.loss_samples == "optimal_matching",
        "_increasing": options.increasing_loss_weights,
        f"_adjacent_reg_{options.adjacent_penalty}": options.adjacent_penalty != default.adjacent_penalty,
        "_per_sample": options.fisher == "per_sample_ce",
        "_sweep_efficient_reg": options.sweep_efficient_penalty,
        f"_separate_{options.separate_layers}": options.separate_layers != default.separate_layers,
        "_same_init": options.same_init_over_time,
        f"_resumed_to_{options.resume_to_epochs}": options.resume_to_epochs > 0,
        f"_patience{options.resume_patience}": options.resume_patience != default.resume_patience,
    }
    return "".join(name for name, wanted in parts.items() if wanted)


def check_joint(options: JointOptions, method: str) -> str | None:
    """Why the options of the joint model contradict one another, or None."""
    if options.ablate and options.mode == "separate":
        return f"config.joint.ablate makes added modules without effect, and method {method} in mode 'separate' adds none"
    if options.sweep_efficient_penalty and options.mode == "separate":
        return (
            "config.joint.sweep_efficient_penalty varies the decay of side modules or adapters, which mode 'separate' "
            "does not have"
        )
    if options.sweep_efficient_penalty and options.penalty_by_time:
        return (
            "config.joint.penalty_by_time weighs all versions by time, so the decay that "
            "config.joint.sweep_efficient_penalty varies acts on none; leave one of them out"
        )
    if options.mode == "separate":
        return None
    if options.adjacent_penalty == "l2_fisher":
        return "config.joint.adjacent_penalty = 'l2_fisher' is for mode 'separate' only"
    if options.same_init_over_time:
        return "config.joint.same_init_over_time is for mode 'separate' only: elsewhere steps share version 0"
    if options.separate_layers == "search":
        return "config.joint.separate_layers = 'search' is for mode 'separate' only"
    return None

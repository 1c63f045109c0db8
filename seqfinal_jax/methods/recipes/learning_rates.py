"""Learning rates that fall from time step to time step (single-model spec, section 2.6)."""

import operator
from dataclasses import dataclass
from itertools import accumulate, repeat

from seqfinal_jax.records.registry import nearest


@dataclass(frozen=True)
class Chain:
    """One pass over all time steps: the rate at the source, and the amount or factor by which it changes per step."""

    start: float
    factor: float


CHAINS: dict[str, tuple[Chain, ...]] = {
    "linear": (Chain(1e-3, 1e-4), Chain(1e-4, 1e-5)),
    "exponential": (Chain(2e-3, 0.5), Chain(2e-4, 0.5), Chain(2e-4, 0.75)),
}
LOWER = {"linear": operator.sub, "exponential": operator.mul}


def decayed_rates(decay: str, num_steps: int) -> tuple[tuple[float, ...], ...]:
    """One tuple per chain, with one learning rate per time step, source included.

    At step t, `linear` has start - t·factor and `exponential` start·factor^t, each computed from the rate of the
    step before. Raises ValueError for another decay, and where a linear chain would come to a rate of 0.
    """
    if decay not in CHAINS:
        raise ValueError(f"unknown learning-rate decay {decay!r}; {nearest(decay, list(CHAINS))}")
    if decay == "linear":
        _check_positive(num_steps)
    return tuple(
        tuple(accumulate(repeat(chain.factor, num_steps - 1), LOWER[decay], initial=chain.start))
        for chain in CHAINS[decay]
    )


def longest_linear() -> int:
    """The most time steps that linear decay allows before a rate reaches 0."""
    return min(round(chain.start / chain.factor) for chain in CHAINS["linear"])


def _check_positive(num_steps: int) -> None:
    longest = longest_linear()
    if num_steps > longest:
        raise ValueError(
            f"linear learning-rate decay reaches 0 at time step {longest}, so it allows at most {longest} time "
            f"steps, and the sequence has {num_steps}; use exponential decay, or none"
        )

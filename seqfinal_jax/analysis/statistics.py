"""Comparisons of methods that share seeds, and how many seeds a claim needs.

All inputs are accuracies as fractions. Differences are paired: the same seed draws the same data for both methods.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

ALPHA = 0.05  # of tests, and what a 95 % interval may miss
EXACT_MOST = 16  # seeds for which every change of signs is counted; more are sampled
SAMPLED = 100_000  # changes of signs that are sampled
ROUNDING = 1e-12  # accuracies are fractions; what is closer than this is a tie
SMALLEST_GAP = 0.02  # of oracle and final step alone; a smaller gap cannot be closed in a meaningful way


@dataclass(frozen=True)
class Comparison:
    """A method against a reference on the seeds that they share.

    difference: the mean over seeds. p: of the sign-flip test. low, high: the 95 % interval, all differences that this
    test does not reject; NaN with fewer than six seeds, with which it can reject none.
    adjusted: p adjusted by Holm for the comparisons made together, p itself for a single one. p and adjusted are NaN for
    fewer than two seeds.
    """

    method: str
    reference: str
    seeds: tuple[int, ...]
    difference: float
    low: float
    high: float
    p: float
    adjusted: float

    def is_called(self, smallest: float = 0.01) -> bool:
        """Whether it may be claimed: the interval excludes 0, the adjusted p is at most 0.05, and it is large enough."""
        excludes = self.low > 0 or self.high < 0
        return excludes and self.adjusted <= ALPHA and abs(self.difference) >= smallest - ROUNDING


def compare(
    accuracies: Mapping[str, Mapping[int, float]], reference: str, methods: Sequence[str]
) -> list[Comparison]:
    """Every method against a reference, each on the seeds that it shares with it, adjusted together.

    accuracies: by method and seed. Methods that share no seed with the reference are left out.
    """
    found = []
    for method in methods:
        shared = sorted(accuracies.get(method, {}).keys() & accuracies.get(reference, {}).keys())
        if shared and method != reference:
            differences = np.array([accuracies[method][s] - accuracies[reference][s] for s in shared])
            mean, p = float(differences.mean()), sign_flip_p(differences)
            interval = sign_flip_interval(differences)
            found.append(Comparison(method, reference, tuple(shared), mean, *interval, p, p))
    return adjusted_together(found)


def adjusted_together(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons with their p adjusted by Holm for each other."""
    adjusted = holm([each.p for each in comparisons])
    return [replace(each, adjusted=p) for each, p in zip(comparisons, adjusted, strict=True)]


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p of the hypothesis that differences are as likely to have either sign (Fisher 1935, section 21).

    Exact up to 16 differences, from 100,000 random changes of signs beyond; NaN for fewer than two.
    """
    if len(differences) < 2:
        return math.nan
    low, high, observed = _split_bounds(differences)
    as_large = np.count_nonzero((low <= ROUNDING) & (high >= -ROUNDING))
    return float((as_large + observed) / (len(low) + observed))


def sign_flip_interval(differences: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean that inverts `sign_flip_p`: all shifts whose removal leaves p above 0.05.

    It excludes 0 exactly where p is at most 0.05. NaN where every shift is accepted, as with fewer than six differences.
    (Lehmann and Romano 2005, Testing Statistical Hypotheses, section 3.5: confidence sets from tests.)
    """
    if len(differences) < 2:
        return math.nan, math.nan
    low, high, observed = _split_bounds(differences)
    # p of a shift is (count + observed) / (len + observed), where count is of the splits whose bounds enclose it.
    needed = math.floor(ALPHA * (len(low) + observed)) - observed + 1
    ends = np.sort(low)[needed - 1], np.sort(high)[-needed]
    if not all(map(math.isfinite, ends)):
        return math.nan, math.nan
    first, last = (0.0 if abs(end) <= ROUNDING else float(end) for end in ends)
    return first, last


def _split_bounds(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """For every change of signs the shifts between which it counts as large as no change: low (m,), high (m,).

    A change of signs splits the differences in two parts. With a shift taken from all, the sum after the change is at
    least as large, without regard to its sign, as the sum before exactly where the shift lies between the means of the
    two parts, as the mean of all does. Where one part is empty every shift counts. The third is how
    often the observed signs must be counted besides: once, where signs are sampled.
    """
    parts, numbers = _splits(len(differences))
    means = parts @ differences / np.maximum(numbers, 1)
    split = numbers.min(axis=0) > 0
    low = np.where(split, means.min(axis=0), -math.inf)
    high = np.where(split, means.max(axis=0), math.inf)
    return low, high, int(len(differences) > EXACT_MOST)


@lru_cache(maxsize=4)
def _splits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """For every change of signs its two parts (2, m, count), 1 where a difference is in it, and their sizes (2, m)."""
    if count <= EXACT_MOST:
        flipped = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    else:
        flipped = np.random.default_rng(0).integers(0, 2, (SAMPLED, count))
    parts = np.stack([flipped, 1 - flipped]).astype(float)
    return parts, parts.sum(axis=2)


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, step by step (Holm 1979); NaN stay NaN and are not counted."""
    known = [place for place, value in enumerate(values) if not math.isnan(value)]
    order = sorted(known, key=lambda place: values[place])
    adjusted, largest = list(values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * values[place]))
        adjusted[place] = largest
    return adjusted


def seeds_needed(methods: int = 1) -> int:
    """The least number of seeds with which one of so many comparisons can reach p = 0.05: 2 / 2^n times their number."""
    return next(n for n in range(1, 64) if methods * 2 / 2**n <= ALPHA)


def gap_closed(accuracy: float, final: float, oracle: float) -> float:
    """(accuracy - final) / (oracle - final); NaN where the oracle is less than 2 points above the final step alone."""
    gap = oracle - final
    return (accuracy - final) / gap if gap >= SMALLEST_GAP - 1e-12 else math.nan


def interquartile_mean(values: Sequence[float]) -> float:
    """The mean of the middle half (Agarwal et al. 2021, Statistical Precipice); NaN of none."""
    from scipy.stats import trim_mean

    known = [value for value in values if not math.isnan(value)]
    return float(trim_mean(known, 0.25)) if known else math.nan


def probability_of_improvement(values: np.ndarray, others: np.ndarray) -> float:
    """The share of pairs in which the first is better, ties counted half (Agarwal et al. 2021); NaN of none."""
    if not len(values):
        return math.nan
    return float(np.mean((values > others) + 0.5 * (values == others)))


def regret_profile(accuracies: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """For each method (row) the share of cells (columns) in which it is within each limit of the best, (methods, limits).

    Dolan and More 2002, Benchmarking Optimization Software with Performance Profiles, with differences for ratios.
    """
    regret = accuracies.max(axis=0) - accuracies
    return (regret[:, :, None] <= limits + 1e-12).mean(axis=1)


def mean_ranks(accuracies: np.ndarray) -> np.ndarray:
    """The mean over cells (columns) of each method's rank (rows), 1 the best, ties at their mean (Demsar 2006)."""
    from scipy.stats import rankdata

    return rankdata(-accuracies, axis=0).mean(axis=1)


def sampling_error(accuracy: float, samples: int) -> float:
    """The standard error that the test set's size alone gives an accuracy: sqrt(a (1 - a) / n)."""
    return math.sqrt(accuracy * (1 - accuracy) / samples)

"""Comparisons of methods that share seeds, and how many seeds a claim needs.

All inputs are accuracies as fractions. Differences are paired: the same seed draws the same data for both methods.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
ALPHA = 0.05
RESAMPLES = 10_000
EXACT_MOST = 16  # seeds for which every change of signs is counted; more are sampled
SMALLEST_GAP = 0.02  # of oracle and final step alone; a smaller gap cannot be closed in a meaningful way


@dataclass(frozen=True)
class Comparison:
    """A method against a reference on the seeds that they share.

    difference: the mean over seeds. low, high: its 95 % interval. p: exact sign-flip p, adjusted for the methods compared
    together. All but the difference are NaN for fewer than two seeds.
    """

    method: str
    reference: str
    seeds: tuple[int, ...]
    difference: float
    low: float
    high: float
    p: float

    def is_called(self, smallest: float = 0.01) -> bool:
        """Whether the difference may be claimed: its interval excludes 0, p is at most 0.05, and it is large enough."""
        return (
            (self.low > 0 or self.high < 0) and self.p <= ALPHA and abs(self.difference) >= smallest - 1e-12
        )


def compare(
    accuracies: Mapping[str, Mapping[int, float]], reference: str, methods: Sequence[str]
) -> list[Comparison]:
    """Every method against a reference, each on the seeds that it shares with it.

    accuracies: by method and seed. p-values are adjusted by Holm over the methods compared. Methods that share no seed
    with the reference are left out.
    """
    found = []
    for method in methods:
        shared = sorted(accuracies.get(method, {}).keys() & accuracies.get(reference, {}).keys())
        if shared and method != reference:
            differences = np.array([accuracies[method][s] - accuracies[reference][s] for s in shared])
            low, high = bootstrap_interval(differences)
            found.append((method, tuple(shared), differences, low, high, sign_flip_p(differences)))
    adjusted = holm([each[-1] for each in found])
    return [
        Comparison(method, reference, seeds, float(differences.mean()), low, high, p)
        for (method, seeds, differences, low, high, _), p in zip(found, adjusted, strict=True)
    ]


def bootstrap_interval(values: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean, bias-corrected and accelerated (Efron 1987, Better Bootstrap Confidence Intervals).

    NaN for fewer than two values; the value itself where all are equal.
    """
    from scipy.stats import bootstrap

    if len(values) < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    interval = bootstrap(
        (np.asarray(values),), np.mean, n_resamples=resamples, confidence_level=LEVEL, method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p of the hypothesis that differences are as likely to have either sign (Fisher 1935, section 21).

    Exact up to 16 differences, from 100,000 random changes of signs beyond; NaN for fewer than two.
    """
    count = len(differences)
    if count < 2:
        return math.nan
    observed = abs(differences.sum())
    if count <= EXACT_MOST:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        as_large = np.abs(signs @ differences) >= observed - 1e-12
        return float(as_large.mean())
    random = np.random.default_rng(0)
    signs = random.choice([-1, 1], (100_000, count))
    as_large = np.abs(signs @ differences) >= observed - 1e-12
    return float((as_large.sum() + 1) / (len(signs) + 1))


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
    """The least number of seeds with which so many comparisons can reach p = 0.05: 2 / 2^n times their number."""
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

"""What a report says of methods beside their means: differences with intervals, and standings over all cells."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.statistics import (
    Comparison,
    compare,
    gap_closed,
    interquartile_mean,
    mean_ranks,
    probability_of_improvement,
    regret_profile,
    sampling_error,
    seeds_needed,
)
from seqfinal_jax.analysis.tables.comparisons import accuracies_by_seed
from seqfinal_jax.analysis.tables.labels import MISSING, in_order, method_name, reference_method

LIMITS = (0.0, 0.01, 0.02)  # of the regret: as good as the best, within 1 point, within 2 points


@dataclass(frozen=True)
class Difference:
    """One method against the final step alone, as texts; sort: the difference, for sorting."""

    method: str
    difference: str
    interval: str
    p: str
    n: int
    claim: str
    sort: float


@dataclass(frozen=True)
class Standing:
    """One method over all cells (architecture and seed) that it can be judged on.

    gap: interquartile mean of the gap closed; gap_cells: how many cells it rests on. improvement: the probability to be
    above the final step alone, and on how many cells. rank, within: on the cells that all methods share; NaN where there
    is none.
    """

    method: str
    gap: float
    gap_cells: int
    improvement: float
    paired_cells: int
    rank: float
    within: tuple[float, ...]


@dataclass(frozen=True)
class Standings:
    """Standings of all methods; shared: cells that all have; small_gaps: cells whose gap is under 2 points."""

    rows: tuple[Standing, ...]
    shared: int
    small_gaps: int


def differences(cells: pd.DataFrame, smallest: float) -> dict[str, list[Difference]]:
    """For each architecture every method against the final step alone, paired by seed; empty where that lacks.

    smallest: the difference that matters, a fraction.
    """
    found = {}
    for architecture, own in cells.groupby("architecture", sort=False):
        reference = reference_method(own["method"], comparable=True)
        if reference is not None:
            methods = in_order(own["method"])
            compared = compare(accuracies_by_seed(own), reference, methods)
            found[str(architecture)] = [_difference(each, len(compared), smallest) for each in compared]
    return {architecture: rows for architecture, rows in found.items() if rows}


def _difference(each: Comparison, methods: int, smallest: float) -> Difference:
    count, points = len(each.seeds), 100 * each.difference
    if count < 2:
        texts = (MISSING, MISSING)
        claim = "none: one seed has no spread"
    else:
        texts = (f"{100 * each.low:+.1f} to {100 * each.high:+.1f}", f"{each.p:.2g}")
        claim = _claim(each, methods, smallest)
    return Difference(each.method, f"{points:+.1f}", *texts, count, claim, points)


def _claim(each: Comparison, methods: int, smallest: float) -> str:
    if each.is_called(smallest):
        return "better" if each.difference > 0 else "worse"
    needed = seeds_needed(methods)
    return f"none: {needed} seeds could support one" if len(each.seeds) < needed else "none"


def standings(cells: pd.DataFrame) -> Standings | None:
    """Where methods stand over all architectures and seeds; None without a method beside the final step alone."""
    table = cells.pivot_table(index=["architecture", "seed"], columns="method", values="test_accuracy")
    methods = [m for m in in_order(table.columns) if method_name(m).comparable]
    final = reference_method(cells["method"], comparable=True)
    if final is None or len(methods) < 2:
        return None
    oracle = reference_method(table.columns, comparable=False)
    gaps = _gaps(table, final, oracle)
    shared = table[methods].dropna().T.to_numpy()
    ranks = mean_ranks(shared) if shared.size else np.full(len(methods), math.nan)
    within = regret_profile(shared, np.array(LIMITS)) if shared.size else np.full((len(methods), 3), math.nan)
    rows = [
        _standing(
            table, method, final, gaps[method] if method in gaps else pd.Series(dtype=float), rank, share
        )
        for method, rank, share in zip(methods, ranks, within, strict=True)
    ]
    both = table[[final, oracle]].dropna() if oracle else table.iloc[:0]
    small = sum(math.isnan(gap_closed(a, a, o)) for a, o in both.to_numpy()) if oracle else 0
    return Standings(tuple(rows), shared.shape[1], small)


def _gaps(table: pd.DataFrame, final: str, oracle: str | None) -> pd.DataFrame:
    """The gap closed in every cell that has the final step alone and the oracle; NaN where the gap is under 2 points."""
    if oracle is None:
        return pd.DataFrame()
    own = table.dropna(subset=[final, oracle])
    return own.apply(lambda row: row.map(lambda value: gap_closed(value, row[final], row[oracle])), axis=1)


def _standing(
    table: pd.DataFrame, method: str, final: str, gaps: pd.Series, rank: float, within: np.ndarray
) -> Standing:
    paired = table[[method, final]].dropna() if method != final else table.iloc[:0]
    improvement = (
        probability_of_improvement(paired[method].to_numpy(), paired[final].to_numpy())
        if len(paired)
        else math.nan
    )
    known = gaps.dropna() if method != final else gaps.iloc[:0]
    return Standing(
        method, interquartile_mean(known.tolist()), len(known), improvement, len(paired), float(rank),
        tuple(map(float, within)),
    )  # fmt: skip


def sampling_note(cells: pd.DataFrame) -> str:
    """How far the size of the test set alone lets an accuracy vary, at the mean accuracy of the cells."""
    if cells.empty:
        return ""
    accuracy, samples = float(cells["test_accuracy"].mean()), int(cells["n_test"].min())
    points = 100 * sampling_error(accuracy, samples)
    return (
        f"The size of the test set alone ({samples} samples) gives a single accuracy near {100 * accuracy:.0f} % a "
        f"standard error of {points:.1f} points; methods that are compared saw the same samples, so that their "
        f"difference varies less."
    )

"""What a report says of methods beside their means: differences with intervals, and standings over all cells."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.statistics import (
    gap_closed,
    interquartile_mean,
    mean_ranks,
    probability_of_improvement,
    regret_profile,
    sampling_error,
)
from seqfinal_jax.analysis.tables.comparisons import Judged, judged_comparisons
from seqfinal_jax.analysis.tables.labels import MISSING, in_order, method_name, reference_method
from seqfinal_jax.analysis.tables.shared_seeds import shared_seeds
from seqfinal_jax.analysis.tables.training_length import training_length

LIMITS = (0.0, 0.01, 0.02)  # of the regret: as good as the best, within 1 point, within 2 points


@dataclass(frozen=True)
class Difference:
    """One method against the final step alone, as texts; sort: the difference, for sorting."""

    method: str
    difference: str
    interval: str
    p: str
    adjusted: str
    n: int
    kind: str
    epochs: str
    claim: str
    sort: float


@dataclass(frozen=True)
class Differences:
    """The rows of one architecture, and what they are compared with, with the epochs of its stages."""

    reference: str
    epochs: str
    rows: tuple[Difference, ...]


@dataclass(frozen=True)
class Standing:
    """One method over all cells (architecture and seed) that it can be judged on.

    gap: interquartile mean of the gap closed; gap_cells: how many cells it rests on. improvement: the probability to be
    above the final step alone, and on how many cells. rank, within: on the cells that the compared methods share; NaN of
    a method that lacks them.
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
    """Standings of all methods.

    shared: how many cells the ranked methods share. apart: methods that lack these cells. small_gaps: cells whose gap is
    under 2 points.
    """

    rows: tuple[Standing, ...]
    shared: int
    apart: tuple[str, ...]
    small_gaps: int


def differences(
    cells: pd.DataFrame, smallest: float, records: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Differences]:
    """For each architecture every method against the reference of the answer, paired by seed; empty where that lacks.

    smallest: the difference that matters, a fraction. records: the results of the cells.
    """
    found = {}
    for architecture, rows in judged_comparisons(cells, smallest, records).items():
        reference = rows[0].comparison.reference
        epochs = {
            method: ", ".join(training_length(records, method, architecture, smallest).epochs)
            for method in (reference, *(row.comparison.method for row in rows))
        }
        texts = tuple(_difference(row, epochs[row.comparison.method]) for row in rows)
        found[architecture] = Differences(reference, epochs[reference], texts)
    return found


def _difference(judged: Judged, epochs: str) -> Difference:
    each, points = judged.comparison, 100 * judged.comparison.difference
    known = not math.isnan(each.low)
    interval = f"{100 * each.low:+.1f} to {100 * each.high:+.1f}" if known else MISSING
    p, adjusted = (MISSING if math.isnan(value) else f"{value:.2g}" for value in (each.p, each.adjusted))
    if judged.kind == "reference":
        adjusted = MISSING
    return Difference(
        each.method, f"{points:+.1f}", interval, p, adjusted, len(each.seeds), judged.kind, epochs, judged.claim, points
    )  # fmt: skip


def standings(cells: pd.DataFrame) -> Standings | None:
    """Where methods stand over all architectures and seeds; None without a method beside the final step alone."""
    table = cells.pivot_table(index=["architecture", "seed"], columns="method", values="test_accuracy")
    methods = [m for m in in_order(table.columns) if method_name(m).comparable]
    final = reference_method(cells["method"], comparable=True)
    if final is None or len(methods) < 2:
        return None
    oracle = reference_method(table.columns, comparable=False)
    gaps = _gaps(table, final, oracle)
    ranked, keys = shared_seeds({m: table.index[table[m].notna()] for m in methods})
    shared = table.loc[keys, ranked].T.to_numpy()
    ranks = dict(zip(ranked, mean_ranks(shared), strict=True)) if ranked else {}
    within = dict(zip(ranked, regret_profile(shared, np.array(LIMITS)), strict=True)) if ranked else {}
    lacking = np.full(len(LIMITS), math.nan)
    rows = [
        _standing(
            table, method, final, gaps[method] if method in gaps else pd.Series(dtype=float),
            ranks.get(method, math.nan), within.get(method, lacking),
        )
        for method in methods
    ]  # fmt: skip
    both = table[[final, oracle]].dropna() if oracle else table.iloc[:0]
    small = sum(math.isnan(gap_closed(a, a, o)) for a, o in both.to_numpy()) if oracle else 0
    apart = tuple(m for m in methods if m not in ranked)
    return Standings(tuple(rows), len(keys), apart, small)


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

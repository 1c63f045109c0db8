"""The answer of a run in two sentences: is history worth using here, and which way, with what the seeds allow to say.

The way is chosen by mean *validation* accuracy; its gain over the final step alone is then read from the test set. So one
comparison is made, and nothing is picked by test data.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from seqfinal_jax.analysis.statistics import ALPHA, Comparison, compare, gap_closed, seeds_needed
from seqfinal_jax.analysis.tables.comparisons import accuracies_by_seed
from seqfinal_jax.analysis.tables.labels import REFERENCE, in_order, method_name, reference_method
from seqfinal_jax.methods.recipes import METHODS


@dataclass(frozen=True)
class Answer:
    """The answer for one architecture.

    ways: how many methods that use history were compared. gain: of the chosen one over the final step alone, None
    where no seed has both. gap: the share of the oracle's gap that it closes, NaN where there is none to close.
    """

    architecture: str
    ways: int
    gain: Comparison | None
    accuracy: float
    gap: float
    test_selected: bool
    sentences: tuple[str, ...]


def answers(
    cells: pd.DataFrame, smallest: float = 0.01, costs: Mapping[tuple[str, str], float] | None = None
) -> list[Answer]:
    """An answer for each architecture of done cells.

    smallest: the difference that matters, a fraction. costs: by (architecture, method), in any unit; where both are known
    the answer says what the way costs beside the final step alone.
    """
    costs = {} if costs is None else dict(costs)
    return [
        _answer(str(name), own, smallest, costs) for name, own in cells.groupby("architecture", sort=False)
    ]


def _answer(
    architecture: str, cells: pd.DataFrame, smallest: float, costs: Mapping[tuple[str, str], float]
) -> Answer:
    methods = in_order(cells["method"])
    final = reference_method(methods, comparable=True)
    ways = [m for m in methods if method_name(m).family != REFERENCE and method_name(m).comparable]
    if final is None or not ways:
        lacks = "the final step alone (erm_final)" if final is None else "a method that uses history"
        said = f"{architecture}: no answer, because {lacks} was not run."
        return Answer(architecture, len(ways), None, math.nan, math.nan, False, (said,))
    test, valid = accuracies_by_seed(cells), accuracies_by_seed(cells, "valid_accuracy")
    way = _chosen(valid, final, ways)
    gain = compare(test, final, [way])[0] if way else None
    if gain is None:
        said = f"{architecture}: no answer, because no seed has both the final step alone and a method that uses history."
        return Answer(architecture, len(ways), None, math.nan, math.nan, False, (said,))
    accuracy = sum(test[way][s] for s in gain.seeds) / len(gain.seeds)
    gap = _gap(test, final, way, gain.seeds)
    tested = "TEST" in " ".join(map(str, cells.loc[cells["method"] == way, "selection"].unique()))
    sentences = (
        _verdict(gain, way, accuracy, len(ways), smallest, architecture),
        _rest(gap, tested, gain, smallest, _ratio(costs, architecture, way, final)),
    )
    return Answer(architecture, len(ways), gain, accuracy, gap, tested, tuple(s for s in sentences if s))


def _chosen(valid: dict[str, dict[int, float]], final: str, ways: list[str]) -> str | None:
    """The way of the highest mean validation accuracy, among those that share most seeds with the final step alone."""
    shared = {way: sorted(valid[way].keys() & valid[final].keys()) for way in ways}
    most = max(map(len, shared.values()))
    best = [way for way in ways if len(shared[way]) == most and most]
    return max(best, key=lambda way: sum(valid[way][s] for s in shared[way]), default=None)


def _gap(test: dict[str, dict[int, float]], final: str, way: str, seeds: tuple[int, ...]) -> float:
    oracle = next((m for m in test if m in METHODS and not METHODS.get(m).comparable), None)
    shared = [s for s in seeds if s in test.get(oracle, {})] if oracle else []
    if not shared:
        return math.nan
    means = [sum(test[m][s] for s in shared) / len(shared) for m in (way, final, oracle)]
    return gap_closed(*means)


def _verdict(
    gain: Comparison, way: str, accuracy: float, ways: int, smallest: float, architecture: str
) -> str:
    count, name = len(gain.seeds), method_name(way).legend
    points = f"{100 * abs(gain.difference):.1f} points {'above' if gain.difference >= 0 else 'below'}"
    among = f"the best of {ways} ways by validation accuracy" if ways > 1 else "the only way that was run"
    found = f"{name}, {among}, reaches {100 * accuracy:.1f} % on the test set, {points} the final step alone"
    if count < 2:
        return f"{architecture}: one seed cannot say whether history is worth using here; {found}."
    interval = (
        f"95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}, p = {gain.p:.2g}, {count} seeds"
    )
    if gain.is_called(smallest):
        worth = "History is worth using here" if gain.difference > 0 else "History does not help here"
        return f"{architecture}: {worth}: {found} ({interval})."
    if count < seeds_needed():
        few = f"{count} seeds do not suffice to say whether history is worth using here"
        return f"{architecture}: {few}; {found} ({interval})."
    why = (
        f"the difference is under {100 * smallest:g} point"
        if gain.p <= ALPHA
        else "the seeds differ too much"
    )
    return f"{architecture}: no difference can be claimed ({why}); {found} ({interval})."


def _ratio(costs: Mapping[tuple[str, str], float], architecture: str, way: str, final: str) -> float:
    """How many times the cost of the final step alone a way takes, NaN where one is not known."""
    own, reference = costs.get((architecture, way)), costs.get((architecture, final))
    return own / reference if own and reference else math.nan


def _rest(gap: float, tested: bool, gain: Comparison, smallest: float, ratio: float) -> str:
    parts = []
    if gap > 0:  # not, where it is not known
        parts.append(
            f"That closes {100 * gap:.0f} % of the gap to the oracle, which has more samples of the final step."
        )
    if ratio > 0:
        parts.append(f"Its training takes {ratio:.1f} times the computation of the final step alone.")
    if len(gain.seeds) < seeds_needed() and not gain.is_called(smallest):
        parts.append(f"{seeds_needed()} seeds or more could support a claim.")
    if tested:
        parts.append("Its decay of learning rates was chosen on TEST data, as published.")
    return " ".join(parts)

"""The answer of a run in a few sentences: is history worth using here, and which way, with what the seeds allow to say.

The way and what it is compared with, the better of the methods that train on the final step alone, are chosen by mean
*validation* accuracy; the gain is then read from the test set. So an architecture makes one comparison, and nothing is
picked by test data.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from seqfinal_jax.analysis.statistics import ALPHA, Comparison, gap_closed
from seqfinal_jax.analysis.tables.comparisons import (
    SMALLEST,
    Judged,
    Planned,
    accuracies_by_seed,
    planned_comparisons,
)
from seqfinal_jax.analysis.tables.costs import mean_costs
from seqfinal_jax.analysis.tables.labels import listed, method_name
from seqfinal_jax.analysis.tables.training_length import REMEDY, TrainingLength, training_length
from seqfinal_jax.methods.recipes import METHODS

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """The answer for one architecture.

    ways: how many methods that use history were run. gain: the planned comparison of the chosen one with the better of
    those that train on the final step alone, None where no seed has both. accuracy: of the chosen one on the test set.
    gap: the share of the oracle's gap that it closes, NaN where there is none to close.
    """

    architecture: str
    ways: int
    gain: Judged | None
    accuracy: float
    gap: float
    sentences: tuple[str, ...]


def answers(cells: pd.DataFrame, smallest: float = SMALLEST, records: Sequence[Record] = ()) -> list[Answer]:
    """An answer for each architecture that has completed cells.

    smallest: the difference that matters, a fraction. records: the results of the cells; where they say it, the answer
    tells what the way costs beside the final step alone and how long both were trained.
    """
    planned = planned_comparisons(cells, smallest, records)
    return [
        _answer(str(name), own, planned[str(name)], smallest, records)
        for name, own in cells.groupby("architecture", sort=False)
    ]


def _answer(
    architecture: str, cells: pd.DataFrame, plan: Planned, smallest: float, records: Sequence[Record]
) -> Answer:
    if plan.gain is None:
        said = f"{architecture}: no answer, because {_lacking(plan)}."
        return Answer(architecture, len(plan.ways), None, math.nan, math.nan, (said,))
    test, gain = accuracies_by_seed(cells), plan.gain.comparison
    accuracy = sum(test[gain.method][s] for s in gain.seeds) / len(gain.seeds)
    gap = _gap(test, gain)
    tested = "TEST" in " ".join(map(str, cells.loc[cells["method"] == gain.method, "selection"].unique()))
    lengths = {
        method: training_length(records, method, architecture, smallest, gain.seeds)
        for method in (gain.method, gain.reference)
    }
    sentences = (
        _verdict(plan, accuracy, architecture),
        _others(plan),
        _gap_sentence(gap),
        _updates(lengths),
        _ratio(records, architecture, gain),
        _chosen_by(cells, plan),
        *_untrained(lengths, cells),
        _support(plan.gain),
        "Its decay of learning rates was chosen on TEST data, as published." if tested else "",
        _controls(plan),
    )
    return Answer(architecture, len(plan.ways), plan.gain, accuracy, gap, tuple(filter(None, sentences)))


def _lacking(plan: Planned) -> str:
    if not plan.finals:
        return "the final step alone (erm_final) was not run"
    if not plan.ways:
        return "a method that uses history was not run"
    return "no seed has both the final step alone and a method that uses history"


def final_name(method: str) -> str:
    """How a sentence calls a method that trains on the final step alone."""
    return method_name(method).legend.replace("ERM final", "the final step alone")


def _gap(test: Mapping[str, Mapping[int, float]], gain: Comparison) -> float:
    oracle = next((m for m in test if m in METHODS and not METHODS.get(m).comparable), None)
    shared = [s for s in gain.seeds if s in test.get(oracle, {})] if oracle else []
    if not shared:
        return math.nan
    means = [sum(test[m][s] for s in shared) / len(shared) for m in (gain.method, gain.reference, oracle)]
    return gap_closed(*means)


def _points(comparison: Comparison) -> str:
    """ "4.0 points above", or below."""
    size = 100 * comparison.difference
    return f"{abs(size):.1f} points {'above' if size >= 0 else 'below'}"


def _verdict(plan: Planned, accuracy: float, architecture: str) -> str:
    judged, ways = plan.gain, len(plan.ways) - len({*plan.left_out} & {*plan.ways})
    gain, count = judged.comparison, len(judged.comparison.seeds)
    alone = "the only way that was run" if len(plan.ways) == 1 else "the only way with enough seeds"
    among = f"the best of {ways} ways by validation accuracy" if ways > 1 else alone
    better = ", the better of the two by validation accuracy" if plan.to_other else ""
    found = (
        f"{method_name(gain.method).legend}, {among}, reaches {100 * accuracy:.1f} % on the test set, {_points(gain)} "
        f"{final_name(gain.reference)}{better}{_figures(judged)}"
    )
    if count < 2:
        return f"{architecture}: one seed cannot say whether history is worth using here; {found}."
    if judged.called:
        worth = "History is worth using here" if gain.difference > 0 else "History does not help here"
        return f"{architecture}: {worth}: {found}."
    if count < judged.needed:
        few = f"{count} seeds do not suffice to say whether history is worth using here"
        return f"{architecture}: {few}; {found}."
    return f"{architecture}: no difference can be claimed ({_reason(judged)}); {found}."


def _figures(judged: Judged) -> str:
    """Interval, p and seeds in parentheses; nothing of one seed."""
    gain, count = judged.comparison, len(judged.comparison.seeds)
    if count < 2:
        return ""
    known = not math.isnan(gain.low)
    interval = f"95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}" if known else "no interval"
    adjusted = (
        f", {gain.adjusted:.2g} adjusted for {judged.together} architectures" if judged.together > 1 else ""
    )
    return f" ({interval}, p = {gain.p:.2g}{adjusted}, {count} seeds)"


def _reason(judged: Judged) -> str:
    gain = judged.comparison
    if judged.improving:
        return f"{listed(method_name(m).column for m in judged.improving)} {REMEDY}"
    if gain.adjusted > ALPHA:
        return "the seeds differ too much"
    return f"the difference is under {100 * judged.smallest:g} point{'s' * (judged.smallest > 0.01)}"


def _others(plan: Planned) -> str:
    """The difference to the other methods that train on the final step alone."""
    parts = [f"{_points(each)} {final_name(each.reference)}{_range(each)}" for each in plan.to_other]
    return f"It is {' and '.join(parts)}." if parts else ""


def _range(each: Comparison) -> str:
    known = not math.isnan(each.low)
    return f" (95 % interval {100 * each.low:+.1f} to {100 * each.high:+.1f})" if known else ""


def _gap_sentence(gap: float) -> str:
    if not gap > 0:  # it is not known, or there is none
        return ""
    return (
        f"That closes {100 * gap:.0f} % of the gap to the oracle, which has more samples of the final step."
    )


def _updates(lengths: Mapping[str, TrainingLength]) -> str:
    """How many updates the chosen models of both took."""
    if any(math.isnan(length.updates) for length in lengths.values()):
        return ""
    (_, own), (name, final) = lengths.items()
    return (
        f"Its models made {own.updates:,.0f} updates over all their stages, those of {final_name(name)} "
        f"{final.updates:,.0f} (means over seeds)."
    )


def _ratio(records: Sequence[Record], architecture: str, gain: Comparison) -> str:
    """How many times the computation of what it is compared with a way takes."""
    costs = mean_costs(records)["alone"]
    own, final = (costs.get((architecture, method)) for method in (gain.method, gain.reference))
    if not (own and final):
        return ""
    return f"Its training takes {own / final:.1f} times the computation of {final_name(gain.reference)}."


def _chosen_by(cells: pd.DataFrame, plan: Planned) -> str:
    """How many validation samples chose, and on which seeds where these are not those of the comparison."""
    own = cells[cells["method"].isin({*plan.finals, *plan.ways})]
    samples = sorted({int(n) for n in own.get("n_valid", ())})
    between = " to ".join(dict.fromkeys(f"{n}" for n in (samples[0], samples[-1]))) if samples else ""
    said = f"{between} validation samples of the final step chose the models and the way." if samples else ""
    if plan.seeds != plan.gain.comparison.seeds:
        said += f" The way was chosen on seeds {listed(plan.seeds)}, which all compared methods have."
    if plan.left_out:
        said += f" Left out for lack of seeds: {listed(method_name(m).column for m in plan.left_out)}."
    return said.strip()


def _untrained(lengths: Mapping[str, TrainingLength], cells: pd.DataFrame) -> list[str]:
    """Which chosen models are the start of their stage, or were still improving."""
    said = []
    for method, length in lengths.items():
        name = method_name(method).column
        if length.untrained:
            kept = "its random start" if len(length.epochs) == 1 else "the start of its last stage"
            said.append(
                f"The chosen model of {name} is untrained (best epoch 0, {kept}) in {length.untrained} of "
                f"{length.seeds} seeds."
            )
        if length.improving:
            said.append(
                f"{name} was still improving: its validation accuracy rose by {100 * length.gain:.1f} points from the "
                f"third to the last quarter of the epochs allowed."
            )
    return said


def _support(judged: Judged) -> str:
    few = len(judged.comparison.seeds) < judged.needed
    return f"{judged.needed} seeds or more could support a claim." if few else ""


def _controls(plan: Planned) -> str:
    """The controls that were not run."""
    controls = (METHODS.get(name) for name in METHODS if METHODS.get(name).control)
    lacking = [f"{each.column} ({each.id})" for each in controls if each.id not in {*plan.finals, *plan.ways}]
    return f"Controls that were not run: {listed(lacking)}." if lacking else ""

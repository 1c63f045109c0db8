"""Methods against a reference: which comparison was planned, which are explored, and what may be claimed of each.

One comparison of an architecture is planned: the way of using history that validation accuracy chooses, against the
better on validation of the methods that train on the final step alone. It is one test, adjusted only for the other
architectures, whose answers are as many planned comparisons. All others are explored, adjusted by Holm for each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from seqfinal_jax.analysis.statistics import (
    Comparison,
    adjusted_together,
    compare,
    seeds_needed,
)
from seqfinal_jax.analysis.tables.labels import REFERENCE, in_order, listed, method_name
from seqfinal_jax.analysis.tables.metrics import ACCURACY, Metric
from seqfinal_jax.analysis.tables.shared_seeds import shared_seeds
from seqfinal_jax.analysis.tables.training_length import training_length
from seqfinal_jax.results.run_folder import read_config

SMALLEST = 0.01
Kind = Literal["planned", "explored", "reference"]
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """A comparison and what it is in its run.

    kind: "planned", "explored", or "reference" of a method that is no candidate, because it has other data. together: how
    many comparisons were adjusted together, this one among them. smallest: the difference that matters, a fraction.
    improving: which of its two methods were still improving when their training ended. metric: what is compared.
    """

    comparison: Comparison
    kind: Kind
    together: int
    smallest: float
    improving: tuple[str, ...] = ()
    metric: Metric = ACCURACY

    @property
    def called(self) -> bool:
        """Whether the difference may be claimed."""
        candidate = self.kind != "reference" and not self.improving
        return candidate and self.comparison.is_called(self.smallest)

    @property
    def needed(self) -> int:
        """The least number of seeds with which it could be claimed."""
        return seeds_needed(self.together)

    @property
    def claim(self) -> str:
        """ "better", "worse", or "none" with the reason where one is known."""
        if self.called:
            return "better" if self.metric.sign * self.comparison.difference > 0 else "worse"
        if self.kind == "reference":
            return "none: has other data"
        if len(self.comparison.seeds) < 2:
            return "none: one seed has no spread"
        if self.improving:
            return f"none: {listed(method_name(m).column for m in self.improving)} not trained to the end"
        few = len(self.comparison.seeds) < self.needed
        return f"none: {self.needed} seeds could support one" if few else "none"


@dataclass(frozen=True)
class Planned:
    """What one architecture's cells were run to decide.

    finals: methods that train on the final step alone. ways: those that use history. final, way: those compared, None
    where no seed has one of each kind. seeds: those whose validation accuracies chose, which all compared methods have.
    left_out: methods that lack these seeds. gain: the planned comparison, on all seeds that the two share. to_other: the
    way against the other finals.
    """

    finals: tuple[str, ...]
    ways: tuple[str, ...]
    final: str | None = None
    way: str | None = None
    seeds: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()
    gain: Judged | None = None
    to_other: tuple[Comparison, ...] = ()


def smallest_difference(run: str | Path) -> float:
    """The difference that matters to a run, a fraction; that of runs before the field was there is one point."""
    points = read_config(run).get("analysis", {}).get("smallest_difference")
    return SMALLEST if points is None else points / 100


def accuracies_by_seed(cells: pd.DataFrame, column: str = "test_accuracy") -> dict[str, dict[int, float]]:
    """Accuracies of one architecture's cells, by method and seed."""
    found: dict[str, dict[int, float]] = {}
    for row in cells.itertuples():
        found.setdefault(row.method, {})[int(row.seed)] = float(getattr(row, column))
    return found


def planned_comparisons(
    cells: pd.DataFrame, smallest: float = SMALLEST, records: Sequence[Record] = (), metric: Metric = ACCURACY
) -> dict[str, Planned]:
    """The planned comparison of every architecture, adjusted by Holm for the number of architectures.

    records: the results of the cells, which say how long was trained. metric: what is compared; validation accuracy
    chooses the two methods all the same.
    """
    found = {
        str(name): _planned(str(name), own, smallest, records, metric)
        for name, own in cells.groupby("architecture", sort=False)
    }
    known = [name for name, each in found.items() if each.gain]
    adjusted = adjusted_together([found[name].gain.comparison for name in known])
    for name, comparison in zip(known, adjusted, strict=True):
        gain = replace(found[name].gain, comparison=comparison, together=len(known))
        found[name] = replace(found[name], gain=gain)
    return found


def _planned(
    architecture: str, cells: pd.DataFrame, smallest: float, records: Sequence[Record], metric: Metric
) -> Planned:
    methods = [m for m in in_order(cells["method"]) if method_name(m).comparable]
    finals = tuple(m for m in methods if method_name(m).family == REFERENCE)
    ways = tuple(m for m in methods if m not in finals)
    valid, test = (accuracies_by_seed(cells, field) for field in ("valid_accuracy", metric.field))
    compared, seeds = shared_seeds({m: valid[m] for m in methods}, (finals, ways))
    if not compared:
        return Planned(finals, ways)
    means = {m: sum(valid[m][seed] for seed in seeds) / len(seeds) for m in compared}
    final, way = (max((m for m in kind if m in means), key=means.__getitem__) for kind in (finals, ways))
    [gain] = compare(test, final, [way])
    others = [other for m in finals if m != final for other in compare(test, m, [way])]
    judged = _judged(gain, "planned", 1, smallest, architecture, records, metric)
    left = tuple(m for m in methods if m not in compared)
    return Planned(finals, ways, final, way, tuple(seeds), left, judged, tuple(others))


def _judged(
    each: Comparison, kind: Kind, together: int, smallest: float, architecture: str, records: Sequence[Record],
    metric: Metric,
) -> Judged:  # fmt: skip
    improving = tuple(
        method
        for method in (each.method, each.reference)
        if training_length(records, method, architecture, smallest, each.seeds).improving
    )
    return Judged(each, kind, together, _that_matters(smallest, metric), improving, metric)


def _that_matters(smallest: float, metric: Metric) -> float:
    """The difference that matters: a run says it for accuracies alone; of other metrics any difference does."""
    return smallest if metric is ACCURACY else 0.0


def judged_comparisons(
    cells: pd.DataFrame,
    smallest: float = SMALLEST,
    records: Sequence[Record] = (),
    reference: str | None = None,
    metric: Metric = ACCURACY,
) -> dict[str, list[Judged]]:
    """For each architecture every method against a reference, in the order of the table, paired by seed.

    reference: a method; by default that of the planned comparison. Architectures without one are left out. metric: what
    is compared, which the cells have as a column (`with_metrics`).
    """
    planned, found = planned_comparisons(cells, smallest, records, metric), {}
    for name, own in cells.groupby("architecture", sort=False):
        architecture, plan = str(name), planned[str(name)]
        against = reference or plan.final or next(iter(plan.finals), None)
        rows = _against(own, architecture, against, plan, smallest, records, metric) if against else []
        if rows:
            found[architecture] = rows
    return found


def _against(
    cells: pd.DataFrame,
    architecture: str,
    reference: str,
    plan: Planned,
    smallest: float,
    records: Sequence[Record],
    metric: Metric,
) -> list[Judged]:
    accuracies, methods = accuracies_by_seed(cells, metric.field), in_order(cells["method"])
    gain = plan.gain if plan.gain and plan.final == reference else None
    apart = [m for m in methods if not method_name(m).comparable]
    rest = [m for m in methods if m not in apart and not (gain and m == plan.way)]
    explored = compare(accuracies, reference, rest)
    found = [
        _judged(each, "explored", len(explored), smallest, architecture, records, metric) for each in explored
    ]
    found += [
        Judged(each, "reference", 1, _that_matters(smallest, metric), metric=metric)
        for m in apart
        for each in compare(accuracies, reference, [m])
    ]
    rows = {each.comparison.method: each for each in [*found, *([gain] if gain else [])]}
    return [rows[method] for method in methods if method in rows]


def comparison_lines(
    cells: pd.DataFrame, reference: str, smallest: float = SMALLEST, records: Sequence[Record] = (),
    metric: Metric = ACCURACY,
) -> list[str]:  # fmt: skip
    """For each architecture a line for each method; raises ValueError for a reference without cells or pairs."""
    if reference not in set(cells["method"]):
        raise ValueError(f"no cell of {reference!r}; there are {listed(in_order(cells['method']))}")
    lines = []
    points = ", points" if metric.percent else ""
    for architecture, rows in judged_comparisons(cells, smallest, records, reference, metric).items():
        lines.append(
            f"{architecture}: test {metric.column} minus that of {method_name(reference).legend}{points}, paired by "
            f"seed; 95 % interval and p of the exact sign-flip test; p by Holm for the explored comparisons"
        )
        lines += [f"  {_line(each)}" for each in rows]
    if not lines:
        raise ValueError(
            f"no other method has a seed in common with {reference!r}, and comparisons are paired by seed; fit both with "
            f"the same --config.seeds"
        )
    return lines


def _line(judged: Judged) -> str:
    each = judged.comparison
    count, name, text = len(each.seeds), method_name(each.method).legend, judged.metric.difference
    if count < 2:
        return f"{name}: {text(each.difference)} (n = 1: no spread and no claim)"
    interval = f"[{text(each.low)}, {text(each.high)}]" if each.low == each.low else "[no interval]"
    said = f"{name}: {text(each.difference)} {interval}, p = {each.p:.3g}"
    if judged.kind == "reference":
        return f"{said}, n = {count}: reference, no candidate"
    adjusted = f" ({each.adjusted:.3g} by Holm)" if judged.together > 1 else ""
    return f"{said}{adjusted}, n = {count}, {judged.kind}: {judged.claim}"

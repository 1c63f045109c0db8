"""Every method against a reference, as lines of text that say what may be claimed."""

import pandas as pd

from seqfinal_jax.analysis.statistics import Comparison, compare, seeds_needed
from seqfinal_jax.analysis.tables.labels import in_order, listed, method_name

SMALLEST = 0.01


def accuracies_by_seed(cells: pd.DataFrame, column: str = "test_accuracy") -> dict[str, dict[int, float]]:
    """Accuracies of one architecture's cells, by method and seed."""
    found: dict[str, dict[int, float]] = {}
    for row in cells.itertuples():
        found.setdefault(row.method, {})[int(row.seed)] = float(getattr(row, column))
    return found


def comparison_lines(cells: pd.DataFrame, reference: str, smallest: float = SMALLEST) -> list[str]:
    """For each architecture a line for each method; raises ValueError for a reference without cells."""
    if reference not in set(cells["method"]):
        raise ValueError(f"no cell of {reference!r}; there are {listed(in_order(cells['method']))}")
    lines = []
    for architecture, own in cells.groupby("architecture", sort=False):
        compared = compare(accuracies_by_seed(own), reference, in_order(own["method"]))
        lines.append(
            f"{architecture}: test accuracy minus that of {method_name(reference).legend}, points, paired by seed; 95 % "
            f"interval (BCa bootstrap, 10,000 resamples), exact sign-flip p, adjusted for {len(compared)} methods (Holm)"
        )
        lines += [f"  {_line(each, len(compared), smallest)}" for each in compared]
    return lines


def _line(each: Comparison, methods: int, smallest: float) -> str:
    count, name = len(each.seeds), method_name(each.method).legend
    if count < 2:
        return f"{name}: {100 * each.difference:+.1f} (n = 1: no spread and no claim)"
    interval = f"[{100 * each.low:+.1f}, {100 * each.high:+.1f}]"
    said = f"{name}: {100 * each.difference:+.1f} {interval}, p = {each.p:.3g}, n = {count}"
    if each.is_called(smallest):
        return f"{said}: {'better' if each.difference > 0 else 'worse'}"
    needed = seeds_needed(methods)
    return f"{said}: no claim" + (f" ({needed} seeds could support one)" if count < needed else "")

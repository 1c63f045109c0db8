"""How far two runs of the same cells are apart, such as one in float32 and one in bfloat16, as a Markdown table.

python -m benchmarks.paired ONE OTHER      run folders, or their results.csv; the table shows ONE minus OTHER

Methods and networks are those that both have, paired by seed. The last line takes each seed's mean over all of them, so
that a seed counts once.
"""

import argparse
from pathlib import Path

import pandas as pd

from seqfinal_jax.analysis.statistics import compare
from seqfinal_jax.analysis.tables.results_table import joined_cells

CELL = ["method", "architecture", "seed"]
HEAD = ("| cells | one | other | difference (95 % interval) | p | n |", "|---|---|---|---|---|---|")


def stored_cells(run: Path) -> pd.DataFrame:
    """The finished cells of a run folder, or those that a results.csv lists."""
    return pd.read_csv(run) if run.suffix == ".csv" else joined_cells([run])


def paired_cells(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The cells that both have: method, architecture, seed, and the test accuracies `one` and `other`."""
    columns = [*CELL, "test_accuracy"]
    found = one[columns].merge(other[columns], on=CELL, suffixes=("_one", "_other"))
    return found.rename(columns={"test_accuracy_one": "one", "test_accuracy_other": "other"})


def line(name: str, cells: pd.DataFrame) -> str:
    """Both means, their difference with its 95 % interval and p of the exact sign-flip test, and n."""
    by_seed = cells.groupby("seed")[["one", "other"]].mean()
    [found] = compare({side: by_seed[side].to_dict() for side in ("one", "other")}, "other", ["one"])
    means = " | ".join(f"{100 * by_seed[side].mean():.2f}" for side in ("one", "other"))
    interval = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}" if found.low == found.low else "-"
    return (
        f"| {name} | {means} | {100 * found.difference:+.2f} ({interval}) | {found.p:.2f} | {len(by_seed)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    options = parser.parse_args()
    cells = paired_cells(stored_cells(options.one), stored_cells(options.other))
    if cells.empty:
        raise SystemExit(f"error: {options.one} and {options.other} have no cell of the same method and seed")
    print("\n".join(HEAD))
    for (method, architecture), own in cells.groupby(["method", "architecture"], sort=False):
        print(line(f"`{method}`, {architecture}", own))
    print(line("all", cells))


if __name__ == "__main__":
    main()

"""Test accuracies of the published program beside ours, paired by seed, as a Markdown table.

python -m benchmarks.parity RUN [RUN...]      runs of --config=configs/cifar10_rcl.py:released,quick, or their results.csv
"""

import argparse
from pathlib import Path

import pandas as pd

from benchmarks.paired import stored_cells
from seqfinal_jax.analysis.statistics import compare
from seqfinal_jax.analysis.tables.labels import method_name

PUBLISHED = Path(__file__).parents[1] / "docs" / "results" / "parity" / "published_quick.csv"


def by_seed(frame: pd.DataFrame) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for row in frame.itertuples():
        found.setdefault(row.method, {})[int(row.seed)] = float(row.test_accuracy)
    return found


def rows(ours: pd.DataFrame, published: pd.DataFrame) -> list[str]:
    """A line for each method: means over shared seeds, difference with interval, sign-flip p, n."""
    theirs, own = by_seed(published), by_seed(ours)
    lines = [
        "| method | published | ours | ours minus published (95 % interval) | p | n |",
        "|---|---|---|---|---|---|",
    ]
    for method in [name for name in theirs if name in own]:
        pair = {"ours": own[method], "published": theirs[method]}
        [found] = compare(pair, "published", ["ours"])
        means = [
            100 * sum(pair[name][s] for s in found.seeds) / len(found.seeds) for name in ("published", "ours")
        ]
        interval = (
            f"{100 * found.low:+.1f} to {100 * found.high:+.1f}" if found.low == found.low else "no interval"
        )
        lines.append(
            f"| `{method}` ({method_name(method).column}) | {means[0]:.1f} | {means[1]:.1f} | "
            f"{100 * found.difference:+.1f} ({interval}) | {found.p:.2f} | {len(found.seeds)} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    runs = parser.parse_args().runs
    ours = pd.concat([stored_cells(run) for run in runs])
    if set(ours["sequence"]) != {"cifar10_rcl-quick"} or set(ours["protocol"]) != {"released"}:
        raise SystemExit("error: these are not runs of configs/cifar10_rcl.py:released,quick")
    print("\n".join(rows(ours, pd.read_csv(PUBLISHED))))


if __name__ == "__main__":
    main()

"""What the search by halving costs in accuracy and saves in training, against the full grid.

python -m benchmarks.halving GRID HALVING      two run folders, the second with --config.search=halving

Per method, over the seeds that both have: in how many seeds the same grid point won in every stage, the mean difference
in validation and in test accuracy in points (halving minus grid, the latter with its 95 % interval and p of the exact
sign-flip test), and the forward passes of halving as a share of the grid's.
"""

import argparse
from pathlib import Path

import numpy as np

from seqfinal_jax.analysis.statistics import compare
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.results.run_folder import read_result

HEAD = (
    "| method | same winners | validation | test (95 % interval) | p | training | n |",
    "|---|---|---|---|---|---|---|",
)
Records = dict[int, dict]  # a method's result.json by seed


def records_of(workdir: Path) -> dict[str, Records]:
    """Every finished cell's result.json, by method and seed."""
    found: dict[str, Records] = {}
    for cell in done_cells(workdir):
        record = read_result(cell)
        found.setdefault(record["method"], {})[record["seed"]] = record
    return found


def won(record: dict) -> list[dict]:
    """The hyper-parameters that won in every stage."""
    return [stage["hyper"] for stage in record["stages"]]


def line(method: str, grid: Records, halving: Records) -> str:
    """The table's row of a method."""
    seeds = sorted(grid.keys() & halving.keys())
    same = sum(won(grid[seed]) == won(halving[seed]) for seed in seeds)
    valid = np.mean([halving[seed]["valid_accuracy"] - grid[seed]["valid_accuracy"] for seed in seeds])
    sides = {
        name: {s: side[s]["test_accuracy"] for s in seeds} for name, side in (("g", grid), ("h", halving))
    }
    [test] = compare(sides, "g", ["h"])
    passes = [sum(sum(side[s]["forward_passes"].values()) for s in seeds) for side in (halving, grid)]
    return (
        f"| `{method}` | {same} of {len(seeds)} | {100 * valid:+.2f} | {100 * test.difference:+.2f} "
        f"({100 * test.low:+.2f} to {100 * test.high:+.2f}) | {test.p:.3f} | "
        f"{100 * passes[0] / passes[1]:.0f} % | {len(seeds)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grid", type=Path)
    parser.add_argument("halving", type=Path)
    options = parser.parse_args()
    grid, halving = records_of(options.grid), records_of(options.halving)
    if not grid.keys() & halving.keys():
        raise SystemExit(
            f"error: {options.grid} and {options.halving} have no finished cell of the same method"
        )
    print("\n".join(HEAD))
    for method in (name for name in grid if name in halving):
        print(line(method, grid[method], halving[method]))


if __name__ == "__main__":
    main()

"""The effect of the adjacent penalty as numbers, from the joint-model cells of one or more run folders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.tables.cell_tables import over_seeds, read_change, read_final_grid
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.tables.labels import architectures_in_order, limit_methods, listed
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, read_result

# The joint models with separate networks of all steps, all samples, and an l2 penalty of some strength (or none).
JOINT = ("joint_adjacent_reg_none", "joint", "joint_adjacent_reg_l2_high", "joint_adjacent_reg_l2_very_high")
AGREED = ("sequence", "protocol", "n_valid")
CSV_COLUMNS = ("figure", "series", "adjacent", "statistic", "seed", "value", "n")


class Found(NamedTuple):
    """A completed cell with its result and its grid."""

    cell: CellFolder
    result: dict[str, Any]
    grid: pd.DataFrame


@dataclass(frozen=True, eq=False)
class AdjacentEffect:
    """What the figures show, by seed.

    accuracy: series ("joint" or a reference), adjacent (strength γ, NaN for a reference), seed, value (a fraction).
    change: series (a layer), adjacent (the winner's γ), seed, value (the root of the summed squared l2 distances between
        neighbouring steps); without rows where no cell has a layer_change.csv.
    """

    architecture: str
    sequence: str
    protocol: str
    n_valid: int
    selection: str
    accuracy: pd.DataFrame
    change: pd.DataFrame

    @property
    def seeds(self) -> list[int]:
        """All seeds of the joint model, in order."""
        return sorted(set(self.accuracy.loc[self.accuracy["series"] == "joint", "seed"]))

    @property
    def strengths(self) -> list[float]:
        """All γ, in order."""
        return sorted(set(self.accuracy["adjacent"].dropna()))


def adjacent_effect(workdirs: Sequence[str | Path], architecture: str | None = None) -> AdjacentEffect:
    """Reads run folders of one sequence and protocol.

    The accuracy at a γ is the highest among all grid points of that γ that did not fail, whichever run they are from.
    The change at a γ is that of the cells whose winner has it; where a seed has several such cells, of the one with the
    higher validation accuracy.

    Args:
        workdirs: run folders.
        architecture: whose cells; may be left out where there is only one.

    Raises:
        RunFolderError: not run folders, runs that do not go together, or no such cells.
    """
    cells = [found for workdir in workdirs for found in _cells(workdir)]
    joint = [found for found in cells if found.cell.method in JOINT]
    if not joint:
        expected = f"expected cells of {listed(JOINT)}"
        raise RunFolderError(
            f"no completed cell of the joint model in {listed(workdirs)}; {expected}: run one of them"
        )
    architecture = _architecture(joint, architecture)
    cells = [found for found in cells if found.cell.architecture == architecture]
    _check_agreement(cells)
    joint = [found for found in cells if found.cell.method in JOINT]
    result = joint[0].result
    return AdjacentEffect(
        architecture, *(result[name] for name in (*AGREED, "selection")), _accuracies(cells), _changes(joint)
    )


def effect_rows(effect: AdjacentEffect) -> Iterator[tuple]:
    """Every drawn number as a row of `CSV_COLUMNS`: each seed's, then mean and spread over seeds with their n."""
    for figure, points in (("accuracy", effect.accuracy), ("change", effect.change)):
        for row in points.itertuples():
            yield figure, row.series, row.adjacent, "seed", row.seed, row.value, 1
        for row in summarised(points).itertuples():
            yield figure, row.series, row.adjacent, "mean", None, row.mean, row.n
            yield figure, row.series, row.adjacent, "spread", None, row.spread, row.n


def summarised(points: pd.DataFrame) -> pd.DataFrame:
    """series, adjacent (NaN first), mean, spread (sample standard deviation, NaN for one seed), n."""
    filled = points.assign(adjacent=points["adjacent"].fillna(-1.0))
    table = over_seeds(filled, ("series", "adjacent"), "value")
    return table.assign(adjacent=table["adjacent"].where(table["adjacent"] >= 0))


def _cells(workdir: str | Path) -> Iterator[Found]:
    for cell in done_cells(workdir):
        if cell.method in (*JOINT, *limit_methods()):
            yield Found(cell, read_result(cell), read_final_grid(cell))


def _architecture(joint: list[Found], asked: str | None) -> str:
    found = architectures_in_order(each.cell.architecture for each in joint)
    if asked is None and len(found) > 1:
        raise RunFolderError(
            f"the joint model is there for {listed(found)}; choose one of them with --architecture"
        )
    if asked is not None and asked not in found:
        raise RunFolderError(
            f"no completed cell of the joint model for --architecture {asked}; found {listed(found)}"
        )
    return asked or found[0]


def _check_agreement(cells: list[Found]) -> None:
    """Raises RunFolderError where cells are of other data or another protocol than the first one."""
    first, data_seeds = cells[0], {}
    for found in cells:
        for name in AGREED:
            if found.result[name] != first.result[name]:
                _disagree(name, found, first)
        if found.result["data_seed"] != data_seeds.setdefault(found.cell.seed, found).result["data_seed"]:
            _disagree("data_seed", found, data_seeds[found.cell.seed])


def _disagree(name: str, one: Found, other: Found) -> None:
    raise RunFolderError(
        f"{one.cell.path} has {name} {one.result[name]!r}, {other.cell.path} has {other.result[name]!r}; "
        "give run folders that agree in it"
    )


def _accuracies(cells: list[Found]) -> pd.DataFrame:
    rows = []
    for cell, _, grid in cells:
        if cell.method in JOINT:
            lacking = grid["adjacent"].isna()
            if lacking.any():
                path = cell.path / "grid.csv"
                advice = f"delete the folder {cell.path} and run again to compute this cell"
                raise RunFolderError(
                    f"{path} should have a number as adjacent in every row, found a blank; {advice}"
                )
            rows += [("joint", row.adjacent, cell.seed, row.best_accuracy) for row in grid.itertuples()]
        else:
            winner = grid[grid["chosen"]]
            rows += [(cell.method, float("nan"), cell.seed, row.best_accuracy) for row in winner.itertuples()]
    return _best(rows, "value")


def _changes(joint: list[Found]) -> pd.DataFrame:
    rows = []
    for cell, result, grid in joint:
        by_layer = read_change(cell).groupby("layer", sort=False)["distance"]
        for gamma in grid.loc[grid["chosen"], "adjacent"]:
            for layer, distances in by_layer:
                change = change_over_steps(distances.to_numpy())
                rows.append((layer, gamma, cell.seed, change, result["valid_accuracy"]))
    return _best(rows, "accuracy").drop(columns="accuracy")


def change_over_steps(distances: np.ndarray) -> float:
    """One number for a layer: the root of the sum of squared distances (pairs,) of neighbouring steps (joint spec, 7)."""
    return float(np.sqrt(np.sum(np.square(distances))))


def _best(rows: list[tuple], by: str) -> pd.DataFrame:
    """For each series, γ and seed the row that is highest by a column, the first on ties; in the order of γ."""
    columns = ["series", "adjacent", "seed", "value", "accuracy"]
    table = pd.DataFrame(rows, columns=columns[: len(rows[0])] if rows else columns)
    kept = table.sort_values(by, ascending=False, kind="stable").drop_duplicates(columns[:3]).sort_index()
    return kept.sort_values(["adjacent", "seed"], kind="stable", ignore_index=True)

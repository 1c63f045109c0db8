"""Tables that some cells have: the tried grid points, how far layers moved, how often samples were used."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, cell_file

CHANGE_COLUMNS = ("layer", "step", "distance")
USAGE_COLUMNS = ("step", "times_used", "samples")
GRID_COLUMNS = ("role", "best_accuracy", "failed", "chosen")


def read_change(cell: CellFolder) -> pd.DataFrame:
    """How far each layer moved between time steps, from layer_change.csv; empty where the cell has none.

    Returns:
        layer, step (1..F), distance (≥ 0): the root of the squared distance over all trainable tensors of the layer
        between the models of `step` - 1 and `step`.

    Raises:
        RunFolderError: the file is damaged.
    """
    table = _read(cell, "layer_change.csv", CHANGE_COLUMNS, CHANGE_COLUMNS[1:])
    _check(cell.path / "layer_change.csv", table, "step", "whole numbers from 1", _whole_from(1))
    _check(
        cell.path / "layer_change.csv", table, "distance", "finite numbers from 0", lambda values: values >= 0
    )
    return table.astype({"step": int})


def read_usage(cell: CellFolder) -> list[np.ndarray]:
    """How often each training sample is used, (n_t,) for steps 0..F, from sample_usage.csv; empty where it lacks.

    Raises:
        RunFolderError: the file is damaged, or leaves out a step.
    """
    path = cell.path / "sample_usage.csv"
    table = _read(cell, "sample_usage.csv", USAGE_COLUMNS, USAGE_COLUMNS)
    for name in USAGE_COLUMNS:
        _check(path, table, name, "whole numbers from 0", _whole_from(0))
    table = table[table["samples"] > 0].astype(int)
    steps = sorted(set(table["step"]))
    if steps != list(range(len(steps))):
        raise RunFolderError(f"{path} should have every step from 0, found {steps}; {_advice(path)}")
    groups = table.groupby("step")
    return [np.repeat(rows["times_used"], rows["samples"]).to_numpy() for _, rows in groups]


def read_final_grid(cell: CellFolder) -> pd.DataFrame:
    """The grid points of the stage that gives a cell's result, from grid.csv; failed ones left out.

    Returns:
        The columns of the file; best_accuracy is a fraction, chosen boolean. `adjacent` and `efficient_decay` are
        numbers, NaN where the grid does not have them.

    Raises:
        RunFolderError: the file is missing or damaged.
    """
    path = cell.path / "grid.csv"
    if not path.is_file():
        raise RunFolderError(f"{path} is missing; {_advice(path)}")
    table = _read(cell, "grid.csv", GRID_COLUMNS, ())
    table = table[(table["role"] == "final") & (table["failed"].astype(str) == "False")]
    numbers = {
        name: pd.to_numeric(table.get(name, pd.Series(np.nan, table.index)), errors="coerce")
        for name in ("best_accuracy", "adjacent", "efficient_decay")
    }
    table = table.assign(**numbers, chosen=table["chosen"].astype(str) == "True").reset_index(drop=True)
    _check(
        path, table, "best_accuracy", "fractions from 0 to 1", lambda values: (values >= 0) & (values <= 1)
    )
    return table


def read_changes(workdir: str | Path) -> pd.DataFrame:
    """The layer changes of every completed cell that has them: method, architecture, seed, layer, step, distance."""
    tables = [
        read_change(cell).assign(method=cell.method, architecture=cell.architecture, seed=cell.seed)
        for cell in done_cells(workdir)
    ]
    columns = ["method", "architecture", "seed", *CHANGE_COLUMNS]
    tables = [table[columns] for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def over_seeds(points: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean over seeds of a column, by others, in the order of their values.

    Returns:
        The columns `by`, then mean, spread and n; spread is the sample standard deviation (n - 1), NaN for n = 1.
    """
    groups = points.groupby(list(by))[value]
    return groups.agg(mean="mean", spread=lambda values: values.std(ddof=1), n="size").reset_index()


def _read(cell: CellFolder, name: str, columns: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """A CSV file with at least these columns, some of them numbers; without rows where there is no file."""
    path = cell_file(cell, name)
    if path is None:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in columns})
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunFolderError(f"{path} cannot be read ({reason}); {_advice(path)}") from error
    lacking = [name for name in columns if name not in table]
    if lacking:
        found = ", ".join(map(str, table.columns))
        raise RunFolderError(f"{path} lacks {', '.join(lacking)}, it has {found}; {_advice(path)}")
    return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in numbers})


def _check(
    path: Path, table: pd.DataFrame, name: str, expected: str, right: Callable[[pd.Series], pd.Series]
) -> None:
    """Raises RunFolderError where a column holds something else than expected (NaN: not a number)."""
    wrong = table[name][~(right(table[name]) & np.isfinite(table[name]))]
    if len(wrong):
        text, line = f"{wrong.iloc[0]:g}", wrong.index[0] + 2
        raise RunFolderError(
            f"{path} should have {expected} as {name}, found {text} in line {line}; {_advice(path)}"
        )


def _whole_from(least: int) -> Callable[[pd.Series], pd.Series]:
    return lambda values: (values >= least) & (values % 1 == 0)


def _advice(path: Path) -> str:
    return f"delete the folder {path.parent} and run again to compute this cell"

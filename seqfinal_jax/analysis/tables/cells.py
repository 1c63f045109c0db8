"""The cells of a run folder as data frames: what was done, what failed, and how training went."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from seqfinal_jax.analysis.tables.labels import architecture_order, method_order, remember_label
from seqfinal_jax.results.run_folder import (
    CELLS_PATTERN,
    CellFolder,
    RunFolderError,
    cell_file,
    cell_folders,
    check_run_folder,
    read_result,
)

HYPERS = ("learning_rate", "weight_decay", "dropout")
COLUMNS = (
    "sequence", "protocol", "method", "architecture", "seed", "data_seed", "test_accuracy", "valid_accuracy",
    "test_loss", "valid_loss", *HYPERS, "best_epoch", "stop_epoch", "selection", "n_test", "n_valid",
    "precision", "late_gain",
)  # fmt: skip
# Those of the published methods; the ones that only some have stand in grid.csv and result.json.
KNOWN_HYPERS = (*HYPERS, "adjacent", "final_weight", "efficient_decay", "layers")
FAILURE_COLUMNS = ("method", "architecture", "seed", "message", "text")
_FLOATS = ("test_accuracy", "valid_accuracy", "test_loss", "valid_loss", "late_gain", *HYPERS)
# What results of earlier versions lack.
_LATER = {"precision": "highest", "late_gain": math.nan}


def read_cells(workdir: str | Path) -> pd.DataFrame:
    """One row per completed cell, by method (order of the table), architecture, seed.

    Returns:
        `COLUMNS`, then the hyper-parameters that only some methods have; accuracies are fractions, losses means
        over samples, epochs counted from 0, late_gain the largest of its stages (`training_length`), NaN of results that
        do not record it.

    Raises:
        RunFolderError: not a run folder, a damaged result, or cells of several sequences or protocols.
    """
    rows = [_row(cell, read_result(cell)) for cell in done_cells(workdir)]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *_own_columns(rows)])
    for name in ("sequence", "protocol"):
        if frame[name].nunique() > 1:
            found = ", ".join(sorted(frame[name].unique()))
            raise RunFolderError(f"{workdir} mixes cells of {name} {found}; give each its own --workdir")
    return frame.astype(dict.fromkeys(_FLOATS, float))


def read_failures(workdir: str | Path) -> pd.DataFrame:
    """Every failed cell as a row, in the order of `read_cells`.

    Returns:
        method, architecture, seed, message (the last line of its error.txt), text (all of it).
    """
    rows = [_failure(cell) for cell in _ordered(workdir) if is_failed(cell)]
    return pd.DataFrame(rows, columns=list(FAILURE_COLUMNS))


def done_cells(workdir: str | Path) -> list[CellFolder]:
    """The folders of all completed cells, in the order of `read_cells`."""
    return [cell for cell in _ordered(workdir) if (cell.path / "result.json").exists()]


def is_failed(cell: CellFolder) -> bool:
    """A cell with an error and no result."""
    return (cell.path / "error.txt").exists() and not (cell.path / "result.json").exists()


def read_stages(workdir: str | Path) -> pd.DataFrame:
    """One row per stage of every completed cell: method, architecture, seed, and the stage as result.json has it.

    The stage's hyper-parameters are columns of their own; `position` counts the stages of a cell from 0.
    """
    rows: list[dict[str, Any]] = []
    for cell in done_cells(workdir):
        for position, stage in enumerate(read_result(cell).get("stages", [])):
            flat = {name: value for name, value in stage.items() if name != "hyper"}
            rows.append({**_place(cell), "position": position, **flat, **stage.get("hyper", {})})
    return pd.DataFrame(rows)


def read_curves(cell: CellFolder) -> pd.DataFrame:
    """A completed cell's history.csv, with the column `chosen` of its grid.csv; empty where one of them is missing."""
    history, grid = (cell_file(cell, name) for name in ("history.csv", "grid.csv"))
    if history is None or grid is None:
        return pd.DataFrame(
            columns=["stage", "member", "epoch", "train_accuracy", "valid_accuracy", "chosen"]
        )
    try:
        chosen = pd.read_csv(grid)[["stage", "member", "chosen"]]
        return pd.read_csv(history).merge(chosen, on=["stage", "member"], how="left", validate="many_to_one")
    except (KeyError, ValueError) as error:
        advice = f"delete the folder {cell.path} and run again to compute this cell"
        raise RunFolderError(f"{history} and {grid.name} cannot be read ({error}); {advice}") from error


def _ordered(workdir: str | Path) -> list[CellFolder]:
    folder = check_run_folder(workdir)
    return sorted(
        cell_folders(folder),
        key=lambda cell: (method_order(cell.method), architecture_order(cell.architecture), cell.seed),
    )


def _place(cell: CellFolder) -> dict[str, Any]:
    return {"method": cell.method, "architecture": cell.architecture, "seed": cell.seed}


def _row(cell: CellFolder, result: dict[str, Any]) -> dict[str, Any]:
    label = result.get("label", {})
    if label.get("method") == cell.method:
        remember_label(cell.method, label)
    flat = {**dict.fromkeys(HYPERS), **_LATER, **result, **result.get("hyper", {})}
    lacking = [name for name in COLUMNS if name not in flat]
    if lacking:
        path = cell.path / "result.json"
        advice = f"delete {CELLS_PATTERN} of this cell and run again"
        raise RunFolderError(f"{path} lacks {', '.join(lacking)}; {advice}")
    return {name: flat[name] for name in (*COLUMNS, *_own_names(result))}


def _own_names(result: dict[str, Any]) -> list[str]:
    """The hyper-parameters that a method declares itself."""
    return [name for name in result.get("hyper", {}) if name not in KNOWN_HYPERS]


def _own_columns(rows: list[dict[str, Any]]) -> list[str]:
    return sorted({name for row in rows for name in row} - set(COLUMNS))


def _failure(cell: CellFolder) -> dict[str, Any]:
    text = (cell.path / "error.txt").read_text(encoding="utf-8", errors="replace").strip()
    message = text.splitlines()[-1].strip() if text else "no message"
    return {**_place(cell), "message": message, "text": text}

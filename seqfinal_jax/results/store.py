"""What a run folder holds of stages and cells: the one place that knows where they are, and when they are done.

A stage, transformation or choice of one seed is `stages/<key>/seed<k>/`, a cell `cells/<method>/<architecture>/seed<k>/`.
Both appear whole, by renaming, and are read with their checksums.
"""

import io
import logging
import shutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqfinal_jax.records.plugins import outside_place, told
from seqfinal_jax.results.checkpoints import (
    FORMAT,
    META,
    ProgressStore,
    SaveBudget,
    named_leaves,
    nested,
    read_folder,
    write_folder,
)
from seqfinal_jax.results.rows import Row, grid_columns, history_columns, rows_from_csv, rows_to_csv
from seqfinal_jax.results.run_folder import RESULT_SCHEMA, stage_folder, write_whole
from seqfinal_jax.results.sealed import DamagedFolder, OtherFormat, read_sealed, write_sealed

log = logging.getLogger(__name__)
RECENT = 2  # nodes whose results stay in memory


class Cell(NamedTuple):
    """One entry of a results table."""

    architecture: str
    method: str
    seed: int


class Missing(Exception):
    """A result that is needed is not stored, or is damaged: it must be computed."""


@dataclass(frozen=True)
class StageResult:
    """A finished stage of one seed: the variables of the best training, and the outcome of every grid point."""

    best: dict[str, Any]
    last: dict[str, Any]
    optimiser: dict[str, Any]
    chosen: int
    grid: list[Row]
    history: list[Row]

    @property
    def winner(self) -> Row:
        """The chosen grid point's row."""
        return self.grid[self.chosen]

    def without_last(self) -> "StageResult":
        """The same without the parts that only a stage that continues this one needs."""
        return replace(self, last={}, optimiser={})


class Store:
    """The results of a run folder. Results of the nodes that were used last stay in memory, without last variables."""

    def __init__(self, workdir: Path) -> None:
        self.workdir, self.budget = workdir, SaveBudget()
        self.recent: dict[str, dict[int, StageResult]] = {}
        self._damaged: set[tuple[str, int]] = set()

    def place(self, key: str, seed: int) -> Path:
        """The folder of a node's result for one seed."""
        return stage_folder(self.workdir, key, seed)

    def progress(self, key: str) -> ProgressStore:
        """The folder in which a fit of this stage keeps its state while it runs."""
        return ProgressStore(self.place(key, 0).with_name("progress"), self.budget)

    def has(self, key: str, seed: int) -> bool:
        """Whether a node's result exists; it is complete, because folders appear by renaming."""
        return (key, seed) not in self._damaged and (self.place(key, seed) / META).exists()

    def save(self, key: str, seed: int, result: StageResult, describe: Mapping[str, Any]) -> None:
        """Stores a stage's or transformation's result; `describe` is its full description."""
        trees = {"best": result.best, "last": result.last, "optimiser": result.optimiser}
        meta = {**describe, "seed": seed, "chosen": result.chosen}
        files = {
            "grid.csv": rows_to_csv(grid_columns(result.grid), result.grid),
            "history.csv": rows_to_csv(history_columns(result.history), result.history),
        }
        write_folder(self.place(key, seed), named_leaves(trees), meta, files)
        self._damaged.discard((key, seed))
        self._remember(key, seed, result.without_last())

    def load(self, key: str, seed: int, whole: bool = False) -> StageResult:
        """A stored result; `whole` has the last variables and the optimiser's state too.

        Raises Missing where there is none or it is damaged (which is reported), and ValueError for one of another
        version, which must not be overwritten.
        """
        if not whole and seed in self.recent.get(key, {}):
            self._remember(key, seed, self.recent[key][seed])
            return self.recent[key][seed]
        if not self.has(key, seed):
            raise Missing(f"stage {key} of seed {seed} is not stored")
        arrays, meta, files = self._read(key, seed)
        trees = nested(arrays)
        grid, history = (rows_from_csv(files[name]) for name in ("grid.csv", "history.csv"))
        best, last = (variables_of(trees[name]) for name in ("best", "last"))
        result = StageResult(best, last, trees.get("optimiser", {}), meta["chosen"], grid, history)
        self._remember(key, seed, result.without_last())
        return result if whole else result.without_last()

    def _read(self, key: str, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, str]]:
        try:
            return read_folder(self.place(key, seed))
        except DamagedFolder as error:
            raise self._lost(key, seed, error) from None
        except OtherFormat as error:
            raise ValueError(str(error)) from error

    def _lost(self, key: str, seed: int, error: Exception) -> Missing:
        log.warning("a stored stage is damaged and will be fitted again: %s", error)
        self._damaged.add((key, seed))
        return Missing(str(error))

    def _remember(self, key: str, seed: int, result: StageResult) -> None:
        self.recent[key] = self.recent.pop(key, {}) | {seed: result}
        while len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]

    def epochs(self, key: str, seed: int) -> list[int]:
        """The epochs that each grid point of a stored stage was trained for; empty where there is no result."""
        path = self.place(key, seed) / "grid.csv"
        if not self.has(key, seed) or not path.is_file():
            return []
        return [int(row["stop_epoch"]) for row in rows_from_csv(path.read_text(encoding="utf-8"))]

    def save_choice(self, key: str, seed: int, number: int, candidate: str) -> None:
        """Stores which candidate a choice took: its number, counted from 0, and its key."""
        record = {"format": FORMAT, "seed": seed, "chosen": number, "candidate": candidate}
        write_sealed(self.place(key, seed), META, record, {})
        self._damaged.discard((key, seed))

    def choice(self, key: str, seed: int) -> int:
        """The number of the candidate that a choice took; raises Missing where it is not stored or damaged."""
        if not self.has(key, seed):
            raise Missing(f"choice {key} of seed {seed} is not stored")
        try:
            return int(read_sealed(self.place(key, seed), META)["chosen"])
        except DamagedFolder as error:
            raise self._lost(key, seed, error) from None

    def cell_folder(self, cell: Cell) -> Path:
        """The folder of a cell."""
        return self.workdir / "cells" / cell.method / cell.architecture / f"seed{cell.seed}"

    def has_cell(self, cell: Cell, recipe: str) -> bool:
        """Whether a cell's files exist, are undamaged, and were made by the node of this key."""
        folder = self.cell_folder(cell)
        if not (folder / "result.json").exists():
            return False
        try:
            result = read_sealed(folder, "result.json")
        except DamagedFolder as error:
            log.warning("a cell is damaged and is computed again: %s", error)
            return False
        return result.get("schema") == RESULT_SCHEMA and result["recipe"] == recipe

    def save_cell(
        self,
        cell: Cell,
        record: Mapping[str, Any],
        tables: Mapping[str, str],
        predictions: Mapping[str, np.ndarray],
    ) -> None:
        """Writes a cell: its record, its CSV files by name, and its predictions."""
        archive, arrays = io.BytesIO(), dict[str, Any](predictions)
        np.savez_compressed(archive, **arrays)
        files = {**tables, "predictions.npz": archive.getvalue()}
        write_sealed(self.cell_folder(cell), "result.json", record, files)

    def fail_cell(self, cell: Cell, error: Exception) -> None:
        """Writes error.txt to a cell's folder and removes all else there: an earlier result does not belong to this run.

        A later run tries the cell again. Raises OSError where the folder cannot be written.
        """
        folder = self.cell_folder(cell)
        shutil.rmtree(folder, ignore_errors=True)
        last = f"{told(error)}\n" if outside_place(error) else ""  # the line that reports show
        write_whole(folder / "error.txt", "".join(traceback.format_exception(error)) + last)

    def failed_since(self, cell: Cell, moment: float) -> bool:
        """Whether a process has failed at a cell since a moment, in seconds since 1970."""
        try:
            return (self.cell_folder(cell) / "error.txt").stat().st_mtime >= moment
        except OSError:
            return False


def variables_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Variables as networks take them, with the empty trees, such as the statistics of a network without batch norm, that
    are not stored."""
    return {"params": {}, "batch_stats": {}, **stored}

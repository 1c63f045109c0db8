"""Finished stages on disk: `stages/<fingerprint>/seed<k>/`, never fitted twice."""

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.results.checkpoints import (
    ProgressStore,
    SaveBudget,
    named_leaves,
    nested,
    read_folder,
    write_folder,
)
from seqfinal_jax.results.sealed import DamagedFolder, OtherFormat
from seqfinal_jax.training.engine.members import MemberResult

log = logging.getLogger(__name__)

Row = dict[str, Any]
GRID_COLUMNS = (
    "member", "layers", "learning_rate", "weight_decay", "adjacent", "dropout", "best_accuracy", "best_epoch",
    "stop_epoch", "failed", "chosen",
)  # fmt: skip
JOINT_COLUMNS = ("final_weight", "efficient_decay")  # after dropout, in the grids that have them
HALVED = "halved"  # before "chosen", of stages in which grid points were stopped at a rung
HISTORY_COLUMNS = ("member", "epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


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

    def winner_row(self, names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, float]]:
        """The layers (empty for all) and the hyper-parameters of those names of the chosen grid point."""
        layers = self.winner["layers"]
        return () if layers == "all" else tuple(layers.split(",")), {n: float(self.winner[n]) for n in names}

    def winner_result(self) -> MemberResult:
        """The chosen grid point as the engine left it, its optimiser's state by names."""
        rows = [row for row in self.history if row["member"] == self.chosen]
        names = [name for name in rows[0] if name not in ("member", "epoch")]
        scalars = {
            name: self.winner[name] for name in ("best_accuracy", "best_epoch", "stop_epoch", "failed")
        }
        history = {name: np.array([float(row[name]) for row in rows]) for name in names}
        return MemberResult(
            **scalars, history=history, best=self.best, last=self.last, optimiser=self.optimiser
        )


def stage_result(
    hypers: Sequence[Mapping[str, Any]], results: Sequence[MemberResult], chosen: int
) -> StageResult:
    """Results of one seed's members as rows (`hypers`: what distinguishes them), with the winner's variables."""
    grid, history, any_halved = [], [], any(result.halved for result in results)
    for member, (hyper, result) in enumerate(zip(hypers, results, strict=True)):
        names = ("best_accuracy", "best_epoch", "stop_epoch", "failed", *(("halved",) if any_halved else ()))
        scalars = {name: getattr(result, name) for name in names}
        grid.append({"member": member, **hyper, **scalars, "chosen": member == chosen})
        for epoch in range(result.stop_epoch + 1):
            figures = {name: float(values[epoch]) for name, values in result.history.items()}
            history.append({"member": member, "epoch": epoch, **figures})
    best = results[chosen]
    optimiser = nested(named_leaves(best.optimiser))
    return StageResult(best.best, best.last, optimiser, chosen, grid, history)


class StageStore:
    """The stages of a run folder."""

    def __init__(self, workdir: Path) -> None:
        self.folder = workdir / "stages"
        self.budget = SaveBudget()

    def place(self, fingerprint: str, seed: int) -> Path:
        """The folder of a stage's result for one seed."""
        return self.folder / fingerprint / f"seed{seed}"

    def progress(self, fingerprint: str) -> ProgressStore:
        """The folder in which a fit of this stage keeps its state while it runs."""
        return ProgressStore(self.folder / fingerprint / "progress", self.budget)

    def has(self, fingerprint: str, seed: int) -> bool:
        """Whether a result exists; it is complete, because folders appear by renaming."""
        return (self.place(fingerprint, seed) / "meta.json").exists()

    def save(self, fingerprint: str, seed: int, result: StageResult, describe: Mapping[str, Any]) -> None:
        """Stores a result; `describe` is its full description (stage, network, data, fingerprints)."""
        trees = {"best": result.best, "last": result.last, "optimiser": result.optimiser}
        meta = {**describe, "seed": seed, "chosen": result.chosen}
        files = {
            "grid.csv": rows_to_csv(grid_columns(result.grid), result.grid),
            "history.csv": rows_to_csv(history_columns(result.history), result.history),
        }
        write_folder(self.place(fingerprint, seed), named_leaves(trees), meta, files)

    def load(self, fingerprint: str, seed: int, whole: bool = False) -> StageResult | None:
        """A stored result, or None when there is none or it is damaged (which is reported).

        `whole` takes the last variables and the optimiser's state too. Raises ValueError for one of another version,
        which must not be overwritten.
        """
        if not self.has(fingerprint, seed):
            return None
        try:
            arrays, meta, files = read_folder(self.place(fingerprint, seed))
        except DamagedFolder as error:
            log.warning("a stored stage is damaged and will be fitted again: %s", error)
            return None
        except OtherFormat as error:
            raise ValueError(str(error)) from error
        trees = nested(arrays)
        grid, history = (rows_from_csv(files[name]) for name in ("grid.csv", "history.csv"))
        best, last = (variables_of(trees[name]) for name in ("best", "last"))
        result = StageResult(best, last, trees.get("optimiser", {}), meta["chosen"], grid, history)
        return result if whole else result.without_last()

    def epochs(self, fingerprint: str, seed: int) -> list[int]:
        """The epochs that each grid point of a stored stage was trained for; empty where there is no result."""
        path = self.place(fingerprint, seed) / "grid.csv"
        if not self.has(fingerprint, seed) or not path.is_file():
            return []
        return [int(row["stop_epoch"]) for row in rows_from_csv(path.read_text(encoding="utf-8"))]


def variables_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Variables as networks take them, with the empty trees, such as the statistics of a network without batch norm, that
    are not stored."""
    return {"params": {}, "batch_stats": {}, **stored}


def grid_columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns of a grid's rows; after dropout those of the joint model and of methods' own axes."""
    names = dict.fromkeys(name for row in rows for name in row)
    own = [name for name in names if name not in (*GRID_COLUMNS, *JOINT_COLUMNS, HALVED, "stage", "role")]
    found = [name for name in JOINT_COLUMNS if name in names]
    place = GRID_COLUMNS.index("dropout") + 1
    halved = (HALVED,) if HALVED in names else ()
    return (*GRID_COLUMNS[:place], *found, *own, *GRID_COLUMNS[place:-1], *halved, GRID_COLUMNS[-1])


def hyper_of(row: Row) -> dict[str, Any]:
    """The hyper-parameters of a training's row: those that it has, and its layers only where not all are trained."""
    first, last = GRID_COLUMNS.index("learning_rate"), GRID_COLUMNS.index("best_accuracy")
    others = {"stage", "role", HALVED, *GRID_COLUMNS[:first], *GRID_COLUMNS[last:]}
    found = {name: value for name, value in row.items() if name not in others}
    found = {n: v for n, v in found.items() if not (isinstance(v, float) and np.isnan(v))}
    return found | ({} if row["layers"] == "all" else {"layers": row["layers"]})


def history_columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns of a history's rows: the usual ones, then those of other time steps' sets, if any."""
    others = sorted({name for row in rows for name in row} - set(HISTORY_COLUMNS) - {"stage"})
    return (*HISTORY_COLUMNS, *others)


def rows_to_csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Rows as CSV text with a header; numbers in full, a value that is not a number blank."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else repr(float(value))
    return "" if value is None else value


def rows_from_csv(text: str) -> list[Row]:
    """The inverse of `rows_to_csv`: numbers and booleans read back, blanks as NaN."""
    return [{name: _value(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(text))]


def _value(cell: str) -> Any:
    if cell in ("True", "False"):
        return cell == "True"
    for kind in (int, float):
        try:
            return kind(cell or "nan")
        except ValueError:
            continue
    return cell

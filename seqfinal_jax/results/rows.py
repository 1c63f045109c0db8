"""The columns of grids and histories, and rows of them as CSV text and back."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
GRID_COLUMNS = (
    "member", "layers", "learning_rate", "weight_decay", "adjacent", "dropout", "best_accuracy", "best_epoch",
    "stop_epoch", "failed", "chosen",
)  # fmt: skip
JOINT_COLUMNS = ("final_weight", "efficient_decay")  # after dropout, in the grids that have them
HALVED = "halved"  # before "chosen", of stages in which grid points were stopped at a rung
HISTORY_COLUMNS = ("member", "epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


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

"""The stored logits of a cell: what its model says of the final step's validation and test samples."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqfinal_jax.results.run_folder import CellFolder, RunFolderError, cell_file, model_record

FILE = "predictions.npz"
SPLITS, KEYS = ("valid", "test"), ("logits", "labels", "index")


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of one set of samples.

    logits (n, classes) float32; labels (n,) from 0; index (n,), the place of each sample in its source.
    """

    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers of a cell's model on the final step's validation and test samples, and the names of the classes."""

    valid: Answers
    test: Answers
    class_names: tuple[str, ...]


def read_predictions(cell: str | Path | CellFolder) -> Predictions:
    """The stored logits of a cell, from predictions.npz; no model is loaded and no code of a plugin is run.

    Args:
        cell: the folder cells/METHOD/ARCHITECTURE/seedK of a run folder, such as a `path` of `load_results`.

    Raises:
        RunFolderError: the folder is no completed cell, or its predictions are missing or damaged.
    """
    cell = cell if isinstance(cell, CellFolder) else _cell_at(Path(cell))
    path = cell_file(cell, FILE)
    if path is None:
        raise RunFolderError(
            f"{cell.path} has no {FILE}; delete the folder and run again to compute this cell"
        )
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in (f"{split}_{key}" for split in SPLITS for key in KEYS)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}); delete the folder {cell.path} and run again to compute this cell"
        ) from error
    valid, test = (Answers(*(arrays[f"{split}_{key}"] for key in KEYS)) for split in SPLITS)
    return Predictions(valid, test, _class_names(cell, test.logits.shape[1]))


def _cell_at(given: Path) -> CellFolder:
    """The cell whose folder a path names."""
    path = given.expanduser().resolve()
    match = re.fullmatch(r"seed(-?\d+)", path.name)
    if not match or len(path.parents) < 4 or not (path / "result.json").is_file():
        raise RunFolderError(
            f"{given} is no completed cell; give a folder cells/METHOD/ARCHITECTURE/seedK of a run"
        )
    return CellFolder(path, path.parts[-3], path.parts[-2], int(match[1]))


def _class_names(cell: CellFolder, count: int) -> tuple[str, ...]:
    """The names of the classes, as they are stored with the cell's model; numbers where they are not."""
    names = model_record(cell).get("class_names", ())
    return tuple(names) if len(names) == count else tuple(map(str, range(count)))

"""The published program's own results, `metrics.csv` files, as cells of the tables here."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.results.run_folder import RunFolderError

COLUMNS = ("Model", "Method", "Shift sequence", "Seed", "Test accuracy")
FINAL = re.compile(r"(erm_final)(?:_(\d+)_samples)?")
# The published program's plain step-by-step method has the name that the best of all decays has here.
RENAMED = {"sequential_fine_tune": "sequential_fine_tune_none"}


def read_original(paths: Iterable[Path]) -> pd.DataFrame:
    """The cells of `metrics.csv` files: architecture, method, seed, test_accuracy.

    Raises RunFolderError for files without the published columns, and for several sequences.
    """
    frames = []
    for path in paths:
        try:
            frames.append(pd.read_csv(path))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{path} cannot be read: {error}") from None
        lacking = [name for name in COLUMNS if name not in frames[-1].columns]
        if lacking:
            raise RunFolderError(
                f"{path}: expected the columns {', '.join(COLUMNS)}, missing {', '.join(lacking)}"
            )
    return frame_of(pd.concat(frames, ignore_index=True))


def frame_of(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows of `metrics.csv` as cells: architecture, method, seed, test_accuracy.

    The oracle is `erm_final` with more samples at the final step than others of its sequence have.
    """
    sequences = {_without_final_size(text) for text in metrics["Shift sequence"]}
    if len(sequences) > 1:
        raise RunFolderError(f"rows of several sequences: {', '.join(sorted(sequences))}; give those of one")
    sizes = [_final_size(text) for text in metrics["Shift sequence"]]
    usual = min(sizes)
    methods = [_method(name, size > usual) for name, size in zip(metrics["Method"], sizes, strict=True)]
    return pd.DataFrame(
        {
            "architecture": [_architecture(text) for text in metrics["Model"]],
            "method": methods,
            "seed": metrics["Seed"].astype(int),
            "test_accuracy": metrics["Test accuracy"].astype(float),
        }
    )


def _final_size(sequence: str) -> int:
    digits = re.search(r"(\d+)$", sequence)
    return int(digits[1]) if digits else 0


def _without_final_size(sequence: str) -> str:
    return re.sub(r"\d+$", "", sequence)


def _method(name: str, larger: bool) -> str:
    if FINAL.fullmatch(name):
        apart = next(method for method in METHODS if not METHODS.get(method).comparable)
        return apart if larger else "erm_final"
    return METHODS.named(RENAMED.get(name, name))


def _architecture(model: str) -> str:
    """ "resnet-2" for "resnet 2 blocks"."""
    match = re.fullmatch(r"(\w+) (\d+) blocks?", model.strip())
    if match is None:
        raise RunFolderError(f"expected a model such as 'resnet 2 blocks', found {model!r}")
    return f"{match[1]}-{match[2]}"

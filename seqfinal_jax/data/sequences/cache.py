"""Finished sequences on disk: one file each, found by fingerprint, checked whenever it is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqfinal_jax.data.stored_arrays import cache_dir, read_arrays, write_arrays


@dataclass(frozen=True, eq=False)
class Rows:
    """The splits of a sequence end to end: train, valid, test of step 0, then of step 1, and so on.

    images (N, S, S, 3) uint8, labels (N,) int32, source_index (N,) int64, and counts (num_steps, 3) with -1
    where a step lacks the split.
    """

    images: np.ndarray
    labels: np.ndarray
    source_index: np.ndarray
    counts: np.ndarray


def cache_path(name: str, key: str) -> Path:
    """The file of the sequence with that name and fingerprint."""
    return cache_dir() / f"{name[:150]}-{key[:16]}.npz"


def read(name: str, key: str) -> Rows | None:
    """The stored rows; None, after a warning, if the file is damaged, and None if there is none."""
    arrays = read_arrays(cache_path(name, key), key, tuple(Rows.__dataclass_fields__))
    return None if arrays is None else Rows(**arrays)


def write(name: str, key: str, rows: Rows) -> None:
    """Stores the rows whole or not at all; where the folder cannot be written, warns and goes on."""
    write_arrays(cache_path(name, key), key, vars(rows), "the sequence")

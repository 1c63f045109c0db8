"""Finished sequences on disk: one file each, found by fingerprint, checked whenever it is read."""

import hashlib
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CACHE_DIR_VARIABLE = "SEQFINAL_CACHE_DIR"
log = logging.getLogger(__name__)


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


def cache_dir() -> Path:
    """SEQFINAL_CACHE_DIR, or ~/.cache/seqfinal_jax."""
    return Path(os.environ.get(CACHE_DIR_VARIABLE) or "~/.cache/seqfinal_jax").expanduser()


def cache_path(name: str, key: str) -> Path:
    """The file of the sequence with that name and fingerprint."""
    return cache_dir() / f"{name[:150]}-{key[:16]}.npz"


def read(name: str, key: str) -> Rows | None:
    """The stored rows; None, after a warning, if the file is damaged, and None if there is none."""
    path = cache_path(name, key)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            rows = Rows(*(stored[column] for column in Rows.__dataclass_fields__))
            digest = str(stored["digest"])
    except FileNotFoundError:
        return None
    except Exception as error:  # a cut-off or overwritten file can fail in any layer of zip and npy
        log.warning("%s is damaged (%s: %s) and is built anew", path, type(error).__name__, error)
        return None
    if digest != _digest(key, rows):
        log.warning("%s is damaged (its contents do not match their digest) and is built anew", path)
        return None
    return rows


def write(name: str, key: str, rows: Rows) -> None:
    """Stores the rows whole or not at all; where the folder cannot be written, warns and goes on."""
    path = cache_path(name, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".npz")
    except OSError as error:
        log.warning(
            "the sequence is not cached: %s (%s=<folder> names another one)", error, CACHE_DIR_VARIABLE
        )
        return
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **vars(rows), digest=np.array(_digest(key, rows)))
        os.replace(beside, path)
    except OSError as error:
        log.warning("the sequence is not cached: %s", error)
        Path(beside).unlink(missing_ok=True)


def _digest(key: str, rows: Rows) -> str:
    digest = hashlib.sha256(key.encode())
    for array in vars(rows).values():
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

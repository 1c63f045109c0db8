"""Named arrays on disk, kept between runs: each file is written whole or not at all, and checked whenever it is read."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.records.cache_place import CACHE_DIR_VARIABLE, cache_dir

__all__ = ["CACHE_DIR_VARIABLE", "add_array", "cache_dir", "read_arrays", "write_arrays"]
log = logging.getLogger(__name__)


def read_arrays(path: Path, key: str, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """The arrays stored under a key; None, after a warning, if the file is damaged, and None if there is none."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names}
            digest = str(stored["digest"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # a cut-off or overwritten file can fail in any layer of zip and npy
        log.warning("%s is damaged (%s: %s) and is built again", path, type(error).__name__, error)
        return None
    if digest != _digest(key, arrays):
        log.warning("%s is damaged (its contents do not match their digest) and is built again", path)
        return None
    return arrays


def write_arrays(path: Path, key: str, arrays: Mapping[str, np.ndarray], what: str) -> None:
    """Stores arrays whole or not at all; where that fails, warns that `what` is not cached and goes on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=".npz")
    except OSError as error:
        log.warning("%s is not cached: %s (%s=<folder> names another one)", what, error, CACHE_DIR_VARIABLE)
        return
    try:
        with os.fdopen(handle, "wb") as file:
            stored: dict[str, Any] = {**arrays, "digest": np.array(_digest(key, arrays))}
            np.savez(file, **stored)
        os.replace(beside, path)
    except OSError as error:
        log.warning("%s is not cached: %s", what, error)
        Path(beside).unlink(missing_ok=True)


def _digest(key: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(key.encode())
    for array in arrays.values():
        add_array(digest, array)
    return digest.hexdigest()


def add_array(digest: "hashlib._Hash", array: np.ndarray) -> None:
    """Adds an array's type, shape and contents to a hash."""
    digest.update(f"{array.dtype}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)

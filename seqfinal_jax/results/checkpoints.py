"""Trees of arrays on disk: `arrays.npz` and text files, with their checksums in `meta.json`.

A plain NumPy archive, read without pickle. Orbax was used here before; it reads most flipped bits as other numbers
(docs/reliability.md).
"""

import logging
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from seqfinal_jax.results.sealed import DamagedFolder, OtherFormat, read_record, read_sealed, write_sealed

log = logging.getLogger(__name__)
FORMAT = 2
META, ARRAYS = "meta.json", "arrays.npz"


def leaf_names(tree: Any) -> list[str]:
    """Dotted names of a tree's leaves, in the order of `jax.tree.leaves`."""
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [".".join(_label(entry) for entry in path) for path, _ in paths]


def _label(entry: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)


def named_leaves(tree: Any) -> dict[str, np.ndarray]:
    """A tree as a flat dictionary of host arrays."""
    return dict(zip(leaf_names(tree), map(np.asarray, jax.tree.leaves(tree)), strict=True))


def restore_leaves(template: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The template's structure filled with named arrays.

    Raises DamagedFolder, which names the leaf, where one is missing or differs from the template in shape or type.
    """
    names, leaves, structure = leaf_names(template), jax.tree.leaves(template), jax.tree.structure(template)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DamagedFolder(f"it lacks the arrays {', '.join(missing[:3])}")
    for name, leaf in zip(names, leaves, strict=True):
        found, wanted = arrays[name], np.asarray(leaf)
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise DamagedFolder(
                f"its array {name} has shape {found.shape} and type {found.dtype}, expected {wanted.shape} and "
                f"{wanted.dtype}"
            )
    return jax.tree.unflatten(structure, [arrays[name] for name in names])


def nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Dotted names to nested dictionaries."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = array
    return tree


def write_folder(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
) -> None:
    """Writes a checkpoint folder whole or not at all; an existing one of that name is replaced.

    `files` are further text files, by name. Raises OSError where the folder cannot be written.
    """

    def save(path: Path) -> None:
        stored: dict[str, Any] = {**arrays}
        with path.open("wb") as file:
            np.savez(file, **stored)

    write_sealed(folder, META, {"format": FORMAT, **meta}, {ARRAYS: save, **(files or {})})


def read_meta(folder: Path) -> dict[str, Any]:
    """The metadata of a checkpoint folder alone.

    Raises DamagedFolder when they fail their checksum, OtherFormat when another version wrote them.
    """
    try:
        meta = read_record(folder, META)
    except DamagedFolder:
        if _other_format(folder):
            raise OtherFormat(
                f"{folder} was written by an earlier version of seqfinal_jax; use another --workdir, or that version"
            ) from None
        raise
    if meta.get("format") != FORMAT:
        raise OtherFormat(
            f"{folder} has format {meta.get('format')}, and this version reads {FORMAT}; use another --workdir, or "
            f"the version of seqfinal_jax that wrote it"
        )
    return meta


def _other_format(folder: Path) -> bool:
    """Whether a folder looks like a checkpoint from before there were checksums."""
    return (folder / "arrays").is_dir() and (folder / META).is_file()


def read_folder(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, str]]:
    """Arrays, metadata and text files of a checkpoint folder.

    Raises DamagedFolder when a file is missing or fails its checksum, OtherFormat when another version wrote the folder.
    """
    read_meta(folder)
    meta = read_sealed(folder, META)
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        files = {name: (folder / name).read_text() for name in meta["files"] if name != ARRAYS}
    except Exception as error:  # zip and npy raise many kinds
        raise DamagedFolder(f"{folder} cannot be read ({type(error).__name__}: {error})") from error
    return arrays, meta, files


class SaveBudget:
    """Limits the time for saving to a share of the running time (5 %): a save is due while saving took less so far."""

    def __init__(self, share: float = 0.05) -> None:
        self.share, self.spent, self.began = share, 0.0, time.monotonic()
        self._lock = threading.Lock()

    def due(self) -> bool:
        """Whether saving may happen now."""
        with self._lock:
            return self.spent <= self.share * (time.monotonic() - self.began)

    def charge(self, seconds: float) -> None:
        """Adds the time that a save took."""
        with self._lock:
            self.spent += seconds


class ProgressStore:
    """Where a fit keeps the state of its trainings while it runs: one folder per training, `<folder>/<training>/`.

    A training is identified by what determines it (seed, hyper-parameters, masks), not by its place in a list, so its
    state is found again whatever other trainings a later fit has. A failure to save never ends a fit: the first one is
    logged as a warning, and no more is saved.
    """

    def __init__(self, folder: Path, budget: SaveBudget) -> None:
        self.folder, self.budget, self.broken = folder, budget, False

    def save(self, member: str, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        """Stores a training's state in place of its earlier one."""
        if self.broken:
            return
        began = time.monotonic()
        try:
            write_folder(self.folder / member, arrays, meta)
        except OSError as error:
            self.broken = True
            log.warning("the state of this training cannot be saved (%s); a kill would lose it", error)
        self.budget.charge(time.monotonic() - began)

    def find(self, member: str) -> dict[str, Any] | None:
        """The metadata of a training's state; None where there is none that can be used."""
        folder = self.folder / member
        if not folder.is_dir():
            return None
        try:
            return read_meta(folder)
        except (DamagedFolder, OtherFormat) as error:
            self.report(error)
            return None

    def load(self, member: str) -> dict[str, np.ndarray]:
        """The arrays of a training's state; raises DamagedFolder where they cannot be used."""
        try:
            return read_folder(self.folder / member)[0]
        except OtherFormat as error:
            raise DamagedFolder(str(error)) from error

    def report(self, error: Exception) -> None:
        """Logs that a state is not used."""
        log.warning("a saved state cannot be used, so its training starts again: %s", error)

    def clear(self, members: Iterable[str]) -> None:
        """Removes the states of these trainings, once the fit's result is stored; those of others stay.

        Also removes half-written states that a killed process left (`write_sealed` writes beside the final place).
        """
        for member in members:
            for folder in (self.folder / member, *self.folder.glob(f".{member}.*")):
                shutil.rmtree(folder, ignore_errors=True)
        try:
            self.folder.rmdir()
        except OSError:
            return  # other members' states are still there, or there never was one

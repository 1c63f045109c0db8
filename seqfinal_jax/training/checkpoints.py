"""Arrays on disk through Orbax: whole or not at all, with a digest that tells damage.

A checkpoint folder holds `arrays/` (Orbax) and `meta.json`, whose digest covers every array's name, dtype, shape and
bytes. It is written beside its final place and then renamed.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

log = logging.getLogger(__name__)
FORMAT = 1


class DamagedCheckpoint(Exception):
    """A checkpoint that cannot be read, or whose contents differ from what was written."""


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
    """The template's structure filled with named arrays; raises DamagedCheckpoint that names a missing leaf."""
    names, structure = leaf_names(template), jax.tree.structure(template)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise DamagedCheckpoint(f"it lacks the arrays {', '.join(missing[:3])}")
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


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Hash of names, dtypes, shapes and bytes."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def write_folder(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
) -> None:
    """Writes a checkpoint folder whole or not at all; an existing one of that name is replaced.

    `files` are texts that lie beside the arrays, by name.
    """
    import orbax.checkpoint as ocp  # slow to import, and only needed where something is stored

    beside = folder.with_name(f".{folder.name}.{os.getpid()}.{threading.get_ident()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            checkpointer.save((beside / "arrays").absolute(), dict(arrays))
        texts = {name: hashlib.blake2b(text.encode()).hexdigest() for name, text in (files or {}).items()}
        record = {"format": FORMAT, "digest": digest(arrays), "files": texts, **meta}
        for name, text in (files or {}).items():
            (beside / name).write_text(text)
        (beside / "meta.json").write_text(json.dumps(record, indent=1, sort_keys=True))
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_folder(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, str]]:
    """Arrays, meta data and texts of a checkpoint folder; raises DamagedCheckpoint when anything is off."""
    import orbax.checkpoint as ocp

    try:
        meta = json.loads((folder / "meta.json").read_text())
        if meta["format"] != FORMAT:
            raise DamagedCheckpoint(f"{folder} has format {meta['format']}, this version reads {FORMAT}")
        with ocp.PyTreeCheckpointer() as checkpointer:
            restored = checkpointer.restore((folder / "arrays").absolute())
        arrays = {name: np.asarray(array) for name, array in restored.items()}
        files = {name: (folder / name).read_text() for name in meta["files"]}
    except DamagedCheckpoint:
        raise
    except Exception as error:
        raise DamagedCheckpoint(f"{folder} cannot be read ({type(error).__name__}: {error})") from error
    if digest(arrays) != meta["digest"]:
        raise DamagedCheckpoint(f"{folder} holds other numbers than were written to it")
    for name, text in files.items():
        if hashlib.blake2b(text.encode()).hexdigest() != meta["files"][name]:
            raise DamagedCheckpoint(f"{folder / name} is not what was written")
    return arrays, meta, files


class SaveBudget:
    """Lets saving cost at most a share of the running time (5 %): a save is due while its cost so far is below."""

    def __init__(self, share: float = 0.05) -> None:
        self.share, self.spent, self.began = share, 0.0, time.monotonic()
        self._lock = threading.Lock()

    def due(self) -> bool:
        """Whether saving may happen now."""
        with self._lock:
            return self.spent <= self.share * (time.monotonic() - self.began)

    def charge(self, seconds: float) -> None:
        """Books the cost of a save."""
        with self._lock:
            self.spent += seconds


class ProgressStore:
    """Where a fit in progress keeps the state of each chunk of members, one folder a chunk and epoch."""

    def __init__(self, folder: Path, budget: SaveBudget) -> None:
        self.folder, self.budget = folder, budget

    def save(self, chunk: str, epoch: int, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        """Stores a chunk's state and forgets its earlier ones."""
        began = time.monotonic()
        place = self.folder / chunk / f"epoch{epoch:05d}"
        write_folder(place, arrays, {"epoch": epoch, **meta})
        for old in place.parent.iterdir():
            if old != place:
                shutil.rmtree(old, ignore_errors=True)
        self.budget.charge(time.monotonic() - began)
        log.info("saved epoch %d of %s in %.1f s", epoch, place.parent, time.monotonic() - began)

    def load(self, chunk: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The newest whole state of a chunk; damaged ones are reported and left unused."""
        for place in sorted((self.folder / chunk).glob("epoch*"), reverse=True):
            try:
                return read_folder(place)[:2]
            except DamagedCheckpoint as error:
                log.warning("a saved state is damaged and is not used: %s", error)
        return None

    def clear(self) -> None:
        """Forgets everything, once the fit's result is stored."""
        shutil.rmtree(self.folder, ignore_errors=True)

"""The layout of a run folder, and files that are written whole or not at all."""

import json
import os
import re
import secrets
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from seqfinal_jax.records.digests import file_digest
from seqfinal_jax.results.sealed import DamagedFolder, check_record

RESULT_SCHEMA = (
    3  # of result.json; version 2 had no checksum and no record of data and settings, and is still read
)
FOLDER_FORMAT = 3  # of a run folder as a whole; others are read, and not added to
CELLS_PATTERN = "cells/<method>/<architecture>/seed<k>/"
_SEED_FOLDER = re.compile(r"seed(-?\d+)")


class RunFolderError(ValueError):
    """A run folder or a file in it is missing, damaged or unsuitable; the message says which, and how to repair it."""


class CellFolder(NamedTuple):
    """The folder of one cell."""

    path: Path
    method: str
    architecture: str
    seed: int

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.path.parents[3]

    def stage(self, key: str) -> Path:
        """The folder of a stage of this cell's seed."""
        return stage_folder(self.run, key, self.seed)


def stage_folder(workdir: Path, key: str, seed: int) -> Path:
    """The folder of a stage, transformation or choice of one seed: stages/<key>/seed<k>."""
    return workdir / "stages" / key / f"seed{seed}"


def check_run_folder(workdir: str | Path) -> Path:
    """The run folder as a path; raises RunFolderError when it is none."""
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise RunFolderError(f"{workdir} is not a folder; give the --workdir of a run")
    if not (workdir / "config.json").is_file():
        raise RunFolderError(
            f"{workdir} is not a run folder: it has no config.json; give the --workdir of a run"
        )
    return workdir


def cell_folders(workdir: Path) -> Iterator[CellFolder]:
    """The folder of every cell, completed or not, in no particular order; folders with other names are ignored."""
    for path in (workdir / "cells").glob("*/*/seed*"):
        match = _SEED_FOLDER.fullmatch(path.name)
        if match and path.is_dir():
            yield CellFolder(path, path.parts[-3], path.parts[-2], int(match[1]))


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """A JSON object; raises RunFolderError, which names the file and ends with `advice`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read ({error}); {advice}") from error
    if not isinstance(value, dict):
        raise RunFolderError(f"{path} should hold a JSON object, found {type(value).__name__}; {advice}")
    return value


def read_result(cell: CellFolder) -> dict[str, Any]:
    """The result.json of a completed cell, after checking its checksum, its schema and its place.

    A file is read once, and again only after it was replaced: all readers share what is returned, and do not change it.
    """
    path = cell.path / "result.json"
    try:
        found = path.stat()
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read ({error}); {_advice(cell)}") from error
    return _result(cell, (found.st_ino, found.st_mtime_ns, found.st_size))


@lru_cache(maxsize=16384)
def _result(cell: CellFolder, state: tuple[int, int, int]) -> dict[str, Any]:
    """The result of a cell whose file is in this state (inode, time, size)."""
    path, advice = cell.path / "result.json", _advice(cell)
    result = read_json(path, advice)
    if result.get("schema") not in (2, RESULT_SCHEMA):
        found = result.get("schema")
        raise RunFolderError(
            f"{path} has schema {found!r}, this version reads {RESULT_SCHEMA}; update seqfinal_jax"
        )
    if result["schema"] == RESULT_SCHEMA:
        try:
            check_record(result, path)
        except DamagedFolder as error:
            raise RunFolderError(f"{error}; {advice}") from error
    place = {"method": cell.method, "architecture": cell.architecture, "seed": cell.seed}
    for name, expected in place.items():
        if result.get(name) != expected:
            raise RunFolderError(
                f"{path} says {name} {result.get(name)!r}, its folder {expected!r}; {advice}"
            )
    return result


def model_record(cell: CellFolder) -> dict[str, Any]:
    """What is stored with a completed cell's model, such as its plugins and class names; empty where nothing is."""
    try:
        folder = cell.stage(read_result(cell)["stages"][-1]["fingerprint"])
        return json.loads((folder / "meta.json").read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return {}


def cell_file(cell: CellFolder, name: str) -> Path | None:
    """A file of a completed cell, after checking its checksum; None where the cell has none of that name.

    Raises RunFolderError where it has changed or is missing.
    """
    path, result = cell.path / name, read_result(cell)
    if "files" not in result:
        return path if path.is_file() else None
    if name not in result["files"]:
        return None
    try:
        found = file_digest(path)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read ({error}); {_advice(cell)}") from error
    if found != result["files"][name]:
        raise RunFolderError(f"{path} failed its checksum; {_advice(cell)}")
    return path


def _advice(cell: CellFolder) -> str:
    return f"delete the folder {cell.path} and run again to compute this cell"


def read_config(workdir: str | Path) -> dict[str, Any]:
    """The resolved configuration of a run folder."""
    path = check_run_folder(workdir) / "config.json"
    return read_json(path, "run again with the same configuration to write it")


def read_environment(workdir: str | Path) -> dict[str, Any]:
    """Versions, device and data source of a run folder; empty when it has no environment.json."""
    path = check_run_folder(workdir) / "environment.json"
    return read_json(path, "delete it, or run again to write it") if path.is_file() else {}


def refuse_unwritable(folder: Path, remedy: str) -> None:
    """Raises RunFolderError, with what to do instead, for a folder that cannot be made or written."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise RunFolderError(f"{there}: expected a folder, found a file; {remedy}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunFolderError(f"{folder} cannot be written; {remedy}")


def write_whole(path: Path, content: str | bytes) -> Path:
    """Writes a file under a temporary name, then renames it; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    beside.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    os.replace(beside, path)
    return path

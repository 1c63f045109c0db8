"""Folders that are written whole or not at all, and whose every byte is checked when they are read.

The same rule serves all files that a number depends on: a folder has a record, a JSON file that is written last, with the
checksum of every other file and, under the key `seal`, its own. `read_sealed` finds any byte that has changed.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seqfinal_jax.records.digests import file_digest, text_digest

Content = str | bytes | Callable[[Path], None]


class DamagedFolder(Exception):
    """A folder with checksums that cannot be read, or whose contents differ from what was written."""


class OtherFormat(Exception):
    """A folder with checksums of a format that this version does not read; it is intact, and must not be overwritten."""


def write_sealed(folder: Path, name: str, record: Mapping[str, Any], files: Mapping[str, Content]) -> None:
    """Writes a folder with a record `name` and other files, given as a string, bytes or a function that writes to a path.

    An existing folder of that name is replaced at once. Raises OSError where it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        os.chmod(beside, 0o777 & ~_umask())
        for file, content in files.items():
            _write(beside / file, content)
        sealed = {**record, "files": {file: file_digest(beside / file) for file in files}}
        sealed["seal"] = record_digest(sealed)
        _write(beside / name, json.dumps(sealed, indent=1, sort_keys=True) + "\n")
        _replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_sealed(folder: Path, name: str) -> dict[str, Any]:
    """The record of a folder, after checking every file; raises DamagedFolder when a file is missing or has changed."""
    record = read_record(folder, name)
    for file, expected in record["files"].items():
        try:
            found = file_digest(folder / file)
        except OSError as error:
            raise DamagedFolder(f"{folder / file} cannot be read ({error})") from error
        if found != expected:
            raise DamagedFolder(f"{folder / file} failed its checksum")
    return record


def read_record(folder: Path, name: str) -> dict[str, Any]:
    """The record alone, checked against its own checksum; raises DamagedFolder when the two differ."""
    path = folder / name
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedFolder(f"{path} cannot be read ({error})") from error
    check_record(record, path)
    return record


def check_record(record: Any, path: Path) -> None:
    """Checks a record that was read from a file against its own checksum; raises DamagedFolder when the two differ."""
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict) or "seal" not in record:
        raise DamagedFolder(f"{path} has no checksums")
    if record_digest(record) != record["seal"]:
        raise DamagedFolder(f"{path} failed its checksum")


def record_digest(record: Mapping[str, Any]) -> str:
    """The checksum of a record without its own checksum entry; it does not depend on the layout of the JSON."""
    text = json.dumps({k: v for k, v in record.items() if k != "seal"}, sort_keys=True)
    return text_digest(text)


def _write(path: Path, content: Content) -> None:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def _replace(beside: Path, folder: Path) -> None:
    """Puts a finished folder in its place; what was there goes only when the new one is there."""
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        with contextlib.suppress(FileNotFoundError):  # another process replaces it at this moment
            folder.rename(old / "old")
        _put(beside, folder)
        shutil.rmtree(old, ignore_errors=True)
        return
    _put(beside, folder)


def _put(beside: Path, folder: Path) -> None:
    try:
        beside.rename(folder)
    except OSError:
        if not folder.exists():  # another process was faster: its result is the same
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

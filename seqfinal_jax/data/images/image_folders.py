"""Finds the image files below a folder, and reports the files that are left out or cannot be read."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.images.formats import OTHER_SUFFIXES, SUFFIXES

JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini", "lost+found", "@eadir"})
# Why files are left out, of one and of several.
HIDDEN = ("hidden or system file", "hidden or system files")
OTHER = ("file that is not an image", "files that are not images")
LOOP = ("link that leads back to a folder above it", "links that lead back to folders above them")
EMPTY = ("folder that holds no file", "folders that hold no file")
DIGITS = re.compile(r"(\d+)")
RUN_FIELDS = {"methods", "architectures", "protocol", "data"}  # sections of a run's config.json
MOST_SHOWN = 3


@dataclass(frozen=True)
class Found:
    """The files below a folder.

    images: in the order of their paths. left_out: how many others, by reason (as it reads for one and for many). empty:
    folders, below this one, that hold nothing.
    """

    folder: Path
    images: tuple[Path, ...]
    left_out: dict[tuple[str, str], int]
    empty: tuple[str, ...] = ()

    def note(self) -> str:
        """What was left out, as a sentence; empty where nothing was."""
        parts = [f"{count} {reason[count > 1]}" for reason, count in self.left_out.items() if count]
        if self.empty:
            shown = ", ".join(map(repr, self.empty[:MOST_SHOWN])) + (
                ", ..." if len(self.empty) > MOST_SHOWN else ""
            )
            parts.append(f"{len(self.empty)} {EMPTY[len(self.empty) > 1]} ({shown})")
        return f"left out {' and '.join(parts)}" if parts else ""


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts `step2` before `step10`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in DIGITS.split(name) if part]


def find_images(folder: Path) -> Found:
    """Looks for image files at any depth, also through links, and counts junk and other files.

    Folders of runs are passed over. Raises SourceError for folders and links that cannot be read, for names that are not
    valid text, and where there is no image.
    """
    images, empty = [], []
    left_out: Counter[tuple[str, str]] = Counter({HIDDEN: 0, OTHER: 0})
    for path in _walk(folder, folder, frozenset({os.path.realpath(folder)}), left_out, empty):
        parts = path.relative_to(folder).parts
        if any(map(_is_junk, parts)):
            left_out[HIDDEN] += 1
        elif path.suffix.lower() in SUFFIXES:
            images.append(path)
        else:
            left_out[_reason(path.suffix.lower())] += 1
    found = Found(folder, tuple(sorted(images)), dict(left_out), tuple(empty))
    if not images:
        raise SourceError(
            f"{folder}: expected image files ({', '.join(sorted(SUFFIXES))}), found none"
            + (f" ({found.note()})" if found.note() else "")
        )
    return found


def _reason(suffix: str) -> tuple[str, str]:
    kind = OTHER_SUFFIXES.get(suffix)
    if kind is None:
        return OTHER
    advice = "(a format that is not read; convert to PNG or JPEG)"
    return f"{kind} image {advice}", f"{kind} images {advice}"


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _walk(
    top: Path, folder: Path, above: frozenset[str], left_out: Counter, empty: list[str], junk: bool = False
) -> Iterator[Path]:
    """The files below a folder; `above` are the real paths of the folders that it lies in, `junk`: it is passed over."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        if junk:
            return
        raise SourceError(
            f"{folder}: the folder cannot be read ({error.strerror}); make it readable, or move it elsewhere"
        ) from None
    if not entries and not junk:
        empty.append(folder.relative_to(top).as_posix())
    for entry in entries:
        skipped = junk or _is_junk(entry.name)
        if not skipped:
            _refuse(folder, entry)
        if not entry.is_dir():
            yield Path(entry.path)
            continue
        real = os.path.realpath(entry.path)
        if real in above:
            left_out[LOOP] += 1
        elif not _is_run(Path(entry.path)):
            yield from _walk(top, Path(entry.path), above | {real}, left_out, empty, skipped)


def _refuse(folder: Path, entry: os.DirEntry) -> None:
    """Raises SourceError for a link to nothing, and for a name that is not valid text."""
    if entry.is_symlink() and not os.path.exists(entry.path):
        try:
            os.stat(entry.path)
            reason = "it cannot be followed"
        except OSError as error:
            reason = error.strerror
        raise SourceError(
            f"{entry.path}: the link to {os.readlink(entry.path)} cannot be followed ({reason}); repair or remove it"
        )
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError:
        raise SourceError(
            f"{folder}: the name {entry.name.encode('utf-8', 'surrogateescape')!r} in this folder is not in UTF-8; "
            f"rename it, for example with convmv -f latin1 -t utf8"
        ) from None


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run folder, which may stand among the data."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and set(config) >= RUN_FIELDS


def refuse_linked_steps(folders: dict[str, Path]) -> None:
    """Raises SourceError where two time steps, by name, are one folder: a link such as latest -> 2021."""
    real: dict[str, str] = {}
    for name, folder in folders.items():
        place = os.path.realpath(folder)
        if place in real:
            raise SourceError(
                f"{folder}: the time steps {real[place]!r} and {name!r} are one folder, because one is a link to the "
                f"other; say which steps there are with --config.data.steps=FIRST,SECOND,..."
            )
        real[place] = name

"""Image files below a folder: found, identified by their contents, decoded once and kept in the cache."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.images.decode import RULES, SUFFIXES, BadImage, decode
from seqfinal_jax.data.stored_arrays import cache_dir, read_arrays, write_arrays

JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
MOST_LISTED = 100
# Why files are left out, of one and of several.
HIDDEN = ("hidden or system file", "hidden or system files")
OTHER = ("file that is no image", "files that are no images")
DIGITS = re.compile(r"(\d+)")
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """The files below a folder.

    images: in the order of their paths. left_out: how many others, by reason (as it reads for one and for many).
    """

    folder: Path
    images: tuple[Path, ...]
    left_out: dict[tuple[str, str], int]

    def note(self) -> str:
        """What was left out, as a sentence; empty where nothing was."""
        parts = [f"{count} {reason[count > 1]}" for reason, count in self.left_out.items() if count]
        return f"left out {' and '.join(parts)}" if parts else ""


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts `step2` before `step10`."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in DIGITS.split(name) if part]


def find_images(folder: Path) -> Found:
    """Looks for image files at any depth, follows links once, and counts junk and other files.

    Raises SourceError where there is no image.
    """
    images, left_out = [], {HIDDEN: 0, OTHER: 0}
    for path in sorted(_files(folder)):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part.lower() in JUNK for part in parts):
            left_out[HIDDEN] += 1
        elif path.suffix.lower() not in SUFFIXES:
            left_out[OTHER] += 1
        else:
            images.append(path)
    found = Found(folder, tuple(images), left_out)
    if not images:
        raise SourceError(
            f"{folder}: expected image files ({', '.join(sorted(SUFFIXES))}), found none"
            + (f" ({found.note()})" if found.note() else "")
        )
    return found


def _files(folder: Path) -> Iterator[Path]:
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place) / name for name in names)


def contents_digest(folder: Path, paths: Sequence[Path]) -> str:
    """SHA-256 over names and contents of files; what they hold, not when they were written."""
    digest = hashlib.sha256()
    for path, content in zip(paths, _in_threads(_digest_of, paths, "reading images"), strict=True):
        digest.update(
            path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape") + b"\0" + content
        )
    return digest.hexdigest()


def _digest_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise SourceError(f"{path}: the file cannot be read ({error})") from error


def decoded(paths: Sequence[Path], contents: str, size: int, channels: int, cache: bool = True) -> np.ndarray:
    """The pixels (n, h, w, channels) uint8 of image files, from the cache where it holds them.

    `contents` identifies what the files hold. Raises SourceError that lists every file which cannot be used, or where
    `size` is 0 and the images are of several sizes.
    """
    key = hashlib.sha256(f"{contents} {size} {channels} {RULES}".encode()).hexdigest()
    path = cache_dir() / f"images-{key[:16]}.npz"
    stored = read_arrays(path, key, ("images",)) if cache else None
    if stored is not None:
        return stored["images"]
    images = _decode_all(paths, size, channels)
    if cache:
        write_arrays(path, key, {"images": images}, "the decoded images")
    return images


def _decode_all(paths: Sequence[Path], size: int, channels: int) -> np.ndarray:
    def pixels(path: Path) -> np.ndarray | str:
        try:
            return decode(path.read_bytes(), size, channels)
        except BadImage as error:
            return str(error)
        except OSError as error:
            return f"the file cannot be read ({error})"

    results = list(_in_threads(pixels, paths, "decoding images"))
    bad = [f"  {path}: {found}" for path, found in zip(paths, results, strict=True) if isinstance(found, str)]
    if bad:
        said = f"{len(bad)} of {len(paths)} image files cannot be used; mend or remove them:"
        more = [f"  and {len(bad) - MOST_LISTED} more"] if len(bad) > MOST_LISTED else []
        raise SourceError("\n".join([said, *bad[:MOST_LISTED], *more]))
    return _stacked(paths, results)


def _stacked(paths: Sequence[Path], images: Sequence[Any]) -> np.ndarray:
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        sizes = ", ".join(f"{height}x{width}" for height, width, _ in sorted(shapes)[:5])
        raise SourceError(
            f"{len(paths)} images have {len(shapes)} sizes ({sizes}{', ...' if len(shapes) > 5 else ''}): give one with "
            f"--config.data.image_size"
        )
    return np.stack(images)


def _in_threads(work: Callable[[Path], T], paths: Sequence[Path], what: str) -> Iterable[T]:
    """The results in order, from a thread a core, with a bar at a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from track(
            pool.map(work, paths, chunksize=64), what, len(paths), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip

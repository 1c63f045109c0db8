"""Image files identified by their contents, decoded once and kept in the cache."""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.images.decode import (
    EIGHT_BITS,
    RULES,
    BadImage,
    Decoded,
    PixelRoom,
    Reading,
    decode_file,
)
from seqfinal_jax.data.stored_arrays import cache_dir, read_arrays, write_arrays

MOST_LISTED = 100
DARK = 0.1  # the share of their range below which images are suspicious
KEPT = ("images", "digests", "bits", "odd_metadata")
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded image files.

    images (n, h, w, channels) uint8; digests (n,) uint64 of their pixels; bits (n,) uint8 of a stored value.
    """

    images: np.ndarray
    digests: np.ndarray
    bits: np.ndarray

    def note(self) -> str:
        """A warning where the images use little of the range of their type; empty otherwise."""
        brightest = self.images.max(axis=(1, 2, 3))
        for bits in (8, 16):
            own = self.bits == bits
            if own.any() and (high := int(brightest[own].max())) < DARK * EIGHT_BITS:
                return (
                    f"the {int(own.sum())} images of {bits} bits use {100 * high / EIGHT_BITS:.0f} % of their range at "
                    f"most; where another value than {2**bits - 1} is white, name it with --config.data.white"
                )
        return ""


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


def decoded(paths: Sequence[Path], contents: str, reading: Reading, cache: bool = True) -> Pictures:
    """Image files as pixels, from the cache where it holds them.

    `contents` identifies what the files hold. Raises SourceError that lists every file which cannot be used, or where
    `reading.size` is 0 and the images are of several sizes.
    """
    key = hashlib.sha256(f"{contents} {reading.key} {RULES}".encode()).hexdigest()
    path = cache_dir() / f"images-{key[:16]}.npz"
    stored = read_arrays(path, key, KEPT) if cache else None
    if stored is None:
        stored = _decode_all(paths, reading)
        if cache:
            write_arrays(path, key, stored, "the decoded images")
    if odd := int(stored["odd_metadata"].sum()):
        log.warning(
            "%d image file%s metadata that cannot be read; only the orientation would have been used",
            odd,
            "s have" if odd > 1 else " has",
        )
    return Pictures(stored["images"], stored["digests"], stored["bits"])


def _decode_all(paths: Sequence[Path], reading: Reading) -> dict[str, np.ndarray]:
    room = PixelRoom(reading.most_megapixels * 1e6)

    def found(path: Path) -> Decoded | str:
        try:
            return decode_file(path.read_bytes(), reading, room)
        except BadImage as error:
            return str(error)
        except OSError as error:
            return f"the file cannot be read ({error})"

    with _large_images():
        results = list(_in_threads(found, paths, "decoding images"))
    bad = [f"  {path}: {found}" for path, found in zip(paths, results, strict=True) if isinstance(found, str)]
    if bad:
        said = f"{len(bad)} of {len(paths)} image files cannot be used; repair or remove them:"
        more = [f"  and {len(bad) - MOST_LISTED} more"] if len(bad) > MOST_LISTED else []
        raise SourceError("\n".join([said, *bad[:MOST_LISTED], *more]))
    decoded = [each for each in results if isinstance(each, Decoded)]
    images = _stacked(paths, [each.pixels for each in decoded])
    return {
        "images": images,
        "digests": pixel_digests(images),
        "bits": np.array([each.bits for each in decoded], np.uint8),
        "odd_metadata": np.array([each.odd_metadata for each in decoded], bool),
    }


@contextlib.contextmanager
def _large_images() -> Iterator[None]:
    """Takes Pillow's own bound on pixels away: there is one here, of which the user can set the value."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def channels_are_first(shape: tuple[int, ...]) -> bool:
    """Whether images of this shape look like (n, c, h, w), as PyTorch has them."""
    return len(shape) == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3)


def pixel_digests(images: np.ndarray) -> np.ndarray:
    """A digest of each image's pixels, (n,) uint64: equal for equal images."""
    found = b"".join(hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(found, np.uint64)


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

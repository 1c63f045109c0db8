"""Data files as their authors publish them: folders or archives of pickles, read without trusting them.

A pickle can run code when it is read, so only what these files need is let through: dictionaries, lists,
text, numbers, bytes and uint8 arrays.
"""

import gzip
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqfinal_jax.data.base.sources import SourceError

GZIP_MAGIC = b"\x1f\x8b"
LARGEST_FILE = 1 << 28  # bytes; the largest upstream file has 148 MiB


@dataclass(frozen=True)
class Upstream:
    """Where a data set's files lie and the md5 sums of the official ones."""

    folder: str
    archive: str
    archive_md5: str
    files: dict[str, str]
    url: str


@dataclass(frozen=True, eq=False)
class RawFile:
    """One file's bytes; `where` names it in messages."""

    name: str
    where: str
    content: bytes

    @property
    def md5(self) -> str:
        """Hexadecimal md5 of the content."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


def find_upstream(upstream: Upstream, data_dir: Path) -> list[Path]:
    """Where the data may be, the best place first: `data_dir` itself, or the folder and the archive in it.

    `data_dir` is the upstream folder if it has that name, whatever it links to, or holds all its files.
    """
    named = upstream.folder in (data_dir.name, data_dir.resolve().name)
    places = [data_dir] if named or all((data_dir / name).is_file() for name in upstream.files) else []
    places += [data_dir / upstream.folder, data_dir / upstream.archive]
    return [place for place in places if place.exists()]


def read_files(upstream: Upstream, path: Path) -> Iterator[RawFile]:
    """The files one after another, in the order found; raises SourceError if any is missing or unreadable."""
    return read_folder(upstream, path) if path.is_dir() else read_archive(upstream, path)


def read_folder(upstream: Upstream, folder: Path) -> Iterator[RawFile]:
    """Every file of the layout; other files in the folder are left alone."""
    missing = [name for name in upstream.files if not (folder / name).is_file()]
    if missing:
        raise SourceError(
            f"{folder}: missing {', '.join(missing)}; expected {', '.join(upstream.files)}, found "
            f"{listing(folder)}. Unpack {upstream.archive} ({upstream.url}) there again"
        )
    for name in upstream.files:
        yield checked(RawFile(name, str(folder / name), (folder / name).read_bytes()), upstream)


def read_archive(upstream: Upstream, path: Path) -> Iterator[RawFile]:
    """Every file of the layout from a .tar.gz, in memory; nothing is written."""
    with path.open("rb") as file:
        checked(RawFile(path.name, str(path), file.read(512)), upstream)
    wanted = {f"{upstream.folder}/{name}": name for name in upstream.files}
    try:
        with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                name = wanted.pop(member.name.removeprefix("./"), None)
                if name is not None:
                    yield checked(_member(archive, member, name, path), upstream)
            while stream.read(1 << 20):  # to the end, where the checksum is compared
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise SourceError(
            f"{path}: expected a whole .tar.gz archive, found {path.stat().st_size} bytes that cannot be read "
            f"({error}); the download was probably cut off. Fetch it again from {upstream.url}"
        ) from None
    if wanted:
        raise SourceError(f"{path}: expected {', '.join(wanted)} inside, not found. {_fetch(upstream)}")


def _opened(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """The archive's bytes, unpacked where they are packed: some programs unpack a .tar.gz and leave its name."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    return gzip.open(path) if packed else path.open("rb")


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, path: Path) -> RawFile:
    file = archive.extractfile(member) if member.isfile() else None  # a link may lead nowhere
    if file is None or member.size > LARGEST_FILE:
        raise SourceError(f"{path}: expected {member.name} to be a file of at most {LARGEST_FILE} bytes")
    return RawFile(name, f"{path}, file {member.name}", file.read())


def checked(file: RawFile, upstream: Upstream) -> RawFile:
    """The file, unless it is empty or a web page saved under its name."""
    start = file.content[:512].lstrip().lower()
    if not file.content:
        raise SourceError(f"{file.where}: expected data, found an empty file. {_fetch(upstream)}")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise SourceError(f"{file.where}: expected data, found a web page (an error or log-in page was saved). "
                          f"{_fetch(upstream)}")  # fmt: skip
    return file


def archive_md5(path: Path) -> str:
    """Hexadecimal md5 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def listing(folder: Path) -> str:
    """The names in a folder as a string, the first few only."""
    names = sorted(entry.name for entry in folder.iterdir())
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "nothing"


def unpickle(file: RawFile, upstream: Upstream) -> dict[str, Any]:
    """The dictionary in a file, keys as strings; raises SourceError if it is cut off or holds anything else."""
    try:
        content = _Unpickler(io.BytesIO(file.content), encoding="bytes").load()
    except _ForeignCode as error:
        raise SourceError(f"{file.where}: expected plain data, found a reference to {error}, which was not "
                          f"run. This is not the published file. {_fetch(upstream)}") from None  # fmt: skip
    except Exception as error:  # a damaged pickle can raise anything
        raise SourceError(f"{file.where}: expected a whole pickle, found {len(file.content)} bytes that cannot be "
                          f"read ({type(error).__name__}: {error}). {_fetch(upstream)}") from None  # fmt: skip
    if not isinstance(content, dict):
        raise SourceError(f"{file.where}: expected a dictionary, found {type(content).__name__}")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): v for key, v in content.items()}


def _fetch(upstream: Upstream) -> str:
    return f"Fetch {upstream.archive} again from {upstream.url}"


class _ForeignCode(Exception):
    pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Stand-ins for the names that a pickled uint8 array refers to; nothing else exists.

        Python 3 writes bytes as `_codecs.encode(text, "latin1")` in the protocol of Python 2, and arrays in a form of
        their own in protocol 5.
        """
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): _empty_bytes,
            ("numpy._core.multiarray", "_reconstruct"): _empty_bytes,
            ("numpy", "ndarray"): None,
            ("numpy", "dtype"): _byte_dtype,
            ("_codecs", "encode"): _latin1_bytes,
            ("numpy.core.numeric", "_frombuffer"): _bytes_of_shape,
            ("numpy._core.numeric", "_frombuffer"): _bytes_of_shape,
        }
        if (module, name) not in allowed:
            raise _ForeignCode(f"{module}.{name}")
        return allowed[module, name]


def _empty_bytes(*_: object) -> np.ndarray:
    return np.empty(0, np.uint8)  # filled by the pickled state that follows


def _latin1_bytes(text: str, encoding: str | bytes) -> bytes:
    if encoding not in ("latin1", b"latin1"):
        raise _ForeignCode(f"the encoding {encoding!r}")
    return text.encode("latin-1")


def _bytes_of_shape(
    content: bytes, _: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]
) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(shape, order=order)


def _byte_dtype(kind: str | bytes, *_: object) -> np.dtype:
    if kind not in ("u1", b"u1"):
        raise _ForeignCode(f"an array of type {kind!r}")
    return np.dtype("u1")

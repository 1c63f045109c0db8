"""Fashion-MNIST and MNIST: grey images of 28x28 from their four IDX files, or through TensorFlow Datasets.

The files are sought in the data folder, in a folder of the data set's name below it, and where Debian's package
`dataset-fashion-mnist` puts them; packed (.gz) or not.
"""

import gzip
import hashlib
import logging
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from seqfinal_jax.data.base import tfds
from seqfinal_jax.data.base.sources import DATASETS, Source, SourceError
from seqfinal_jax.data.base.upstream import Upstream

log = logging.getLogger(__name__)
SIDE, TRAIN, TEST = 28, 60000, 10000
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
BYTES = 0x08  # the type of unsigned bytes in an IDX header
FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip


@dataclass(frozen=True)
class IdxSet:
    """One of the data sets: its folder, where it comes from, the md5 of its unpacked files, and its classes."""

    name: str
    folder: str
    url: str
    md5: tuple[str, ...]
    class_names: tuple[str, ...]
    places: tuple[Path, ...] = ()
    mirror_keeps_class: bool = False


FASHION_MNIST = IdxSet(
    "fashion_mnist",
    "fashion-mnist",
    "https://github.com/zalandoresearch/fashion-mnist, or Debian's package dataset-fashion-mnist",
    (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9", "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
    ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    (DEBIAN,),
    mirror_keeps_class=True,
)  # fmt: skip
MNIST = IdxSet(
    "mnist",
    "mnist",
    "https://yann.lecun.com/exdb/mnist",
    (),
    tuple(map(str, range(10))),
)


def load_idx(idx: IdxSet, data_dir: Path | None) -> Source:
    """The four official files in one folder, otherwise from TensorFlow Datasets.

    Raises SourceError where nothing is found, or a file is missing, damaged or not what it should be.
    """
    folder = find_folder(idx, data_dir)
    if folder is None:
        looked = (
            f"no {FILES[0]} in {data_dir}"
            if data_dir
            else "no folder given by --data_dir or SEQFINAL_DATA_DIR"
        )
        upstream = Upstream(idx.folder, f"{FILES[0]}.gz and the three other files", "", {}, idx.url)
        train, test, record = tfds.read(idx.name, upstream, looked)
        return _source(idx, train, test, record)
    arrays, md5 = zip(*(read_file(folder, name) for name in FILES), strict=True)
    official = tuple(md5) == idx.md5 if idx.md5 else "unverified"
    if official is False:
        log.warning(
            "the files of %s in %s differ from the official ones. The run goes on and records this; do not compare its "
            "figures digit by digit with published ones",
            idx.name, folder,
        )  # fmt: skip
    record = {
        "origin": "folder", "path": str(folder), "official": official, "note": "",
        "files": dict(zip(FILES, md5, strict=True)),
    }  # fmt: skip
    splits = []
    for images, labels, count in ((arrays[0], arrays[1], TRAIN), (arrays[2], arrays[3], TEST)):
        if images.shape != (count, SIDE, SIDE) or labels.shape != (count,):
            raise SourceError(
                f"{folder}: expected {count} images of {SIDE}x{SIDE} and as many labels, found {images.shape} and "
                f"{labels.shape}"
            )
        splits.append((images[..., None], labels.astype(np.int32)))
    train, test = splits
    return _source(idx, train, test, record)


def find_folder(idx: IdxSet, data_dir: Path | None) -> Path | None:
    """The first folder that holds one of the files."""
    places = [data_dir, data_dir / idx.folder, data_dir / idx.name] if data_dir else []
    for place in (*places, *idx.places):
        if any((place / f"{FILES[0]}{end}").is_file() for end in (".gz", "")):
            return place
    return None


def read_file(folder: Path, name: str) -> tuple[np.ndarray, str]:
    """The array of an IDX file of bytes, and the md5 of its unpacked contents; raises SourceError."""
    path = next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)
    if path is None:
        raise SourceError(
            f"{folder}: missing {name}.gz; expected {', '.join(f'{each}.gz' for each in FILES)}"
        )
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(
            f"{path}: expected a whole .gz file, found one that cannot be unpacked ({error})"
        ) from None
    return _array(path, content), hashlib.md5(content, usedforsecurity=False).hexdigest()


def _array(path: Path, content: bytes) -> np.ndarray:
    """What an IDX file holds: two zero bytes, the type, the number of axes, each axis's length, then the values."""
    axes = content[3] if len(content) > 3 and content[:3] == bytes((0, 0, BYTES)) else 0
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * axes], ">i4").tolist())
    values = content[4 + 4 * axes :]
    if not axes or len(shape) != axes or len(values) != int(np.prod(shape)):
        raise SourceError(f"{path}: expected an IDX file of bytes, found {len(content)} bytes that are none")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _source(
    idx: IdxSet, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], record: dict
) -> Source:
    return Source(
        idx.name, *train, *test, len(idx.class_names), idx.class_names,
        record=record, mirror_keeps_class=idx.mirror_keeps_class,
    )  # fmt: skip


DATASETS.add("fashion_mnist", partial(load_idx, FASHION_MNIST))
DATASETS.add("mnist", partial(load_idx, MNIST))

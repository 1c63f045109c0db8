"""Base data sets: the images that sequences are cut from, and where they are found."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.records.code_identity import defined_in
from seqfinal_jax.records.registry import Registry

DATA_DIR_VARIABLE = "SEQFINAL_DATA_DIR"


class SourceError(ValueError):
    """A base data set is missing, damaged or unexpected; the message says how to repair it."""


@dataclass(frozen=True, eq=False)
class Source:
    """A base data set in memory; its arrays are read-only.

    Images are uint8 of shape (N, H, W, C), labels and sub-classes int32 of shape (N,). A sub-class is the
    place of an image's fine class within its class (CIFAR-100: 0..4 in its super-class), None where the data
    set has none. `record` says where the data come from: origin ('embedded', 'folder', 'archive', 'tfds' or
    'memory'), path, official (True, False or 'unverified'), files, note and content_sha256. `mirror_keeps_class`:
    whether a mirrored image is of the same class, None where that is not known.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int
    class_names: tuple[str, ...]
    train_subclass: np.ndarray | None = None
    test_subclass: np.ndarray | None = None
    record: dict[str, Any] = field(default_factory=dict)
    mirror_keeps_class: bool | None = None

    def __post_init__(self) -> None:
        """Checks shapes, dtypes and label ranges, and completes the record with the content hash."""
        check_split(self, "train")
        check_split(self, "test")
        if len(self.class_names) != self.num_classes:
            raise SourceError(f"{self.name}: {self.num_classes} classes but {len(self.class_names)} names")
        for array in _arrays(self):
            array.setflags(write=False)
        origin = {"origin": "memory", "path": None, "official": "unverified", "files": {}, "note": ""}
        record = origin | self.record | {"dataset": self.name, "content_sha256": content_hash(self)}
        object.__setattr__(self, "record", record)

    @property
    def num_subclasses(self) -> int:
        """Sub-classes in each class; 1 where the data set has none."""
        if self.train_subclass is None or self.test_subclass is None:
            return 1
        return int(max(self.train_subclass.max(), self.test_subclass.max())) + 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return tuple(self.train_images.shape[1:])


Loader = Callable[[Path | None], Source]
DATASETS: Registry[Loader] = Registry("data set")


def dataset(name: str) -> Callable[[Loader], Loader]:
    """Registers the function below it as a base data set: (folder of --data_dir or None) -> Source."""

    def register(load: Loader) -> Loader:
        DATASETS.add(name, load, origin=defined_in(load))
        return load

    return register


def load_source(name: str, data_dir: str | Path | None = None) -> Source:
    """Reads one base data set.

    Args:
        name: one of `DATASETS`.
        data_dir: folder that holds the upstream files; default: the environment variable SEQFINAL_DATA_DIR.

    Raises:
        ValueError: unknown name (the message names the nearest one).
        SourceError: data missing or damaged.
    """
    loader = DATASETS.get(name)
    return loader(data_folder(data_dir))


def data_folder(data_dir: str | Path | None) -> Path | None:
    """The folder named by argument, else by environment, else None; SourceError if it is not a folder."""
    asked_by = "data_dir" if data_dir else DATA_DIR_VARIABLE
    data_dir = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        return None
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise SourceError(f"{asked_by}={str(data_dir)!r}: expected a folder, found {found} there")
    return folder


def check_split(source: Source, split: str) -> None:
    """Raises SourceError unless the arrays of 'train' or 'test' fit each other and the number of classes."""
    images, labels = getattr(source, f"{split}_images"), getattr(source, f"{split}_labels")
    subclass = getattr(source, f"{split}_subclass")
    where = f"{source.name}, {split} split"
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
        found = f"{images.dtype} {images.shape}"
        raise SourceError(f"{where}: expected images as uint8 (N, H, W, C) with values 0..255, found {found}")
    if images.shape[1:] != source.image_shape:
        raise SourceError(
            f"{where}: expected images of shape {source.image_shape}, as in the training split, found {images.shape[1:]}"
        )
    check_labels(labels, len(images), source.num_classes, f"{where}: labels")
    if (subclass is None) != (source.train_subclass is None):
        raise SourceError(f"{where}: sub-classes must be given for both splits or for none")
    if subclass is not None and source.train_subclass is not None:
        check_labels(subclass, len(images), int(source.train_subclass.max()) + 1, f"{where}: sub-classes")


def check_labels(labels: np.ndarray, count: int, num_classes: int, where: str) -> None:
    """Raises SourceError unless `labels` is int32 of shape (count,) with values 0..num_classes-1."""
    if labels.dtype != np.int32 or labels.shape != (count,):
        raise SourceError(f"{where}: expected int32 ({count},), found {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= num_classes:
        found = f"{labels.min()}..{labels.max()}"
        raise SourceError(f"{where}: expected values 0..{num_classes - 1}, found {found}")


def content_hash(source: Source) -> str:
    """SHA-256 over shapes, images, labels and sub-classes: a property of the data, not of the files."""
    digest = hashlib.sha256()
    for array in _arrays(source):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _arrays(source: Source) -> list[np.ndarray]:
    named = (source.train_images, source.train_labels, source.train_subclass)
    named += (source.test_images, source.test_labels, source.test_subclass)
    return [array for array in named if array is not None]

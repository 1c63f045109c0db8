"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the upstream files, or through TensorFlow Datasets."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.data.base import cifar_names, tfds
from seqfinal_jax.data.base.sources import DATASETS, Source, SourceError
from seqfinal_jax.data.base.upstream import (
    RawFile,
    Upstream,
    archive_md5,
    find_upstream,
    listing,
    read_files,
    unpickle,
)

log = logging.getLogger(__name__)
URL = "https://www.cs.toronto.edu/~kriz/cifar.html"
SIDE, CHANNELS = 32, 3


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets: its files, and what must be in them."""

    name: str
    upstream: Upstream
    train_files: tuple[str, ...]
    test_file: str
    meta_file: str
    label_key: str
    meta_key: str
    labels: tuple[str, ...]
    train_count: int = 50000
    test_count: int = 10000


CIFAR10 = Cifar(
    name="cifar10",
    upstream=Upstream(
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        archive_md5="c58f30108f718f92721af3b95e74349a",
        files={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        },
        url=URL,
    ),
    train_files=tuple(f"data_batch_{k}" for k in range(1, 6)),
    test_file="test_batch",
    meta_file="batches.meta",
    label_key="labels",
    meta_key="label_names",
    labels=cifar_names.CIFAR10,
)
CIFAR100 = Cifar(
    name="cifar100",
    upstream=Upstream(
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
        files={
            "train": "16019d7e3df5f24257cddd939b257f8d",
            "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            "meta": "7973b15100ade9c7d40fb424638fde48",
        },
        url=URL,
    ),
    train_files=("train",),
    test_file="test",
    meta_file="meta",
    label_key="fine_labels",
    meta_key="fine_label_names",
    labels=cifar_names.FINE,
)

Labelled = tuple[np.ndarray, np.ndarray]  # images (N, 32, 32, 3) uint8, labels (N,) int32


def load_cifar(cifar: Cifar, data_dir: Path | None) -> Source:
    """The official files or archive in `data_dir`, otherwise from TensorFlow Datasets.

    The labels of CIFAR-100 are its 20 super-classes; its fine classes are the sub-classes. The order is that
    of the upstream files: training batches 1 to 5, then rows.

    Raises:
        SourceError: nothing found, or a file is missing, damaged or not what it should be.
    """
    places = find_upstream(cifar.upstream, data_dir) if data_dir else []
    for path in places:
        try:
            return _load_upstream(cifar, path)
        except SourceError as error:
            if path == places[-1]:
                raise
            log.warning("%s; looking further in %s", error, data_dir)
    looked = _looked(cifar, data_dir)
    if data_dir:
        log.warning("%s: %s; asking TensorFlow Datasets", cifar.name, looked)
    train, test, record = tfds.read(cifar.name, cifar.upstream, looked)
    return make_source(cifar, train, test, record)


def _looked(cifar: Cifar, data_dir: Path | None) -> str:
    upstream = cifar.upstream
    if data_dir is None:
        return "no folder given by --data_dir or SEQFINAL_DATA_DIR"
    others = {other.upstream.folder: other.name for other in (CIFAR10, CIFAR100) if other.name != cifar.name}
    name = data_dir.resolve().name
    if name in others:
        raise SourceError(f"{data_dir}: expected {cifar.name}, found the folder of {others[name]}; "
                          f"name the folder that holds {upstream.folder} instead")  # fmt: skip
    wanted = f"{upstream.folder}/ or {upstream.archive}"
    return f"expected {wanted} in {data_dir}, found {listing(data_dir)}"


def _load_upstream(cifar: Cifar, path: Path) -> Source:
    batches: dict[str, Labelled] = {}
    files: dict[str, dict[str, Any]] = {}
    for file in read_files(cifar.upstream, path):
        files[file.name] = {"md5": file.md5, "official": file.md5 == cifar.upstream.files[file.name]}
        content = unpickle(file, cifar.upstream)
        if file.name == cifar.meta_file:
            check_names(cifar, file, content)
        else:
            batches[file.name] = read_batch(cifar, file, content)
    parts = [batches[name] for name in cifar.train_files]
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return make_source(cifar, (images, labels), batches[cifar.test_file], _record(cifar, path, files))


def _record(cifar: Cifar, path: Path, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    origin = "folder" if path.is_dir() else "archive"
    differing = sorted(name for name, file in files.items() if not file["official"])
    if origin == "archive":
        md5 = archive_md5(path)
        files[path.name] = {"md5": md5, "official": md5 == cifar.upstream.archive_md5}
    note = f"not the official files: {', '.join(differing)}" if differing else "the official files"
    if differing:
        log.warning(
            "the files of %s in %s differ from the official ones (%s). The run goes on and records this; do not compare "
            "its figures digit by digit with published ones",
            cifar.name, path, ", ".join(differing),
        )  # fmt: skip
    return {
        "origin": origin,
        "path": str(path.resolve()),
        "official": not differing,
        "files": files,
        "note": note,
    }


def check_names(cifar: Cifar, file: RawFile, content: dict[str, Any]) -> None:
    """Raises SourceError unless the label names are the official ones in the official order."""
    found = content.get(cifar.meta_key)
    if not isinstance(found, list):
        raise SourceError(f"{file.where}: expected a list {cifar.meta_key!r}, found keys {sorted(content)}")
    names = tuple(name.decode("latin-1") if isinstance(name, bytes) else str(name) for name in found)
    if len(names) != len(cifar.labels):
        raise SourceError(f"{file.where}: expected {len(cifar.labels)} label names, found {len(names)}")
    for k, (name, official) in enumerate(zip(names, cifar.labels, strict=True)):
        if name != official:
            raise SourceError(f"{file.where}: expected label {k} to be {official!r}, found {name!r}")


def read_batch(cifar: Cifar, file: RawFile, content: dict[str, Any]) -> Labelled:
    """Images and labels of one batch: rows of 3072 bytes (red, green, blue planes) become (N, 32, 32, 3)."""
    missing = {"data", cifar.label_key} - content.keys()
    if missing:
        raise SourceError(
            f"{file.where}: expected the keys 'data' and {cifar.label_key!r} of {cifar.name}, "
            f"found {sorted(content)}"
        )
    rows = cifar.test_count if file.name == cifar.test_file else cifar.train_count // len(cifar.train_files)
    data, labels = content["data"], read_labels(cifar, file, content[cifar.label_key], cifar.label_key, rows)
    shape = (rows, CHANNELS * SIDE * SIDE)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != shape:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise SourceError(f"{file.where}: expected 'data' as uint8 {shape}, found {found}")
    if "coarse_labels" in content:
        coarse = read_labels(cifar, file, content["coarse_labels"], "coarse_labels", rows)
        check_coarse(labels, coarse, file.where)
    planes = data.reshape(rows, CHANNELS, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def read_labels(cifar: Cifar, file: RawFile, labels: object, key: str, rows: int) -> np.ndarray:
    """A list of whole numbers as (rows,) int32 within range, else SourceError."""
    if not isinstance(labels, list) or len(labels) != rows:
        found = f"{len(labels)}" if isinstance(labels, list) else f"a {type(labels).__name__}"
        raise SourceError(f"{file.where}: expected a list of {rows} {key}, found {found}")
    if not all(isinstance(label, int) and 0 <= label < len(cifar.labels) for label in labels):
        bad = next(x for x in labels if not isinstance(x, int) or not 0 <= x < len(cifar.labels))
        raise SourceError(f"{file.where}: expected {key} 0..{len(cifar.labels) - 1}, found {bad!r}")
    return np.array(labels, np.int32)


def check_coarse(fine: np.ndarray, coarse: np.ndarray, where: str) -> None:
    """Raises SourceError unless every super-class label is the one that its fine label belongs to."""
    wrong = np.flatnonzero(cifar_names.SUPERCLASS_OF_FINE[fine] != coarse)
    if len(wrong):
        k = wrong[0]
        expected = cifar_names.SUPERCLASS_OF_FINE[fine[k]]
        raise SourceError(
            f"{where}: row {k} has fine label {fine[k]}, expected super-class {expected}, found {coarse[k]}"
        )


def check_counts(cifar: Cifar, labels: np.ndarray, total: int, split: str) -> None:
    """Raises SourceError unless every label occurs equally often."""
    expected = total // len(cifar.labels)
    counts = np.bincount(labels, minlength=len(cifar.labels))
    for k, count in enumerate(counts):
        if count != expected:
            raise SourceError(
                f"{cifar.name}, {split} split: expected {expected} images of {cifar.labels[k]!r} (label {k}), "
                f"found {count}; a file was changed or two were mixed up. Fetch {cifar.upstream.archive} again"
            )


def make_source(cifar: Cifar, train: Labelled, test: Labelled, record: dict[str, Any]) -> Source:
    """The source of checked images and labels (CIFAR-100: fine labels, split into class and sub-class)."""
    check_counts(cifar, train[1], cifar.train_count, "training")
    check_counts(cifar, test[1], cifar.test_count, "test")
    fine = cifar.label_key == "fine_labels"
    groups = cifar_names.SUPERCLASSES if fine else cifar.labels
    return Source(
        name=cifar.name,
        train_images=train[0],
        train_labels=cifar_names.SUPERCLASS_OF_FINE[train[1]] if fine else train[1],
        test_images=test[0],
        test_labels=cifar_names.SUPERCLASS_OF_FINE[test[1]] if fine else test[1],
        num_classes=len(groups),
        class_names=tuple(groups),
        train_subclass=cifar_names.PLACE_OF_FINE[train[1]] if fine else None,
        test_subclass=cifar_names.PLACE_OF_FINE[test[1]] if fine else None,
        record=record,
        mirror_keeps_class=True,
    )


DATASETS.add("cifar10", partial(load_cifar, CIFAR10))
DATASETS.add("cifar100", partial(load_cifar, CIFAR100))

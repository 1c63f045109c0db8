"""CIFAR through TensorFlow Datasets, which downloads; TensorFlow itself is not needed.

It keeps the images in an order of its own, but numbers them ('train_16399') by their row in the upstream
files, so the upstream order, which the draws of a sequence depend on, can be restored.
"""

import importlib
import logging
import os
import re
import socket
import urllib.parse
from types import ModuleType
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.base.upstream import Upstream

log = logging.getLogger(__name__)
PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
SECONDS_TO_ANSWER = 10.0
ID = re.compile(r"(?:train|test)_(\d+)")
Labelled = tuple[np.ndarray, np.ndarray]


def read(name: str, upstream: Upstream, looked: str) -> tuple[Labelled, Labelled, dict[str, Any]]:
    """Images (N, 32, 32, 3) uint8 and labels (N,) int32 of both splits, and the record of the source.

    `looked` says where the upstream files were sought in vain. Raises SourceError if the package is missing,
    the download fails or the examples are not as expected.
    """
    package = _package(name, upstream, looked)
    _check_reachable(package, name, upstream)
    splits, restored = [], []
    for split in ("train", "test"):
        images, labels, order = _examples(package, name, split, upstream)
        restored.append(order is not None)
        order = slice(None) if order is None else order
        splits.append((images[order], labels[order]))
    kept = "upstream order restored from the example ids"
    lost = (
        "no usable example ids, so in another order than upstream: draws differ from those of other sources"
    )
    note = kept if all(restored) else lost
    if not all(restored):
        log.warning("%s from TensorFlow Datasets: %s", name, note)
    record = {"origin": "tfds", "path": None, "official": "unverified", "files": {}, "note": note}
    return splits[0], splits[1], record


def _package(name: str, upstream: Upstream, looked: str) -> ModuleType:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise SourceError(
            f"{name} not found: {looked}; and TensorFlow Datasets, which would download it, cannot be imported "
            f"({error}). Put {upstream.archive} from {upstream.url} into a folder and name it by --data_dir or "
            f"SEQFINAL_DATA_DIR, or pip install tensorflow-datasets importlib_resources"
        ) from None


def _check_reachable(package: ModuleType, name: str, upstream: Upstream) -> None:
    """Raises SourceError where the images must be downloaded and their host does not answer.

    TensorFlow Datasets would try again for minutes. Behind a proxy nothing is known beforehand.
    """
    if any(os.environ.get(variable) for variable in PROXIES) or _is_prepared(package, name):
        return
    host = urllib.parse.urlparse(upstream.url).hostname or ""
    try:
        socket.create_connection((host, 443), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise SourceError(
            f"{name} is not here and cannot be downloaded: {host} does not answer ({error}). Put {upstream.archive} from "
            f"{upstream.url} into a folder and name it by --data_dir or SEQFINAL_DATA_DIR"
        ) from None


def _is_prepared(package: ModuleType, name: str) -> bool:
    """Whether TensorFlow Datasets has the images already; also where it does not tell."""
    try:
        return package.builder(name).data_path.exists()
    except Exception:  # other versions of the package
        return True


def _examples(
    package: ModuleType, name: str, split: str, upstream: Upstream
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Images, labels, and the order that restores the upstream rows, or None where the ids do not tell."""
    try:
        source = package.data_source(name, split=split)
        examples = [source[k] for k in range(len(source))]
        images = np.stack([example["image"] for example in examples]).astype(np.uint8)
        labels = np.array([example["label"] for example in examples], np.int32)
    except Exception as error:  # a download can fail in many layers
        raise SourceError(
            f"{name}: TensorFlow Datasets gave no {split} split ({type(error).__name__}: {error}). Put "
            f"{upstream.archive} from {upstream.url} into a folder and name it by --data_dir or SEQFINAL_DATA_DIR"
        ) from None
    return (
        images,
        labels,
        upstream_order([example.get("id") for example in examples], f"{name}, {split} split"),
    )


def upstream_order(ids: list[bytes | str | None], where: str) -> np.ndarray | None:
    """Positions of the examples with ids ..._0, ..._1, and so on; None if any id has another form.

    Raises SourceError if the numbers are not exactly 0..N-1.
    """
    texts = [i.decode("latin-1") if isinstance(i, bytes) else str(i) for i in ids]
    matches = [match for text in texts if (match := ID.fullmatch(text))]
    if len(matches) < len(texts):
        return None
    numbers = np.array([int(match[1]) for match in matches])
    order = np.argsort(numbers, kind="stable")
    if not np.array_equal(numbers[order], np.arange(len(numbers))):
        raise SourceError(
            f"{where}: expected example ids 0..{len(ids) - 1}, each once, found others or repeats"
        )
    return order

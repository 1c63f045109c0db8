"""A synthetic CIFAR with known sums, in memory and in the upstream layout (pickles as Python 2 wrote them)."""

import io
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np

from seqfinal_jax.data.base.cifar import CIFAR10, CIFAR100, Cifar, make_source
from seqfinal_jax.data.base.cifar_names import SUPERCLASS_OF_FINE, SUPERCLASSES
from seqfinal_jax.data.base.sources import Source

TINY10 = replace(CIFAR10, train_count=50, test_count=10)
TINY100 = replace(CIFAR100, train_count=200, test_count=100)


def real_cifar() -> bool:
    """Whether SEQFINAL_DATA_DIR names a folder with the two real data sets."""
    folder = Path(os.environ.get("SEQFINAL_DATA_DIR") or "no folder")
    return all((folder / each.upstream.folder).is_dir() for each in (CIFAR10, CIFAR100))


def toy_images(first: int, count: int) -> np.ndarray:
    """Images (count, 32, 32, 3): (31 g + 7 h w + 3 h + 5 w + 101 c + 11 floor(g/256)) mod 256."""
    g = np.arange(first, first + count)
    h, w, c = np.ogrid[:32, :32, :3]
    of_pixel = ((7 * h * w + 3 * h + 5 * w + 101 * c) % 256).astype(np.uint8)
    of_image = ((31 * g + 11 * (g // 256)) % 256).astype(np.uint8)
    return of_pixel[None] + of_image[:, None, None, None]


def toy_labels(cifar: Cifar, count: int) -> np.ndarray:
    return (np.arange(count) % len(cifar.labels)).astype(np.int32)


def toy_source(cifar: Cifar) -> Source:
    train = toy_images(0, cifar.train_count), toy_labels(cifar, cifar.train_count)
    test = toy_images(cifar.train_count, cifar.test_count), toy_labels(cifar, cifar.test_count)
    return make_source(cifar, train, test, {})


def toy_batch(cifar: Cifar, images: np.ndarray, labels: np.ndarray) -> dict:
    batch = {
        b"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1),
        cifar.label_key.encode(): labels.tolist(),
        b"batch_label": b"a toy batch",
    }
    if cifar.name == "cifar100":
        batch[b"coarse_labels"] = SUPERCLASS_OF_FINE[labels].tolist()
    return batch


def toy_files(cifar: Cifar) -> dict[str, dict]:
    """File name -> dictionary, as in the upstream folder."""
    rows = cifar.train_count // len(cifar.train_files)
    labels = toy_labels(cifar, cifar.train_count)
    files = {
        name: toy_batch(cifar, toy_images(k * rows, rows), labels[k * rows : (k + 1) * rows])
        for k, name in enumerate(cifar.train_files)
    }
    test = toy_images(cifar.train_count, cifar.test_count), toy_labels(cifar, cifar.test_count)
    files[cifar.test_file] = toy_batch(cifar, *test)
    files[cifar.meta_file] = {cifar.meta_key.encode(): [name.encode() for name in cifar.labels]}
    if cifar.name == "cifar100":
        files[cifar.meta_file][b"coarse_label_names"] = [name.encode() for name in SUPERCLASSES]
    return files


def write_toy(cifar: Cifar, data_dir) -> None:
    folder = data_dir / cifar.upstream.folder
    folder.mkdir(parents=True)
    for name, content in toy_files(cifar).items():
        (folder / name).write_bytes(python2_pickle(content))


class _Python2Pickler(pickle._Pickler):
    dispatch = pickle._Pickler.dispatch.copy()

    def save_bytes(self, obj):
        short = len(obj) < 256
        self.write(b"U" + bytes([len(obj)]) if short else b"T" + struct.pack("<i", len(obj)))
        self.write(obj)
        self.memoize(obj)

    dispatch[bytes] = save_bytes


def python2_pickle(content: object) -> bytes:
    """Protocol 2 with 8-bit strings and NumPy's old module name, as in the upstream files."""
    out = io.BytesIO()
    _Python2Pickler(out, protocol=2).dump(content)
    return out.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")

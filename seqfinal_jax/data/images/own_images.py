"""A user's own images as a base data set under synthetic shifts.

Folders `train/CLASS/IMAGE` and `test/CLASS/IMAGE`; folders `CLASS/IMAGE`, of which a sixth of every class is drawn for
testing, once and for all; or a .npz file with train_images, train_labels, test_images and test_labels.
"""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import DATASETS, Source, SourceError
from seqfinal_jax.data.images.image_files import contents_digest, decoded, find_images, natural

NAME, SIZE, TEST_SHARE, DRAW = "own_images", 32, 6, 1007
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def load_own_images(data_dir: Path | None) -> Source:
    """The images below a folder, resized to 32x32 in RGB, or the arrays of its only .npz file as they are.

    Raises SourceError for another layout and for files that cannot be used.
    """
    if data_dir is None:
        raise SourceError(f"{NAME}: name the folder of your images with --data_dir")
    arrays = sorted(path for path in data_dir.iterdir() if path.suffix.lower() == ".npz")
    return _from_npz(arrays[0]) if len(arrays) == 1 else _from_folders(data_dir)


def _from_folders(folder: Path) -> Source:
    found = find_images(folder)
    parts = [path.relative_to(folder).parts for path in found.images]
    split = all(len(part) == 3 and part[0] in ("train", "test") for part in parts)
    if not split and any(len(part) != 2 for part in parts):
        strange = next(part for part in parts if len(part) != 2)
        raise SourceError(
            f"{folder}: expected train/CLASS/IMAGE and test/CLASS/IMAGE, or CLASS/IMAGE, found {'/'.join(strange)!r}"
        )
    classes = [unicodedata.normalize("NFC", part[-2]).strip() for part in parts]
    names = tuple(sorted(set(classes), key=natural))
    labels = np.array([names.index(name) for name in classes], np.int32)
    contents = contents_digest(folder, found.images)
    images = decoded(found.images, contents, SIZE, 3)
    test = np.array([part[0] == "test" for part in parts]) if split else _drawn(labels)
    record = {"origin": "folder", "path": str(folder), "note": found.note()}
    return _source(images[~test], labels[~test], images[test], labels[test], names, record)


def _drawn(labels: np.ndarray) -> np.ndarray:
    """Which images are for testing: a sixth of every class, rounded down."""
    test, random = np.zeros(len(labels), bool), np.random.default_rng(DRAW)
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        test[own[: len(own) // TEST_SHARE]] = True
    return test


def _from_npz(path: Path) -> Source:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ARRAYS if name in stored.files}
    except Exception as error:  # a cut-off file can fail in any layer of zip and npy
        raise SourceError(
            f"{path}: expected a .npz file of plain arrays, found one that cannot be read ({error})"
        ) from None
    if len(arrays) < len(ARRAYS):
        raise SourceError(
            f"{path}: expected the arrays {', '.join(ARRAYS)}, found {', '.join(arrays) or 'none of them'}"
        )
    texts = {name: arrays[name].astype(str) for name in ("train_labels", "test_labels")}
    names = tuple(sorted(set(texts["train_labels"]) | set(texts["test_labels"]), key=natural))
    labels = {
        name: np.array([names.index(each) for each in values], np.int32) for name, values in texts.items()
    }
    images = [arrays[name][..., None] if arrays[name].ndim == 3 else arrays[name] for name in ARRAYS[::2]]
    return _source(
        images[0],
        labels["train_labels"],
        images[1],
        labels["test_labels"],
        names,
        {"origin": "file", "path": str(path)},
    )


def _source(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, names: tuple[str, ...],
    record: dict[str, Any],
) -> Source:  # fmt: skip
    if not len(train) or not len(test):
        raise SourceError(
            f"{NAME}: {len(train)} training and {len(test)} test images; a class needs {TEST_SHARE} images or more to "
            f"give one for testing"
        )
    return Source(NAME, train, train_labels, test, test_labels, len(names), names, record=record)


DATASETS.add(NAME, load_own_images)

"""A user's own images as a base data set under synthetic shifts.

Folders `train/CLASS/IMAGE` and `test/CLASS/IMAGE`; folders `CLASS/IMAGE`, of which a sixth of every class is drawn for
testing, once and for all; or a .npz file with train_images, train_labels, test_images and test_labels.
"""

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import DATASETS, Source, SourceError
from seqfinal_jax.data.copies import in_any, two_labels, units_of
from seqfinal_jax.data.images.decode import MOST_MEGAPIXELS, Reading
from seqfinal_jax.data.images.image_files import (
    channels_are_first,
    contents_digest,
    decoded,
    pixel_digests,
)
from seqfinal_jax.data.images.image_folders import find_images, natural

NAME, SIZE, TEST_SHARE, DRAW = "own_images", 32, 6, 1007
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def load_own_images(
    data_dir: Path | None,
    duplicates: str = "remove",
    white: float = 0.0,
    most_megapixels: float = MOST_MEGAPIXELS,
) -> Source:
    """The images below a folder, resized to 32x32 in RGB, or the arrays of its only .npz file as they are.

    white, most_megapixels: as in `decode.Reading`. duplicates: whether to "remove" or "keep" training images that are
    copies of test images, or to "refuse" them. Raises SourceError for another layout, for files that cannot be
    used, and for one image under two classes.
    """
    if data_dir is None:
        raise SourceError(f"{NAME}: name the folder of your images with --data_dir")
    arrays = sorted(path for path in data_dir.iterdir() if path.suffix.lower() == ".npz")
    return (
        _from_npz(arrays[0], duplicates)
        if len(arrays) == 1
        else _from_folders(data_dir, duplicates, Reading(SIZE, 3, white, most_megapixels))
    )


def _from_folders(folder: Path, duplicates: str, reading: Reading) -> Source:
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
    pictures = decoded(found.images, contents, reading)
    images, digests = pictures.images, pictures.digests
    if clash := two_labels(digests, labels):
        one, other = ("/".join(parts[row]) for row in clash)
        raise SourceError(
            f"{folder}: one image is in two classes: {one} and {other} have the same pixels; remove one of them"
        )
    test = np.array([part[0] == "test" for part in parts]) if split else _drawn(labels, digests)
    notes = [note for note in (found.note(), pictures.note()) if note]
    record = {"origin": "folder", "path": str(folder), "note": "; ".join(notes)}
    copies = in_any(digests[~test], [digests[test]])
    train, notes = _without_copies(copies, duplicates)
    pool = np.flatnonzero(~test)[train]
    return _source(images[pool], labels[pool], images[test], labels[test], names, {**record, **notes})


def _drawn(labels: np.ndarray, digests: np.ndarray) -> np.ndarray:
    """Which images are for testing: a sixth of every class, rounded down; copies are drawn together."""
    test, random = np.zeros(len(labels), bool), np.random.default_rng(DRAW)
    units = units_of(digests, np.full(len(labels), ""))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        firsts, sizes = np.unique(units[rows], return_index=True, return_counts=True)[1:]
        order = random.permutation(np.sort(firsts))
        size_of = dict(zip(firsts.tolist(), sizes.tolist(), strict=True))
        ends = np.cumsum([size_of[first] for first in order.tolist()])
        chosen = units[rows][order[ends <= len(rows) // TEST_SHARE]]
        test[rows[np.isin(units[rows], chosen)]] = True
    return test


def _without_copies(copies: np.ndarray, duplicates: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Which training images stay, (n,) bool, and what the record says of the copies among them."""
    count = int(copies.sum())
    said = f"{count} training image{'s are copies' if count > 1 else ' is a copy'} of test images"
    if not count:
        return ~copies, {}
    if duplicates == "refuse":
        raise SourceError(f"{NAME}: {said}; config.data.duplicates = 'refuse' accepts none")
    record = {"copies": {"duplicates": duplicates, "training_images": count}}
    if duplicates == "keep":
        note = (
            f"{said} and were kept, so accuracy is not that on new images (config.data.duplicates = 'keep')"
        )
        return np.ones(len(copies), bool), {**record, "notes": [note]}
    if copies.all():
        raise SourceError(
            f"{NAME}: all {count} training images are copies of test images; is one folder a link to the other?"
        )
    return ~copies, {**record, "notes": [f"{said}; they were taken out of training"]}


def _from_npz(path: Path, duplicates: str) -> Source:
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
    if channels_are_first(images[0].shape):
        raise SourceError(
            f"{path}: expected images as uint8 (n, h, w) or (n, h, w, c), found {images[0].dtype} {images[0].shape}; "
            f"these look like (n, c, h, w), save np.moveaxis(images, 1, -1)"
        )
    digests = [pixel_digests(each) for each in images]
    train, notes = _without_copies(in_any(digests[0], [digests[1]]), duplicates)
    return _source(
        images[0][train],
        labels["train_labels"][train],
        images[1],
        labels["test_labels"],
        names,
        {"origin": "file", "path": str(path), **notes},
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

"""`digits`: scikit-learn's 1,797 scans of handwritten digits, the data set that needs no download."""

from pathlib import Path
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import DATASETS, Source

TRAIN_PER_CLASS = 120
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def load_digits(data_dir: Path | None = None) -> Source:
    """Scikit-learn's handwritten digits as 1,200 training and 597 test images of 32x32; needs no download.

    A pixel 0..16 becomes round(pixel * 255 / 16), repeated 4 x 4, in three equal channels. In each class the
    first 120 scans in file order are the training pool, the others the test pool.
    """
    from sklearn.datasets import load_digits as read_scans  # a second to import, and only needed here

    scans: Any = read_scans()
    labels = scans.target.astype(np.int32)
    images = enlarge(scans.images)
    is_train = place_in_class(labels) < TRAIN_PER_CLASS
    record = {"origin": "embedded", "official": True, "note": "scikit-learn's load_digits"}
    return Source(
        name="digits",
        train_images=images[is_train],
        train_labels=labels[is_train],
        test_images=images[~is_train],
        test_labels=labels[~is_train],
        num_classes=10,
        class_names=NAMES,
        record=record,
        mirror_keeps_class=False,
    )


def enlarge(scans: np.ndarray) -> np.ndarray:
    """Scans (N, 8, 8) with values 0..16 as images (N, 32, 32, 3) uint8."""
    grey = np.rint(scans * 255 / 16).astype(np.uint8)
    large = grey.repeat(4, axis=1).repeat(4, axis=2)
    return np.repeat(large[..., None], 3, axis=3)


def place_in_class(labels: np.ndarray) -> np.ndarray:
    """For each sample how many earlier samples share its label, (N,)."""
    place = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = np.arange(len(members))
    return place


DATASETS.add("digits", load_digits)

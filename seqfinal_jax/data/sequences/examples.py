"""A few images of every time step and class, and how many there are: what pictures of a sequence are drawn from."""

from collections.abc import Sequence as Names
from dataclasses import dataclass

import numpy as np

from seqfinal_jax.data.sequences.sequence import Sequence

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples of a sequence.

    images (steps, classes, each, h, w, c) uint8 of the classes in `classes`; there (steps, classes, each) bool tells
    which are there; counts (steps, 3, all classes) int64 of training, validation and test samples.
    """

    images: np.ndarray
    there: np.ndarray
    counts: np.ndarray
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    step_names: tuple[str, ...]


def examples_of(sequence: Sequence, step_names: Names[str], classes: Names[int], each: int = 1) -> Examples:
    """The first training images of some classes at every step, in the order in which the step was shuffled."""
    shape = (sequence.num_steps, len(classes), each)
    images, there = np.zeros((*shape, *sequence.image_shape), np.uint8), np.zeros(shape, bool)
    counts = np.zeros((sequence.num_steps, len(PARTS), sequence.num_classes), np.int64)
    for t, step in enumerate(sequence.steps):
        for k, label in enumerate(classes):
            rows = np.flatnonzero(step.train.labels == label)[:each]
            images[t, k, : len(rows)], there[t, k, : len(rows)] = step.train.images[rows], True
        for place, part in enumerate(PARTS):
            split = getattr(step, part)
            if split is not None:
                counts[t, place] = np.bincount(split.labels, minlength=sequence.num_classes)
    return Examples(images, there, counts, tuple(classes), tuple(sequence.class_names), tuple(step_names))

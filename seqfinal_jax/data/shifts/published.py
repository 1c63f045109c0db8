"""The eight building blocks of the published sequences."""

from typing import Any

import numpy as np

from seqfinal_jax.data.shifts.pixels import add_noise, flip_labels, rotate_classes, tint_classes
from seqfinal_jax.data.shifts.shift import SHIFTS, Occurred, Probs, Shift, shift

ANGLE = 30  # degrees, counter-clockwise
TINT = 30  # pixel units
LABEL_SHIFT = 0.3  # probability that moves between classes, in units of 1/num_classes

# Proportions of the five sub-classes after 0, 1, 2, 3 occurrences of `subpop`.
SUBPOP_SCHEDULE = (
    (1 / 2, 1 / 2, 0.0, 0.0, 0.0),
    (1 / 3, 1 / 3, 1 / 3, 0.0, 0.0),
    (0.0, 1 / 3, 1 / 3, 1 / 3, 0.0),
    (0.0, 0.0, 1 / 3, 1 / 3, 1 / 3),
)


@shift("corruption", place=10, each_time=True)
def corruption(images: np.ndarray, labels: np.ndarray, occurred: Occurred, generator: Any) -> np.ndarray:
    """Adds noise of -3 to 2 grey values to every pixel, which is hardly visible."""
    return add_noise(images, generator)


@shift("rotation", place=20, needs=("square",))
def rotation(images: np.ndarray, labels: np.ndarray, occurred: Occurred, generator: Any) -> np.ndarray:
    """Rotates all images by 30 degrees; `rotation_cond` rotates even and odd classes in opposite directions."""
    return rotate_classes(images, labels, angles(occurred))


def angles(occurred: Occurred) -> tuple[int, ...]:
    """Degrees of each class."""
    plain, by_class = (occurred.counts.get(name, 0) for name in ("rotation", "rotation_cond"))
    return tuple(
        ANGLE * plain + (ANGLE if y % 2 == 0 else -ANGLE) * by_class for y in range(occurred.num_classes)
    )


@shift("recolor", place=30, needs=("colour",))
def recolor(images: np.ndarray, labels: np.ndarray, occurred: Occurred, generator: Any) -> np.ndarray:
    """Makes all images redder; `recolor_cond` makes each class redder, greener or bluer."""
    return tint_classes(images, labels, tints(occurred))


def tints(occurred: Occurred) -> tuple[tuple[int, int, int], ...]:
    """Red, green and blue of each class, in pixel units."""
    plain, by_class = (occurred.counts.get(name, 0) for name in ("recolor", "recolor_cond"))
    found = np.zeros((occurred.num_classes, 3), int)
    classes = np.arange(occurred.num_classes)
    found[:, 0] += TINT * plain
    found[classes, classes % 3] += TINT * by_class
    return tuple(tuple(tint) for tint in found.tolist())


@shift("label_flip", place=40, cycle=4)
def label_flip(
    images: np.ndarray, labels: np.ndarray, occurred: Occurred, generator: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Permutes the labels: alternately y -> C-1-y and y -> (y+2) mod C, for C classes."""
    return images, flip_labels(labels, flips(occurred.times), occurred.num_classes)


def flips(times: int) -> tuple[int, ...]:
    """Which flips have occurred, in order."""
    return tuple(1 + k % 2 for k in range(times))


def moved_classes(probs: Probs) -> Probs:
    """Probability moves from even classes to odd ones."""
    moved = LABEL_SHIFT / len(probs)
    return tuple(p - moved if y % 2 == 0 else p + moved for y, p in enumerate(probs))


def subpop_proportions(times: int) -> Probs:
    """The proportions of the five sub-classes."""
    return SUBPOP_SCHEDULE[times]


for _record in (
    Shift(
        "rotation_cond",
        hides="rotation",
        with_shift="rotation",
        needs=("square",),
        summary="Rotates even classes by 30 degrees, and odd classes by 30 degrees in the opposite direction",
    ),
    Shift(
        "recolor_cond",
        hides="recolor",
        with_shift="recolor",
        needs=("colour",),
        summary="Makes each class redder, greener or bluer",
    ),
    Shift(
        "label_shift",
        classes=moved_classes,
        summary="Makes even classes rarer and odd classes more frequent",
        most=(3, "one more makes the probability of the even classes negative"),
    ),
    Shift(
        "subpop",
        sub_classes=subpop_proportions,
        summary="Changes the proportions of the sub-classes within each class",
        needs=("sub-classes",),
        most=(len(SUBPOP_SCHEDULE) - 1, "no further set of sub-classes is defined"),
    ),
):
    SHIFTS.add(_record.name, _record)

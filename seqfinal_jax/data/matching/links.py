"""Which earlier samples stand in for those of the final step: a path backwards in time from every final sample.

Two rules choose the links of one step. `nearest_neighbours`: the nearest sample of the same class, repeats allowed.
`optimal_matching`: an assignment of least total distance within each class, no sample used more often than
ceil(6p / 5q) times for p anchors and q samples. A link starts at the sample chosen before, not at the final one.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from seqfinal_jax.data.matching.distances import BLOCK, squared_distances
from seqfinal_jax.records.registry import nearest

MEMORY_GIB = 8.0
log = logging.getLogger(__name__)


class Samples(NamedTuple):
    """Images (n, ...) and labels (n,) of one step."""

    images: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> "Samples":
        """The samples of those rows."""
        return Samples(self.images[rows], self.labels[rows])


class Link(NamedTuple):
    """The choice of one step: positions (n,) among its samples, and the anchor (n,) that each was chosen for."""

    positions: np.ndarray
    anchors: np.ndarray


def nearest_neighbours(anchors: Samples, candidates: Samples, step: int = 0, block: int = BLOCK) -> Link:
    """The nearest candidate of an anchor's class for every anchor, in the order of the anchors.

    Distance is the Euclidean norm of the difference of the images as stored; of equals the first is taken.

    Args:
        anchors: (n, ...) images and (n,) labels, the choice of the step after.
        candidates: (m, ...) images and (m,) labels of the step.
        step: its number, for messages.
        block: most images in a block of distances.

    Raises:
        ValueError: a class of the anchors has no candidate, or the images differ in shape.
    """
    check_step(anchors, candidates, step)
    chosen = np.empty(len(anchors.labels), np.int64)
    for label in np.unique(anchors.labels):
        rows, columns = _of_class(anchors, label), _of_class(candidates, label)
        chosen[rows] = columns[_first_nearest(anchors.images[rows], candidates.images[columns], block)]
    return Link(chosen, np.arange(len(chosen)))


def _first_nearest(ones: np.ndarray, others: np.ndarray, block: int) -> np.ndarray:
    """The place (p,) of the nearest of `others`, the first one of equals."""
    least, place = np.full(len(ones), np.inf), np.zeros(len(ones), np.int64)
    for rows, columns, squared in squared_distances(ones, others, block):
        here = squared.argmin(axis=1)
        found = squared[np.arange(len(here)), here]
        closer = found < least[rows]
        place[rows] = np.where(closer, columns.start + here, place[rows])
        least[rows] = np.minimum(found, least[rows])
    return place


def optimal_matching(
    anchors: Samples, candidates: Samples, step: int = 0, block: int = BLOCK, memory_gib: float = MEMORY_GIB
) -> Link:
    """The assignment of candidates to anchors, within each class, whose Euclidean distances have the least sum.

    Every candidate may be used `column_copies` times. The choice lists class after class in ascending order,
    anchors in their order within a class.

    Args:
        anchors: (n, ...) images and (n,) labels, the choice of the step after.
        candidates: (m, ...) images and (m,) labels of the step.
        step: its number, for messages.
        block: most images in a block of distances.
        memory_gib: largest matrix of distances of one class, in GiB.

    Raises:
        ValueError: a class of the anchors has no candidate or needs a larger matrix, or the images differ in shape.
    """
    check_step(anchors, candidates, step)
    check_memory(anchors.labels, candidates.labels, step, memory_gib)
    chosen = np.empty(len(anchors.labels), np.int64)
    for label in np.unique(anchors.labels):
        rows, columns = _of_class(anchors, label), _of_class(candidates, label)
        costs = _tiled_distances(anchors.images[rows], candidates.images[columns], block)
        chosen[rows] = columns[linear_sum_assignment(costs)[1] % len(columns)]
    order = np.argsort(anchors.labels, kind="stable")
    return Link(chosen[order], order)


def column_copies(anchors: int, candidates: int) -> int:
    """How often a candidate may be used: ceil(6p / 5q), so that there are at least 1.2 columns an anchor."""
    return -(-6 * anchors // (5 * candidates))


def _tiled_distances(ones: np.ndarray, others: np.ndarray, block: int) -> np.ndarray:
    """Euclidean distances (p, r q), the q columns r times side by side."""
    copies = column_copies(len(ones), len(others))
    tiled = np.empty((len(ones), copies, len(others)))
    for rows, columns, squared in squared_distances(ones, others, block):
        tiled[rows, :, columns] = np.sqrt(squared, out=squared)[:, None]
    return tiled.reshape(len(ones), copies * len(others))


def _of_class(samples: Samples, label: int) -> np.ndarray:
    return np.flatnonzero(samples.labels == label)


MATCHING_RULES: dict[str, Callable[..., Link]] = {
    "nearest_neighbours": nearest_neighbours,
    "optimal_matching": optimal_matching,
}


def links_back(
    steps: Sequence[Samples], how: str, memory_gib: float = MEMORY_GIB, block: int = BLOCK
) -> list[Link]:
    """Follows the paths from the final step back to step 0; all steps are checked before the first link.

    Args:
        steps: training samples of steps 0..F; images (n_t, ...) are integers (exact) or floats, labels (n_t,).
        how: 'nearest_neighbours' or 'optimal_matching'.
        memory_gib: largest matrix of distances that optimal matching may make, in GiB.
        block: most images in a block of distances.

    Returns:
        The links of steps 0..F-1, each with n_F positions.

    Raises:
        ValueError: `how` is unknown, a step lacks a class of the final one, a matrix would be too large, or
            images differ in shape; the message names step and class.
    """
    rule = matching_rule(how, memory_gib)
    for step, samples in enumerate(steps):
        check_step(steps[-1], samples, step)
        if how == "optimal_matching" and step < len(steps) - 1:
            check_memory(steps[-1].labels, samples.labels, step, memory_gib)
    links, anchors = [], steps[-1]
    for step in reversed(range(len(steps) - 1)):
        counts = (len(anchors.labels), len(steps[step].labels))
        log.info("matching step %d: %s of %d anchors among %d samples", step, how.replace("_", " "), *counts)
        links.insert(0, rule(anchors, steps[step], step=step, block=block))
        anchors = steps[step].take(links[0].positions)
    return links


def matching_rule(how: str, memory_gib: float = MEMORY_GIB) -> Callable[..., Link]:
    """The rule of that name; raises ValueError that names the nearest known one."""
    if how not in MATCHING_RULES:
        raise ValueError(f"unknown choice of samples {how!r}; {nearest(how, list(MATCHING_RULES))}")
    return (
        partial(optimal_matching, memory_gib=memory_gib) if how == "optimal_matching" else MATCHING_RULES[how]
    )


def check_step(anchors: Samples, candidates: Samples, step: int) -> None:
    """Raises ValueError where a step cannot serve the anchors: classes it lacks, images of another shape."""
    if len(candidates.images) != len(candidates.labels):
        raise ValueError(
            f"matching step {step}: {len(candidates.images)} images but {len(candidates.labels)} labels"
        )
    shapes = [samples.images.shape[1:] for samples in (anchors, candidates)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"matching step {step}: its images are {shapes[1]}, those of the anchors {shapes[0]}"
        )
    missing = np.setdiff1d(anchors.labels, candidates.labels)
    if len(missing):
        raise ValueError(
            f"matching step {step}: class {', '.join(map(str, missing))} of the final step has no training sample "
            f"there; make step {step} larger (data.source_size, data.target_sizes) or use all samples"
        )


def check_memory(anchor_labels: np.ndarray, labels: np.ndarray, step: int, memory_gib: float) -> None:
    """Raises ValueError where optimal matching would make a matrix of more than `memory_gib` GiB."""
    for label, anchors in zip(*np.unique(anchor_labels, return_counts=True), strict=True):
        candidates = int(np.sum(labels == label))
        columns = column_copies(int(anchors), candidates) * candidates
        size = 8 * int(anchors) * columns / 2**30
        if size > memory_gib:
            raise ValueError(
                f"matching step {step}: optimal matching of class {label} takes a matrix of {anchors} anchors by "
                f"{columns} columns, {size:.3g} GiB; config.joint.matching_memory_gib = {memory_gib:g} allows less. "
                "Raise it where the machine has the memory, use smaller steps, or nearest_neighbours"
            )

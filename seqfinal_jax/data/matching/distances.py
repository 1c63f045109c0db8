"""Squared distances between images, a block at a time, so that memory stays bounded."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

# Images in a block: two blocks of 32x32x3 images as float64 and their distances take 56 MiB.
BLOCK = 1024
# Every integer up to here is a float64.
EXACT = 2**53


def squared_distances(
    ones: np.ndarray, others: np.ndarray, block: int = BLOCK
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Blocks of squared Euclidean distances between images, later axes flattened.

    Integers give exact integers: |a|^2 + |b|^2 - 2ab is a sum of integers, and as long as it stays below 2^53,
    float64 rounds none of them, in whatever order a matrix product adds them up. Floats, and integers so large
    that this does not hold, are subtracted before they are squared, in float64.

    Args:
        ones: (p, ...) images.
        others: (q, ...) images of the same shape.
        block: most images of either kind in a block.

    Yields:
        Rows of `ones`, rows of `others`, and their squared distances (rows, columns) float64; the blocks of a
        row follow one another from the first column to the last.
    """
    ones, others = ones.reshape(len(ones), -1), others.reshape(len(others), -1)
    distance = _by_products if _exact_by_products(ones, others) else _by_differences
    for rows in _slices(len(ones), block):
        for columns in _slices(len(others), block):
            yield rows, columns, distance(ones[rows], others[columns])


def _slices(count: int, block: int) -> list[slice]:
    return [slice(start, min(start + block, count)) for start in range(0, count, block)]


def _exact_by_products(ones: np.ndarray, others: np.ndarray) -> bool:
    """Whether both hold integers so small that no step of |a|^2 + |b|^2 - 2ab is rounded in float64."""
    return all(a.dtype.kind in "biu" and 4 * a.shape[1] * _largest(a) ** 2 <= EXACT for a in (ones, others))


def _largest(images: np.ndarray) -> int:
    return max(abs(int(images.max(initial=0))), abs(int(images.min(initial=0))))


def _by_products(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    ones, others = ones.astype(np.float64), others.astype(np.float64)
    squared = ones @ others.T
    squared *= -2
    squared += np.einsum("ij,ij->i", ones, ones)[:, None]
    squared += np.einsum("ij,ij->i", others, others)
    return squared


def _by_differences(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    return cdist(ones.astype(np.float64), others.astype(np.float64), "sqeuclidean")

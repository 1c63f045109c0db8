"""Images that occur more than once, and samples of one group, which a fair test must not split between its sets.

Images are copies where their decoded pixels are equal. Samples of one group (a patient, a camera) are treated alike.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

DUPLICATES = ("remove", "keep", "refuse")


def units_of(digests: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The unit of each sample, (n,) int64: equal for copies and for samples of one group, directly or through others.

    digests (n,) of pixels; groups (n,) strings, empty for samples of no group.
    """
    _, units = np.unique(digests, return_inverse=True)
    units = units.reshape(-1).astype(np.int64)
    grouped = np.flatnonzero(groups != "")
    if not len(grouped):
        return units
    _, numbers = np.unique(groups[grouped].astype(str), return_inverse=True)
    first = int(units.max()) + 1
    links = (np.ones(len(grouped), np.int8), (units[grouped], first + numbers))
    count = first + int(numbers.max()) + 1
    _, joined = connected_components(coo_array(links, shape=(count, count)), directed=False)
    return joined[units].astype(np.int64)


def have_repeats(units: np.ndarray) -> bool:
    """Whether any two samples belong together."""
    return len(np.unique(units)) < len(units)


def two_labels(digests: np.ndarray, labels: np.ndarray) -> tuple[int, int] | None:
    """Two samples, by row, with equal pixels and different labels; None where there are none."""
    order = np.lexsort((labels, digests))
    same = digests[order][1:] == digests[order][:-1]
    clash = np.flatnonzero(same & (labels[order][1:] != labels[order][:-1]))
    return (int(order[clash[0]]), int(order[clash[0] + 1])) if len(clash) else None


def in_any(units: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Which samples' units occur in any of some other arrays of units, (n,) bool."""
    return np.isin(units, np.concatenate([*others, np.zeros(0, np.int64)]))

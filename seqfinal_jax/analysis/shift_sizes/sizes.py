"""The sizes of a sequence's shifts, and their ratios (data specification, section 5)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from seqfinal_jax.analysis.shift_sizes.wasserstein import (
    MAX_ITERATIONS,
    TransportError,
    conditional_shift,
    covariate_shift,
)
from seqfinal_jax.data.sequences.sequence import Sequence, Split

EXPLAINED, MOST_COMPONENTS = 0.95, 100
KINDS = ("covariate", "conditional")
Pixels = Callable[[np.ndarray], np.ndarray]
Told = Callable[[str], None]


@dataclass(frozen=True)
class ShiftSizes:
    """Distances of one sequence and seed, in units of the inputs after projection to `components` directions.

    consecutive: from each step to the next, T numbers of each kind; to_final: from the training samples of every step to
    the final step's test samples, T+1 numbers; halves: between two halves of the first step. points: how many samples of
    each step were drawn for the distances, 0 for all.
    """

    components: int
    consecutive: Mapping[str, tuple[float, ...]]
    to_final: Mapping[str, tuple[float, ...]]
    halves: Mapping[str, float]
    points: int = 0


def shift_ratios(sizes: ShiftSizes) -> dict[tuple[str, str], tuple[float, ...]]:
    """Ratios by (kind, "consecutive" or "to final"); 1 is no more than between two samples of one distribution.

    Consecutive distances are divided by that of the first step's halves; distances to the final test samples by that of
    the final training samples.
    """
    found = {}
    for kind in KINDS:
        found[kind, "consecutive"] = tuple(each / sizes.halves[kind] for each in sizes.consecutive[kind])
        *earlier, last = sizes.to_final[kind]
        found[kind, "to final"] = tuple(each / last for each in earlier)
    return found


def shift_sizes(
    sequence: Sequence,
    pixels: Pixels = np.asarray,
    points: int = 0,
    max_iterations: int = MAX_ITERATIONS,
    told: Told = lambda text: None,
) -> ShiftSizes:
    """The sizes of all shifts of a sequence.

    Args:
        sequence: its training images and the final step's test images are used.
        pixels: what is measured: maps images to inputs; default: pixels 0..255.
        points: draws so many samples of each set, an approximation for sets too large for exact transport; 0: all.
        max_iterations: of the solver, for each distance.
        told: called with a line before each distance.

    Raises:
        TransportError: a label that only the later step of a pair has, too many points, no convergence.
    """
    train = [step.train for step in sequence.steps]
    test = sequence.steps[-1].test
    mean, directions = principal_directions([pixels(split.images) for split in train])
    random = np.random.default_rng([sequence.seed, 1])
    flat = lambda split: _flat(pixels(split.images)) @ directions - mean @ directions  # noqa: E731
    sets = [_drawn(flat(split), split, points, random) for split in [*train, test]]
    names = [f"step {t}" for t in range(len(train))] + ["final test"]
    first = np.random.RandomState(sequence.seed).permutation(len(sets[0][1]))
    half = len(first) // 2
    halves = [(sets[0][0][rows], sets[0][1][rows]) for rows in (first[:half], first[half:])]

    def distances(pairs: list[tuple[int, int]]) -> dict[str, tuple[float, ...]]:
        measured = [
            _pair(sets[a], sets[b], f"{names[a]} to {names[b]}", max_iterations, told) for a, b in pairs
        ]
        return {kind: tuple(each[kind] for each in measured) for kind in KINDS}

    last = len(train)
    consecutive = distances([(t - 1, t) for t in range(1, last)])
    to_final = distances([(t, last) for t in range(last)])
    between = _pair(*halves, "halves of step 0", max_iterations, told)
    return ShiftSizes(directions.shape[1], consecutive, to_final, between, points)


def _pair(
    one: tuple[np.ndarray, np.ndarray],
    other: tuple[np.ndarray, np.ndarray],
    names: str,
    most: int,
    told: Told,
) -> dict[str, float]:
    told(names)
    try:
        return {
            "covariate": covariate_shift(one[0], other[0], most),
            "conditional": conditional_shift(*one, *other, most),
        }
    except TransportError as error:
        raise TransportError(f"{names}: {error}") from None


def _flat(inputs: np.ndarray) -> np.ndarray:
    return np.asarray(inputs, np.float64).reshape(len(inputs), -1)


def _drawn(
    points: np.ndarray, split: Split, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    if not count or len(points) <= count:
        return points, split.labels
    rows = random.choice(len(points), count, replace=False)
    return points[rows], split.labels[rows]


def principal_directions(sets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (p,) and directions (p,d) of all sets together, exact, in float64.

    d is the least number of components that explain 95 % of the variance, and 100 at most. They are the eigenvectors of
    the scatter matrix, or follow from those of the Gram matrix where there are fewer samples than numbers in a sample.
    """
    points = np.concatenate([_flat(each) for each in sets])
    mean = points.mean(axis=0)
    points -= mean
    few = len(points) < len(mean)
    matrix = points @ points.T if few else points.T @ points
    values, vectors = _largest(matrix)
    explained = np.cumsum(values) / np.trace(matrix)
    components = min(len(values), int(np.searchsorted(explained, EXPLAINED) + 1))
    vectors, values = vectors[:, :components], values[:components]
    return mean, points.T @ vectors / np.sqrt(values) if few else vectors


def _largest(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues, the largest first, and their vectors."""
    from scipy.linalg import eigh

    size = len(matrix)
    values, vectors = eigh(matrix, subset_by_index=[max(0, size - MOST_COMPONENTS), size - 1])
    return values[::-1], vectors[:, ::-1]

"""SVCCA: how alike two representations of the same samples are (analysis specification, section 3).

Raghu et al. 2017. Each representation keeps the singular directions that explain a share of it; the canonical
correlations of what is kept are the cosines of the principal angles between the two subspaces, that is the singular
values of U1' U2, where U holds the left singular vectors (Bjorck and Golub 1973).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVELS = (0.5, 0.9)
CONSTANT = 1e-12  # of the largest activation: singular values below are those of a layer that does not vary


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Singular values (r,) of centred activations, the largest first, and left singular vectors (n, k) of the first k.

    r may be 0; k is what the highest level that will be asked for needs.
    """

    vectors: np.ndarray
    values: np.ndarray

    def directions(self, level: float) -> np.ndarray:
        """The vectors (n, kept) that a level keeps; raises ValueError where they were left out."""
        count = kept(self.values, level)
        if count > self.vectors.shape[1]:
            raise ValueError(f"level {level} needs {count} directions, {self.vectors.shape[1]} were computed")
        return self.vectors[:, :count]


def kept(values: np.ndarray, level: float) -> int:
    """The least number of directions whose singular values sum to more than a share of all; 1 keeps all."""
    if level >= 1 or not len(values):
        return len(values)
    shares = np.cumsum(values) / np.sum(values)
    return int(np.argmax(shares > level) + 1)


def decompose(activations: np.ndarray, level: float = 1.0) -> Decomposition:
    """The decomposition of activations (n, ...), every number after the first axis a feature, in float64.

    From the Gram or the covariance matrix, whichever is smaller. Directions that do not vary are dropped, and so are
    vectors that no level up to `level` keeps.
    """
    flat = np.asarray(activations, np.float64).reshape(len(activations), -1)
    scale = np.abs(flat).max(initial=0.0)
    flat = flat - flat.mean(axis=0)
    tall = flat.shape[0] > flat.shape[1]
    squares, vectors = np.linalg.eigh(flat.T @ flat if tall else flat @ flat.T)
    values = np.sqrt(np.maximum(squares[::-1], 0.0))
    # Squaring costs half of the digits: what is below that of the largest is noise.
    floor = max(CONSTANT * scale * np.sqrt(flat.size), values.max(initial=0.0) * 1e-7)
    values = values[values > floor]
    vectors = vectors[:, ::-1][:, : kept(values, level)]
    if tall:
        vectors = flat @ vectors
    return Decomposition(vectors / np.linalg.norm(vectors, axis=0), values)


def coefficients(one: Decomposition, other: Decomposition, level: float) -> np.ndarray:
    """The canonical correlations of what is kept of both at a level, (min of the numbers kept,), the largest first."""
    cross = one.directions(level).T @ other.directions(level)
    if 0 in cross.shape:
        return np.zeros(0)
    smaller = cross @ cross.T if cross.shape[0] <= cross.shape[1] else cross.T @ cross
    # Half the time of a singular value decomposition; a correlation is exact to 1e-8, and better if it is not tiny.
    return np.sqrt(np.clip(np.linalg.eigvalsh(smaller)[::-1], 0.0, 1.0))


def similarity(one: Decomposition, other: Decomposition, levels: Sequence[float] = LEVELS) -> np.ndarray:
    """The mean canonical correlation at each level; NaN where a representation does not vary."""
    found = [coefficients(one, other, level) for level in levels]
    return np.array([each.mean() if len(each) else np.nan for each in found])


def similarities(
    layers: Sequence[Decomposition], others: Sequence[Decomposition], levels: Sequence[float] = LEVELS
) -> np.ndarray:
    """(layers + 1, levels): every layer, then the mean over the layers that vary."""
    rows = np.stack([similarity(a, b, levels) for a, b in zip(layers, others, strict=True)])
    known = ~np.isnan(rows).any(axis=1)
    mean = rows[known].mean(axis=0) if known.any() else np.full(len(levels), np.nan)
    return np.vstack([rows, mean])

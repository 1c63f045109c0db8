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
    """Left singular vectors (n, r) and singular values (r,) of centred activations, the largest first; r may be 0."""

    vectors: np.ndarray
    values: np.ndarray

    def kept(self, level: float) -> int:
        """The least number of directions whose singular values sum to more than a share of all; 1 keeps all."""
        if level >= 1 or not len(self.values):
            return len(self.values)
        shares = np.cumsum(self.values) / np.sum(self.values)
        return int(np.argmax(shares > level) + 1)


def decompose(activations: np.ndarray) -> Decomposition:
    """The decomposition of activations (n, ...), every number after the first axis a feature, in float64.

    From the Gram or the covariance matrix, whichever is smaller. Directions that do not vary are dropped.
    """
    flat = np.asarray(activations, np.float64).reshape(len(activations), -1)
    scale = np.abs(flat).max(initial=0.0)
    flat = flat - flat.mean(axis=0)
    if flat.shape[0] <= flat.shape[1]:
        squares, vectors = np.linalg.eigh(flat @ flat.T)
        squares, vectors = squares[::-1], vectors[:, ::-1]
    else:
        squares, right = np.linalg.eigh(flat.T @ flat)
        squares, right = squares[::-1], right[:, ::-1]
        vectors = flat @ right
    values = np.sqrt(np.maximum(squares, 0.0))
    # Squaring costs half of the digits: what is below that of the largest is noise.
    floor = max(CONSTANT * scale * np.sqrt(flat.size), values.max(initial=0.0) * 1e-7)
    varying = values > floor
    vectors = vectors[:, varying]
    return Decomposition(vectors / np.linalg.norm(vectors, axis=0), values[varying])


def coefficients(one: Decomposition, other: Decomposition, level: float) -> np.ndarray:
    """The canonical correlations of what is kept of both at a level, (min of the numbers kept,), the largest first."""
    kept = one.vectors[:, : one.kept(level)].T @ other.vectors[:, : other.kept(level)]
    if 0 in kept.shape:
        return np.zeros(0)
    return np.clip(np.linalg.svd(kept, compute_uv=False), 0.0, 1.0)


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

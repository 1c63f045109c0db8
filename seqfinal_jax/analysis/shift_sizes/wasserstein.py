"""Exact Wasserstein-2 distances of labelled points, by optimal transport (POT's network simplex).

W2(U, V)^2 is the least cost of moving uniform weights of U to those of V, with squared Euclidean distances as costs
(Peyre and Cuturi 2019, Computational Optimal Transport, section 2.4).
"""

import warnings

import numpy as np

MAX_ITERATIONS = 10_000_000
MOST_POINTS = 12_000  # a side; beyond it the costs alone take more than a GiB
CONVERGED = 1  # POT's code of an optimal plan


class TransportError(ValueError):
    """A distance that could not be computed exactly; the message says why and what to do."""


def squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (a,b) of points (a,d) and (b,d), never negative.

    Points are centred together first, since the sum of three terms loses digits where points lie far from the origin.
    """
    centre = (points.mean(axis=0) + others.mean(axis=0)) / 2
    u, v = points - centre, others - centre
    squares = (u**2).sum(axis=1)[:, None] - 2 * u @ v.T + (v**2).sum(axis=1)[None, :]
    return np.maximum(squares, 0.0)


def wasserstein2(points: np.ndarray, others: np.ndarray, max_iterations: int = MAX_ITERATIONS) -> float:
    """W2 of two sets of points (a,d) and (b,d) with uniform weights, in the points' unit.

    Raises TransportError for an empty side, for more points than exact transport takes, and where the solver did not
    converge within its iterations.
    """
    for side in (points, others):
        if not len(side):
            raise TransportError("one side has no points")
        if len(side) > MOST_POINTS:
            raise TransportError(
                f"{len(side)} points on a side are too many for exact transport, which takes {MOST_POINTS} at most; "
                f"--points={MOST_POINTS // 2} draws so many of each step"
            )
    points, others = np.asarray(points, np.float64), np.asarray(others, np.float64)
    plan = _best_plan(squared_distances(points, others), max_iterations)
    rows, columns = np.nonzero(plan)
    # The moves that are made, by their differences: the costs above have rounding errors, of which a root makes much.
    moved = ((points[rows] - others[columns]) ** 2).sum(axis=1)
    return float(np.sqrt(plan[rows, columns] @ moved))


def _best_plan(costs: np.ndarray, max_iterations: int) -> np.ndarray:
    try:
        from ot import emd
    except ImportError:
        raise TransportError("distances need the package POT; pip install pot") from None
    weights = [np.full(count, 1 / count) for count in costs.shape]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its status says the same
        plan, log = emd(*weights, costs, numItermax=max_iterations, log=True)
    if log["result_code"] != CONVERGED:
        raise TransportError(
            f"the transport solver did not converge for {costs.shape[0]} x {costs.shape[1]} points ({log['warning']}); "
            f"--max_iterations above {max_iterations} lets it go on"
        )
    return plan


def covariate_shift(points: np.ndarray, others: np.ndarray, max_iterations: int = MAX_ITERATIONS) -> float:
    """W2 without regard to labels."""
    return wasserstein2(points, others, max_iterations)


def conditional_shift(
    points: np.ndarray,
    labels: np.ndarray,
    others: np.ndarray,
    other_labels: np.ndarray,
    max_iterations: int = MAX_ITERATIONS,
) -> float:
    """The sum over labels of W2 within the label, weighted by the label's share in the *second* set.

    Raises TransportError for a label that only the second set has.
    """
    total = 0.0
    for label in np.unique(other_labels):
        own, other = points[labels == label], others[other_labels == label]
        if not len(own):
            raise TransportError(f"label {label} occurs in the second set alone ({len(other)} samples)")
        total += len(other) / len(others) * wasserstein2(own, other, max_iterations)
    return total

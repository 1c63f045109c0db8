"""Successive halving: which grid points stop at a rung (Jamieson and Talwalkar 2016, Non-stochastic Best Arm
Identification).

After 1/8, 1/4 and 1/2 of the allowed epochs the worse half of the trainings that compete with one another stops, by the
best epoch so far; of n trainings n/2, rounded up, stay. A training that diverged is worse than all others, and of equal
ones the first stays. All of it is a function of the histories, so a fit that was killed decides as an unbroken one.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from seqfinal_jax.training.engine.early_stopping import StopRule, Track, rank

SHARES = (8, 4, 2)

History = Mapping[str, np.ndarray]


def rungs(rule: StopRule) -> tuple[int, ...]:
    """The epochs after which trainings are compared: shares of those allowed, rounded up; none without halving."""
    if rule.search != "halving":
        return ()
    return tuple(sorted({-(-rule.max_epochs // share) for share in SHARES} - {rule.max_epochs}))


def most_epochs(rule: StopRule, members: int) -> int:
    """The epochs that so many competing trainings make at most in all."""
    total, before, left = 0, 0, members
    for rung in (*rungs(rule), rule.max_epochs):
        total, before, left = total + left * (rung - before), rung, -(-left // 2)
    return total


def staying(rule: StopRule, histories: Sequence[History], failed: Sequence[bool], rung: int) -> list[int]:
    """The places of the trainings that go on after a rung, in order, among all that began.

    histories: validation accuracy and loss by epoch from 0, at least to the rung or to where the training stopped;
    failed: which diverged at their last epoch.
    """
    left = list(range(len(histories)))
    for each in (epoch for epoch in rungs(rule) if epoch <= rung):
        ranked = sorted(left, key=lambda place: _rank(rule, histories[place], failed[place], each))
        left = sorted(ranked[: -(-len(left) // 2)])
    return left


def _rank(rule: StopRule, history: History, failed: bool, rung: int) -> tuple[float, float]:
    """Sorts trainings by their best epoch up to a rung, better ones first."""
    accuracies, losses = history["valid_accuracy"], history["valid_loss"]
    seen = min(rung + 1, len(accuracies))
    track = Track.fresh(1)
    for epoch in range(seen):
        finite = np.array([not failed or epoch + 1 < len(accuracies)])
        rule.update(track, epoch, accuracies[epoch : epoch + 1], losses[epoch : epoch + 1], finite)
    if track.failed[0]:
        return np.inf, np.inf
    return rank(float(track.best_accuracy[0]), float(track.best_loss[0]), rule.ties)

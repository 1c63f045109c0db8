"""The rules for stopping and for the best checkpoint, for many trainings at once, on the host.

An epoch is better than another where its validation accuracy is higher. Where they are equal, `ties="first"` keeps the
earlier epoch, as published; with `ties="loss"` the lower validation loss decides, then the later epoch. The best epoch is
better than all others; epoch 0, before any step, is a candidate unless `start` is False. An epoch without improvement is
one that is not better than the PREVIOUS epoch (`stop_on="previous"`, as published) or than the best one (`"best"`). A
training stops when more than `patience` such epochs follow one another, or at `max_epochs`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

StopOn = Literal["previous", "best"]
Ties = Literal["loss", "first"]
Search = Literal["grid", "halving"]
Keep = Literal["best", "last"]


@dataclass
class Track:
    """State of the rule for m members, each array (m,)."""

    best_accuracy: np.ndarray
    best_loss: np.ndarray
    best_epoch: np.ndarray
    previous: np.ndarray
    previous_loss: np.ndarray
    misses: np.ndarray
    stop_epoch: np.ndarray
    failed: np.ndarray

    @staticmethod
    def fresh(count: int) -> "Track":
        """The state before epoch 0; `stop_epoch` is -1 while a member runs, `best_epoch` until there is a best one."""
        return Track(
            best_accuracy=np.full(count, -np.inf),
            best_loss=np.full(count, np.inf),
            best_epoch=np.full(count, -1, np.int64),
            previous=np.full(count, -np.inf),
            previous_loss=np.full(count, np.inf),
            misses=np.zeros(count, np.int64),
            stop_epoch=np.full(count, -1, np.int64),
            failed=np.zeros(count, bool),
        )

    @property
    def active(self) -> np.ndarray:
        """Which members still run, (m,) bool."""
        return self.stop_epoch < 0

    def rows(self, keep: np.ndarray) -> "Track":
        """The state of some members only."""
        return Track(**{name: values[keep] for name, values in vars(self).items()})


@dataclass(frozen=True)
class StopRule:
    """The rule by which a training stops, and by which its best epoch is chosen.

    start: whether epoch 0 may be the best one; it is not for a fit that begins with random weights.
    search: whether all grid points are trained to their end, or the worse half stops at each rung (`engine.halving`).
    keep: whether the best epoch's model is kept, or the last one's, which then counts as the best.
    """

    max_epochs: int = 100
    patience: int = 5
    stop_on: StopOn = "previous"
    ties: Ties = "first"
    start: bool = True
    search: Search = "grid"
    keep: Keep = "best"

    def better(
        self, accuracy: np.ndarray, loss: np.ndarray, other: np.ndarray, other_loss: np.ndarray
    ) -> np.ndarray:
        """Whether a later epoch's accuracy and validation loss (m,) are better than an earlier epoch's, (m,) bool."""
        above = accuracy > other
        return above if self.ties == "first" else above | ((accuracy == other) & (loss <= other_loss))

    def update(
        self, track: Track, epoch: int, accuracy: np.ndarray, loss: np.ndarray, finite: np.ndarray
    ) -> np.ndarray:
        """Takes an epoch's validation figures (m,), moves `track` on, and returns which members improved (m,) bool.

        Members that have stopped are left as they are. A member with `finite` False fails and stops.
        """
        active = track.active
        best = self.better(accuracy, loss, track.best_accuracy, track.best_loss)
        above_previous = self.better(accuracy, loss, track.previous, track.previous_loss)
        reached = best if self.stop_on == "best" else above_previous
        improved = active & finite & (best | (self.keep == "last")) & (self.start or epoch > 0)
        track.best_accuracy = np.where(improved, accuracy, track.best_accuracy)
        track.best_loss = np.where(improved, loss, track.best_loss)
        track.best_epoch = np.where(improved, epoch, track.best_epoch)
        if epoch > 0:
            track.misses = np.where(active, np.where(reached, 0, track.misses + 1), track.misses)
        track.previous = np.where(active, accuracy, track.previous)
        track.previous_loss = np.where(active, loss, track.previous_loss)
        track.failed |= active & ~finite
        stops = active & ((track.misses > self.patience) | (epoch >= self.max_epochs) | track.failed)
        track.stop_epoch = np.where(stops, epoch, track.stop_epoch)
        return improved


def rank(accuracy: float, loss: float, ties: Ties) -> tuple[float, float]:
    """Sorts trainings by the figures of their best epochs, the best one first; equal ones keep their order."""
    return -accuracy, 0.0 if ties == "first" else loss

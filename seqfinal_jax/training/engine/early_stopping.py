"""The published rules for stopping and for the best checkpoint, for many members at once, on the host.

Epoch 0, before any step, is a candidate. The best epoch has the highest accuracy, the earliest on ties. A miss is
an epoch whose accuracy is not above that of the PREVIOUS epoch (`stop_on="previous"`, as published) or of the best
one (`"best"`); a member stops when more than `patience` misses follow one another, or at `max_epochs`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

StopOn = Literal["previous", "best"]


@dataclass
class Track:
    """State of the rule for m members, each array (m,); `epoch` is the last one seen, -1 before epoch 0."""

    best_accuracy: np.ndarray
    best_epoch: np.ndarray
    previous: np.ndarray
    misses: np.ndarray
    stop_epoch: np.ndarray
    failed: np.ndarray

    @staticmethod
    def fresh(count: int) -> "Track":
        """The state before epoch 0; `stop_epoch` is -1 while a member runs."""
        return Track(
            best_accuracy=np.full(count, -np.inf),
            best_epoch=np.full(count, -1, np.int64),
            previous=np.full(count, -np.inf),
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
    """When a member stops."""

    max_epochs: int = 100
    patience: int = 5
    stop_on: StopOn = "previous"

    def update(self, track: Track, epoch: int, accuracy: np.ndarray, finite: np.ndarray) -> np.ndarray:
        """Takes an epoch's accuracies (m,), moves `track` on, and returns which members improved (m,) bool.

        Members that have stopped are left as they are. A member with `finite` False fails and stops.
        """
        active = track.active
        reference = track.previous if self.stop_on == "previous" else track.best_accuracy
        missed = accuracy <= reference
        improved = active & finite & (accuracy > track.best_accuracy)
        track.best_accuracy = np.where(improved, accuracy, track.best_accuracy)
        track.best_epoch = np.where(improved, epoch, track.best_epoch)
        if epoch > 0:
            track.misses = np.where(active, np.where(missed, track.misses + 1, 0), track.misses)
        track.previous = np.where(active, accuracy, track.previous)
        track.failed |= active & ~finite
        stops = active & ((track.misses > self.patience) | (epoch >= self.max_epochs) | track.failed)
        track.stop_epoch = np.where(stops, epoch, track.stop_epoch)
        return improved

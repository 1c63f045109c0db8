"""Streams of minibatches as index arrays, pure functions of (seed, role, step, number of the pass).

A stage may draw from several parallel streams, one per domain or time step (IRM, DRO, joint); ERM draws from one.
The driving stream, the one with the most batches, is freshly shuffled every epoch; every other one keeps a
running pass that starts again, freshly shuffled, when it is exhausted (single-model spec 2.2). Nothing is kept
between epochs: which batch of which pass comes next follows from the epoch's number, so a resumed fit needs no
iterator state.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# Index arrays are padded to a multiple of this many minibatches, so that stages of different length share one
# compiled program; the loop over minibatches runs the true number.
BATCH_BUCKET = 512


def padded_length(batch_size: int, samples: int) -> int:
    """The length of minibatches of so many samples: the batch size, but no more than there are."""
    return min(batch_size, samples)


@dataclass(frozen=True)
class Batches:
    """Padded minibatches of one epoch.

    index: (p, d, b) int32 rows of the data; d parallel streams, batch length b, p padded minibatches.
    mask: (p, d, b) bool, False where a short batch is padded; None when every batch is full.
    weight: (p, d, b) float64 per-sample weights (single precision on the device) of the loss.
    count: the true number of minibatches, at most p.
    step: (p, d, b) int32 time steps of the samples, for objectives that see them.
    """

    index: np.ndarray
    mask: np.ndarray | None
    weight: np.ndarray
    count: int
    step: np.ndarray | None = None


@dataclass(frozen=True)
class Stream:
    """Samples of one stream: rows of the data (n,) and, if not all 1, their weights (n,).

    step: names the stream's shuffles, and is the time step of its samples unless `steps` (n,) tells that of each.
    """

    step: int
    rows: np.ndarray
    weights: np.ndarray | None = None
    steps: np.ndarray | None = None

    @property
    def own_steps(self) -> np.ndarray:
        """The time step of each sample, (n,)."""
        return np.full(len(self.rows), self.step) if self.steps is None else self.steps

    def num_batches(self, batch_size: int, drop_single: bool = False) -> int:
        """Batches per pass; the last may be short. `drop_single` leaves out a last batch of one sample, unless alone."""
        count = -(-len(self.rows) // batch_size)
        return count - int(drop_single and count > 1 and len(self.rows) % batch_size == 1)


def fold(seed: int, *parts: int | str) -> int:
    """A 32-bit number from a seed and labels, the same on every machine."""
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


@lru_cache(maxsize=64)
def permutation(seed: int, role: str, step: int, number: int, size: int) -> np.ndarray:
    """The shuffle of pass `number` of a stream, (size,); NumPy's frozen legacy generator."""
    order = np.random.RandomState(fold(seed, "shuffle", role, step, number)).permutation(size)
    order.setflags(write=False)
    return order


Order = Callable[[Stream, int], np.ndarray]


def shuffled(seed: int, role: str) -> Order:
    """The order of a stream's pass as training uses it."""
    return lambda stream, number: permutation(seed, role, stream.step, number, len(stream.rows))


def stored_order(stream: Stream, number: int) -> np.ndarray:
    """No shuffling, for reference runs."""
    return np.arange(len(stream.rows))


def driving_first(streams: Sequence[Stream], batch_size: int, drop_single: bool = False) -> list[Stream]:
    """The order in which a step evaluates domains: the driving stream, then the others as they were (spec 2.2)."""
    driver = int(np.argmax([stream.num_batches(batch_size, drop_single) for stream in streams]))
    return [streams[driver], *streams[:driver], *streams[driver + 1 :]]


def epoch_batches(
    streams: Sequence[Stream],
    order: Order,
    epoch: int,
    batch_size: int,
    drop_single: bool = False,
    driver: int | None = None,
    with_steps: bool = False,
) -> Batches:
    """The minibatches of an epoch (counted from 1), as many as the driving stream has: the longest, or stream `driver`.

    `drop_single` leaves out a last minibatch of one sample of every stream that has others.
    """
    batch_size = padded_length(batch_size, max(len(stream.rows) for stream in streams))
    lengths = [stream.num_batches(batch_size, drop_single) for stream in streams]
    driver = int(np.argmax(lengths)) if driver is None else driver
    count = lengths[driver]
    padded = -(-count // BATCH_BUCKET) * BATCH_BUCKET
    shape = (padded, len(streams), batch_size)
    index, mask = np.zeros(shape, np.int32), np.zeros(shape, bool)
    weight = np.zeros(shape)
    step = np.zeros(shape, np.int32) if with_steps else None
    for d, stream in enumerate(streams):
        first = (epoch - 1) * (lengths[driver] if d != driver else 0)
        for i in range(count):
            number, place = divmod(first + i, lengths[d])
            chosen = order(stream, epoch - 1 if d == driver else number)[place * batch_size :][:batch_size]
            index[i, d, : len(chosen)] = stream.rows[chosen]
            mask[i, d, : len(chosen)] = True
            weight[i, d, : len(chosen)] = 1 if stream.weights is None else stream.weights[chosen]
            if step is not None:
                step[i, d, : len(chosen)] = stream.own_steps[chosen]
    full = all(len(stream.rows) % batch_size == 0 for stream in streams)
    return Batches(index, None if full else mask, weight, count, step)


@dataclass(frozen=True)
class EvaluationSet:
    """A named set of samples: the rows, the time step whose network is asked, and loss weights if not all 1.

    steps: the time step of each sample, for objectives that see it.
    """

    step: int
    rows: np.ndarray
    weights: np.ndarray | None = None
    steps: np.ndarray | None = None

    def batches(self, batch_size: int) -> Batches:
        """In stored order, padded, always with a mask."""
        batch_size = padded_length(batch_size, len(self.rows))
        count = -(-len(self.rows) // batch_size)
        size = -(-count // BATCH_BUCKET) * BATCH_BUCKET * batch_size
        index, mask = np.zeros(size, np.int32), np.zeros(size, bool)
        weight = np.ones(size)
        index[: len(self.rows)], mask[: len(self.rows)] = self.rows, True
        if self.weights is not None:
            weight[: len(self.rows)] = self.weights
        shape, step = (-1, 1, batch_size), None
        if self.steps is not None:
            step = np.full(size, self.step, np.int32)
            step[: len(self.rows)] = self.steps
            step = step.reshape(shape)
        return Batches(index.reshape(shape), mask.reshape(shape), weight.reshape(shape), count, step)

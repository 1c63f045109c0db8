"""Which images a step holds: class sizes, pools and draws, bit for bit as published.

Every draw comes from `numpy.random.RandomState`, whose stream NumPy keeps for ever. A step has a generator
of its own, seeded from (seed, step); it shuffles every pool (class by class, sub-class by sub-class:
training pool, then test pool if the step has a test set), then the training, validation and test sets, and
then serves the noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TRAIN_SHARE = 0.8
SEED_RANGE = 10000
ALLOCATIONS = ("as_asked", "released")

Pools = tuple[tuple[np.ndarray, ...], ...]  # pools[class][sub-class]: indices in ascending order


@dataclass(frozen=True, eq=False)
class Selection:
    """Indices into the training images (train, valid) and into the test images (test, None where absent)."""

    train: np.ndarray | None
    valid: np.ndarray | None
    test: np.ndarray | None


def step_seeds(seed: int, num_steps: int) -> tuple[int, ...]:
    """Seeds of the source step and of `num_steps - 1` target steps: the seed itself, then draws from it."""
    drawn = np.random.RandomState(seed).randint(SEED_RANGE, size=num_steps - 1)
    return (seed, *drawn.tolist())


def own_test_generator(step_seed: int) -> np.random.RandomState:
    """Draws an intermediate step's test indices and test noise; its seed is the pair (step_seed, 1)."""
    return np.random.RandomState([step_seed, 1])


def make_pools(
    labels: np.ndarray, subclass: np.ndarray | None, num_classes: int, num_subclasses: int
) -> Pools:
    """The ascending indices of each class and sub-class; one pool per class where `subclass` is None."""
    subclass = np.zeros_like(labels) if subclass is None else subclass
    group = labels * num_subclasses + subclass
    members = [np.flatnonzero(group == g) for g in range(num_classes * num_subclasses)]
    return tuple(tuple(members[y * num_subclasses : (y + 1) * num_subclasses]) for y in range(num_classes))


def allocate(total: int, probs: Sequence[float], rule: str = "as_asked") -> list[int]:
    """Splits `total` into whole parts: each the floor of its share, the remainder to the last one.

    as_asked: the last entry that is not zero takes the remainder, zeros get 0.
    released: as published, every trailing zero entry receives the remainder *again*, so the parts may add up
    to more than `total`.
    """
    last = max(k for k, p in enumerate(probs) if p != 0)
    sizes = [int(total * p) for p in probs]
    remainder = total - sum(sizes[:last])
    sizes[last] = remainder
    if rule == "released":
        sizes[last:] = [remainder] * (len(sizes) - last)
    return sizes


def pool_sizes(
    total: int, class_probs: Sequence[float], subclass_probs: Sequence[float], rule: str
) -> list[list[int]]:
    """Images wanted from each class and sub-class, sizes[class][sub-class]."""
    return [allocate(size, subclass_probs, rule) for size in allocate(total, class_probs)]


def draw(
    rng: np.random.RandomState, train_pools: Pools, sizes: list[list[int]], test_pools: Pools,
    test_sizes: list[list[int]] | None,
) -> Selection:  # fmt: skip
    """Draws one step without replacement; pools are shuffled even where nothing is taken from them."""
    train, valid, test = [], [], []
    for y, class_pools in enumerate(train_pools):
        for j, pool in enumerate(class_pools):
            order = pool[rng.permutation(len(pool))]
            split = int(TRAIN_SHARE * sizes[y][j])
            train.append(order[:split])
            valid.append(order[split : sizes[y][j]])
            if test_sizes is not None:
                test.append(shuffled(rng, test_pools[y][j])[: test_sizes[y][j]])
    train, valid = shuffled(rng, np.concatenate(train)), shuffled(rng, np.concatenate(valid))
    return Selection(train, valid, shuffled(rng, np.concatenate(test)) if test else None)


def draw_test(rng: np.random.RandomState, test_pools: Pools, sizes: list[list[int]]) -> np.ndarray:
    """Test indices alone, in the same way, from a generator of their own."""
    groups = [
        (pool, size)
        for row, ns in zip(test_pools, sizes, strict=True)
        for pool, size in zip(row, ns, strict=True)
    ]
    return shuffled(rng, np.concatenate([shuffled(rng, pool)[:size] for pool, size in groups]))


def shuffled(rng: np.random.RandomState, indices: np.ndarray) -> np.ndarray:
    """The indices in the order of the legacy in-place shuffle of arange(len(indices))."""
    return indices[rng.permutation(len(indices))]


def without(pools: Pools, taken: np.ndarray) -> Pools:
    """The pools less the taken indices, still in ascending order."""
    return tuple(tuple(pool[~np.isin(pool, taken)] for pool in row) for row in pools)


def first_too_small(sizes: list[list[int]], pools: Pools) -> tuple[int, int] | None:
    """The first (class, sub-class) whose pool has fewer images than wanted, or None."""
    places = ((y, j) for y, row in enumerate(sizes) for j in range(len(row)))
    return next(((y, j) for y, j in places if sizes[y][j] > len(pools[y][j])), None)


def train_count(sizes: list[list[int]]) -> int:
    """Training samples among the training and validation samples of those sizes."""
    return sum(int(TRAIN_SHARE * size) for row in sizes for size in row)

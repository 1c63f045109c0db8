"""How the samples of recorded steps become training, validation and test samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import SourceError

EARLIER_SHARES = (0.8, 0.2)  # training and validation, of all steps but the final one
FINAL_SHARES = (0.4, 0.1, 0.5)  # training, validation and test, of the final step
PARTS = ("train", "valid", "test")
DRAWN = -1  # of a sample that no list of files puts into a part

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # training, validation and test rows of a step


@dataclass(frozen=True)
class SplitRule:
    """How samples are split.

    final_shares: of training, validation and test samples at the final step; earlier steps are split 8 to 2.
    by_class: each class is split for itself; False: as published for Portraits, one shuffle a step from one generator.
    seed: of the draw; None: the seed of the data. keep: the share of training and validation samples kept, and
    most_per_class: samples of a class at most in each split, or 0 (presets `quick` and `smoke`).
    """

    final_shares: tuple[float, float, float] = FINAL_SHARES
    by_class: bool = True
    seed: int | None = None
    keep: float = 1.0
    most_per_class: int = 0

    def record(self) -> dict[str, Any]:
        """The rule as plain data, for identities."""
        return {**vars(self), "final_shares": list(self.final_shares)}


def split_rows(
    labels: Sequence[np.ndarray], parts: Sequence[np.ndarray], rule: SplitRule, seed: int
) -> list[Rows]:
    """The rows of every step's samples that are for training, validation and testing.

    labels, parts: of each step, (n,); a part is a place in `PARTS`, or -1 where it is drawn.
    """
    draw = seed if rule.seed is None else rule.seed
    found = (_by_class if rule.by_class else _one_stream)(labels, parts, rule, draw)
    return [
        tuple(_thinned(rows, step_labels, rule, [draw, t, k]) for k, rows in enumerate(step))
        for t, (step, step_labels) in enumerate(zip(found, labels, strict=True))
    ]


def _one_stream(labels: Sequence[np.ndarray], parts: Any, rule: SplitRule, seed: int) -> list[Rows]:
    """One legacy generator for all steps; each is shuffled whole and cut, counts truncated (spec of the data, 4.3)."""
    rng, found = np.random.RandomState(seed), []
    for t, step in enumerate(labels):
        rows = np.arange(len(step))
        rng.shuffle(rows)
        train, valid, _ = rule.final_shares
        ends = (train, train + valid) if t == len(labels) - 1 else (EARLIER_SHARES[0], 1.0)
        found.append(tuple(np.split(rows, [int(len(rows) * end) for end in ends])))
    return found


def _by_class(
    labels: Sequence[np.ndarray], parts: Sequence[np.ndarray], rule: SplitRule, seed: int
) -> list[Rows]:
    found = []
    for t, (step, named) in enumerate(zip(labels, parts, strict=True)):
        final = t == len(labels) - 1 and not (named == PARTS.index("test")).any()
        shares = rule.final_shares if final else (*EARLIER_SHARES, 0.0)
        random = np.random.default_rng([seed, t])
        rows = [[np.flatnonzero(named == k)] for k in range(3)]
        if (named == PARTS.index("valid")).any():
            shares = (shares[0] + shares[1], 0.0, shares[2])
        for label in np.unique(step):
            own = random.permutation(np.flatnonzero((step == label) & (named == DRAWN)))
            for k, part in enumerate(_cut(own, shares)):
                rows[k].append(part)
        found.append(tuple(random.permutation(np.concatenate(each)) for each in rows))
    return found


def _cut(rows: np.ndarray, shares: Sequence[float]) -> list[np.ndarray]:
    """Rows in proportion: test counts rounded down, validation counts up; training takes the rest, one at least."""
    test = int(np.floor(len(rows) * shares[2] + 1e-9))
    valid = min(int(np.ceil(len(rows) * shares[1] - 1e-9)), max(0, len(rows) - test - 1))
    train = len(rows) - valid - test
    return np.split(rows, [train, train + valid])


def _thinned(rows: np.ndarray, labels: np.ndarray, rule: SplitRule, seeds: list[int]) -> np.ndarray:
    """The rows that the presets keep: a share of each class's training and validation rows, or so many of each."""
    test = seeds[-1] == PARTS.index("test")
    keep = 1.0 if test else rule.keep
    if keep == 1.0 and not rule.most_per_class:
        return rows
    random, kept = np.random.default_rng([*seeds, 1]), []
    for label in np.unique(labels[rows]):
        own = random.permutation(np.flatnonzero(labels[rows] == label))
        count = int(np.ceil(keep * len(own)))
        kept.append(own[: min(count, rule.most_per_class or count)])
    return rows[np.sort(np.concatenate(kept))] if kept else rows


def check_splits(name: str, step_names: Sequence[str], rows: Sequence[Rows]) -> None:
    """Raises SourceError, with counts, for a step that lacks training or validation samples, or a final one untested."""
    last = len(rows) - 1
    for t, (step, found) in enumerate(zip(step_names, rows, strict=True)):
        counts = dict(zip(("training", "validation", "test"), map(len, found), strict=True))
        needed = [kind for kind in counts if kind != "test" or t == last]
        lacking = [kind for kind in needed if not counts[kind]]
        if lacking:
            total = sum(counts.values())
            said = ", ".join(f"{counts[kind]} {kind}" for kind in needed)
            remedy = (
                "give it more images, or another split with --config.data.split"
                if t == last
                else "give it more images, join it to another step with --config.data.period, or leave it out with "
                "--config.data.steps"
            )
            raise SourceError(
                f"{name}: time step {step!r} has {total} image{'s' * (total != 1)}, too few to split into {said} "
                f"samples; {remedy}"
            )

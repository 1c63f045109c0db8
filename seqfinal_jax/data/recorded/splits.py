"""How the samples of recorded steps become training, validation and test samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.copies import have_repeats, in_any

EARLIER_SHARES = (0.8, 0.2)  # training and validation, of all steps but the final one
FINAL_SHARES = (0.4, 0.1, 0.5)  # training, validation and test, of the final step
PARTS = ("train", "valid", "test")
DRAWN = -1  # of a sample that no list of files puts into a part

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # training, validation and test rows of a step


@dataclass(frozen=True)
class SplitRule:
    """How samples are split.

    final_shares: of training, validation and test samples at the final step; earlier steps are split 8 to 2.
    by_class: each class is split for itself; False: as published for Portraits, one shuffle per step from one generator.
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
    """The rows of every step's samples that are for training, validation and testing, no two samples belonging together.

    labels, parts: of each step, (n,); a part is a place in `PARTS`, or -1 where it is drawn.
    """
    return thinned_rows(drawn_rows(labels, parts, rule, seed), labels, rule, seed)


def drawn_rows(
    labels: Sequence[np.ndarray],
    parts: Sequence[np.ndarray],
    rule: SplitRule,
    seed: int,
    units: Sequence[np.ndarray] | None = None,
) -> list[Rows]:
    """All rows of every step, split; `units` (n,) of each step: samples of one unit come into one part."""
    draw = _draw_of(rule, seed)
    if not rule.by_class:
        return _one_stream(labels, parts, rule, draw)
    return _by_class(labels, parts, rule, draw, units or [np.arange(len(step)) for step in labels])


def thinned_rows(
    drawn: Sequence[Rows], labels: Sequence[np.ndarray], rule: SplitRule, seed: int
) -> list[Rows]:
    """The rows that the presets `quick` and `smoke` keep of those that were drawn."""
    draw, kept = _draw_of(rule, seed), []
    for t, (step, own) in enumerate(zip(drawn, labels, strict=True)):
        train, valid, test = (_thinned(rows, own, rule, [draw, t, k]) for k, rows in enumerate(step))
        kept.append((train, valid, test))
    return kept


def _draw_of(rule: SplitRule, seed: int) -> int:
    return seed if rule.seed is None else rule.seed


def training_copies(
    drawn: Sequence[Rows], units: Sequence[np.ndarray], test_all_steps: bool
) -> list[np.ndarray]:
    """Which training rows of each step, (n_train,) bool, share a unit with what the final step's model is judged by.

    That is the final step's validation and test rows and, where all steps are tested, every step's test rows.
    """
    tested = units if test_all_steps else units[-1:]
    judged = [own[rows[2]] for own, rows in zip(tested, drawn[-len(tested) :], strict=True)]
    judged.append(units[-1][drawn[-1][1]])
    return [in_any(own[rows[0]], judged) for own, rows in zip(units, drawn, strict=True)]


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
    labels: Sequence[np.ndarray],
    parts: Sequence[np.ndarray],
    rule: SplitRule,
    seed: int,
    units: Sequence[np.ndarray],
) -> list[Rows]:
    found = []
    for t, (step, given, own_units) in enumerate(zip(labels, parts, units, strict=True)):
        final = t == len(labels) - 1 and not (given == PARTS.index("test")).any()
        shares = rule.final_shares if final else (*EARLIER_SHARES, 0.0)
        random = np.random.default_rng([seed, t])
        named = _followed(given, own_units)
        rows = [[np.flatnonzero(named == k)] for k in range(3)]
        if (given == PARTS.index("valid")).any():
            shares = (shares[0] + shares[1], 0.0, shares[2])
        firsts, members = _members(own_units, named == DRAWN)
        for label in np.unique(step):
            own = random.permutation(firsts[step[firsts] == label])
            for k, part in enumerate(_cut(own, shares, members)):
                rows[k].append(part)
        found.append(tuple(random.permutation(np.concatenate(each)) for each in rows))
    return found


def _followed(given: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The parts, also of drawn rows that share a unit with a named one: test before validation before training."""
    if not have_repeats(units) or (given == DRAWN).all():
        return given
    named = given.copy()
    for part in range(len(PARTS)):  # the last one wins
        named[(given == DRAWN) & in_any(units, [units[given == part]])] = part
    return named


def _members(units: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The first drawn row of every unit, in order, and the rows of the units that have several, by the first one."""
    rows = np.flatnonzero(drawn)
    _, first, inverse = np.unique(units[rows], return_index=True, return_inverse=True)
    firsts = rows[np.sort(first)]
    if len(firsts) == len(rows):
        return firsts, {}
    order = np.argsort(inverse.reshape(-1), kind="stable")
    starts = np.flatnonzero(np.diff(inverse.reshape(-1)[order], prepend=-1))
    several = [own for own in np.split(rows[order], starts[1:]) if len(own) > 1]
    return firsts, {int(own[0]): own for own in several}


def _cut(rows: np.ndarray, shares: Sequence[float], members: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    """Rows in proportion: test counts rounded down, validation counts up; training takes the rest, one at least.

    A row stands for all of its unit's `members`. Where there are such, one unit after the other goes to the part that
    lacks most, and the last ones to parts that would be empty.
    """
    count = len(rows) + sum(len(members[int(row)]) - 1 for row in rows if int(row) in members)
    test = int(np.floor(count * shares[2] + 1e-9))
    valid = min(int(np.ceil(count * shares[1] - 1e-9)), max(0, count - test - 1))
    lacking = np.array([count - valid - test, valid, test])
    if not members:
        return np.split(rows, np.cumsum(lacking)[:2])
    parts: list[list[np.ndarray]] = [[rows[:0]], [rows[:0]], [rows[:0]]]
    for left, row in zip(range(len(rows), 0, -1), rows, strict=True):
        empty = np.array([len(part) == 1 and lack > 0 for part, lack in zip(parts, lacking, strict=True)])
        part = int(np.argmax(np.where(empty | (left > empty.sum()), lacking, -count)))
        unit = members.get(int(row), np.array([row]))
        parts[part].append(unit)
        lacking[part] -= len(unit)
    return [np.concatenate(part) for part in parts]


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


def check_splits(
    name: str, step_names: Sequence[str], rows: Sequence[Rows], taken_out: Sequence[int] = ()
) -> None:
    """Raises SourceError, with counts, for a step that lacks training or validation samples, or a final one untested.

    taken_out: how many training samples of each step were taken out as copies.
    """
    last = len(rows) - 1
    for t, (step, found) in enumerate(zip(step_names, rows, strict=True)):
        counts: dict[str, int] = dict(zip(("training", "validation", "test"), map(len, found), strict=True))
        needed = [kind for kind in counts if kind != "test" or t == last]
        lacking = [kind for kind in needed if not counts[kind]]
        if lacking == ["training"] and taken_out and taken_out[t]:
            raise SourceError(
                f"{name}: time step {step!r} has no training image left: all {taken_out[t]} are copies of images of the "
                f"final validation or test set, or of their groups; leave the step out with --config.data.steps, or keep "
                f"copies with --config.data.duplicates=keep"
            )
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

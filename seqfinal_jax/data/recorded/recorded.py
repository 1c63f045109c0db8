"""A recorded sequence: samples of several time steps, and the rule that splits them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from seqfinal_jax.data.base.sources import SourceError
from seqfinal_jax.data.copies import have_repeats, two_labels, units_of
from seqfinal_jax.data.recorded.splits import (
    DRAWN,
    FINAL_SHARES,
    Rows,
    SplitRule,
    check_splits,
    drawn_rows,
    thinned_rows,
    training_copies,
)
from seqfinal_jax.data.recorded.step_order import in_order, period_of
from seqfinal_jax.data.sequences import sequence as sequences
from seqfinal_jax.data.stored_arrays import add_array

VERSION = 1  # raised when the same samples and rule come to give other data


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples with their times.

    images (n,h,w,c) uint8, labels (n,) int32, times (n,) strings, parts (n,) int8: a place in `splits.PARTS`, or -1.
    digests (n,) uint64 of pixels, which tell copies; groups (n,) strings, empty for none; names (n,) for messages.
    """

    images: np.ndarray
    labels: np.ndarray
    times: np.ndarray
    parts: np.ndarray
    digests: np.ndarray
    groups: np.ndarray
    names: np.ndarray

    def of(self, rows: np.ndarray) -> "Samples":
        """Some of them."""
        return Samples(*(column[rows] for column in vars(self).values()))


def samples_of(
    images: np.ndarray,
    labels: Any,
    times: Any,
    parts: Any = None,
    digests: np.ndarray | None = None,
    groups: Any = None,
    names: Any = None,
) -> Samples:
    """Samples of plain arrays; no parts: all are drawn. No digests: no image counts as a copy of another."""
    count = len(labels)
    parts = np.full(count, DRAWN) if parts is None else parts
    digests = np.arange(count, dtype=np.uint64) if digests is None else digests
    groups = [""] * count if groups is None else groups
    names = range(count) if names is None else names
    return Samples(
        images, np.asarray(labels, np.int32), np.asarray(times, dtype=object), np.asarray(parts, np.int8), digests,
        np.asarray(groups, dtype=object), np.asarray(names, dtype=object),
    )  # fmt: skip


@dataclass(frozen=True)
class Choices:
    """The options of a recorded sequence: the fields `config.data.*` of the same names."""

    steps: tuple[str, ...] = ()
    period: str = "as_given"
    rule: SplitRule = SplitRule()
    test_all_steps: bool = False
    duplicates: str = "remove"

    @classmethod
    def of(cls, data: Mapping[str, Any], by_class: bool = True) -> "Choices":
        """The options in the section `config.data`. Raises SourceError for shares that are not valid fractions."""
        shares = tuple(float(share) for share in data.get("split") or FINAL_SHARES)
        if len(shares) != 3 or abs(sum(shares) - 1) > 1e-6 or min(shares) <= 0:
            raise SourceError(
                f"config.data.split = {shares}: expected three shares above 0 that sum to 1, of training, validation and "
                f"test samples of the final step, such as (0.4, 0.1, 0.5)"
            )
        fixed = data.get("split_seed", -1)
        rule = SplitRule(
            shares,
            by_class,
            None if fixed < 0 else fixed,
            data.get("keep", 1.0),
            data.get("most_per_class", 0),
        )
        steps = tuple(data.get("steps", ()))
        duplicates = data.get("duplicates", "remove")
        return cls(steps, data.get("period", "as_given"), rule, data["test_all_steps"], duplicates)


@dataclass(frozen=True, eq=False)
class RecordedSequence:
    """A `SequenceSource` of samples that came with their times; it has no oracle.

    published_scaling: the (mean, deviation) of pixels 0..1 with which the published program scales these images, where
    it does not take pixels as they are. notes: what a table of results should say of the data. read_with: the fields of
    `config.data` that the samples depend on, with their values. mirror_keeps_class: whether a mirrored image is of the
    same class, None where that is not known.
    """

    name: str
    class_names: tuple[str, ...]
    samples: Samples
    choices: Choices
    record: dict[str, Any]
    published_scaling: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    notes: tuple[str, ...] = ()
    read_with: Mapping[str, Any] = field(default_factory=dict)
    mirror_keeps_class: bool | None = None
    variants: tuple[str, ...] = field(default=("main",), init=False)

    def __post_init__(self) -> None:
        """Checks what every seed needs: at least two steps, each with samples for its splits."""
        if len(self.step_names) < 2:
            found = self.step_names[0] if self.step_names else "none"
            raise SourceError(
                f"{self.name}: a sequence needs two time steps or more, found one ({found!r}); "
                f"config.data.steps and config.data.period say what a step is"
            )
        self._refuse_two_classes()
        self._rows(0)
        if self.has_copies:
            units = np.concatenate(self.units)
            counts = np.unique(units, return_counts=True)[1]
            repeated = int(counts[counts > 1].sum())
            self.record["copies"] = {"duplicates": self.choices.duplicates, "samples_with_others": repeated}

    def chosen(self, data: Mapping[str, Any]) -> "RecordedSequence | None":
        """The same samples under another section `config.data`; None where they have to be read again for it."""
        if any(data.get(name) != value for name, value in self.read_with.items()):
            return None
        return replace(self, choices=Choices.of(data, self.choices.rule.by_class))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(h, w, c)."""
        return tuple(self.samples.images.shape[1:])

    @cached_property
    def periods(self) -> np.ndarray:
        """The name of each sample's step, (n,)."""
        return np.array(
            [period_of(str(time), self.choices.period) for time in self.samples.times], dtype=object
        )

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        """The names of the time steps in order."""
        return in_order(self.periods, self.choices.steps)

    @cached_property
    def steps(self) -> tuple[Samples, ...]:
        """The samples of each step, in the order in which they were read."""
        return tuple(self.samples.of(np.flatnonzero(self.periods == name)) for name in self.step_names)

    @cached_property
    def units(self) -> tuple[np.ndarray, ...]:
        """The unit of each step's samples: equal for copies and for samples of one group, over all steps."""
        counts = np.cumsum([len(step.labels) for step in self.steps])[:-1]
        columns = ([getattr(step, name) for step in self.steps] for name in ("digests", "groups"))
        return tuple(np.split(units_of(*map(np.concatenate, columns)), counts))

    @cached_property
    def has_copies(self) -> bool:
        """Whether any two samples are copies or of one group."""
        return have_repeats(np.concatenate(self.units))

    def _refuse_two_classes(self) -> None:
        for name, step in zip(self.step_names, self.steps, strict=True):
            if clash := two_labels(step.digests, step.labels):
                one, other = (f"{step.names[row]} ({self.class_names[step.labels[row]]!r})" for row in clash)
                raise SourceError(
                    f"{self.name}: one image is in two classes of the time step {name!r}: {one} and {other} have "
                    f"the same pixels; remove one of them"
                )

    def sizes(self, variant: str) -> tuple[int, ...]:
        """Training and validation samples of each step."""
        return tuple(len(train) + len(valid) for train, valid, _ in self._rows(0)[0])

    def training_sizes(self, variant: str) -> tuple[int, ...]:
        """Training samples of each step."""
        return tuple(len(train) for train, _, _ in self._rows(0)[0])

    def identity(self, variant: str) -> Any:
        """Contents, steps and the rule of the split, and the treatment of copies and groups where there are any."""
        choices = self.choices
        together = [["copies", choices.duplicates, self._groups_digest()]] if self.has_copies else []
        return [
            VERSION, self.name, self.record["content_sha256"], list(self.step_names), choices.period,
            choices.rule.record(), choices.test_all_steps, *together,
        ]  # fmt: skip

    def _groups_digest(self) -> str:
        return hashlib.sha256("\0".join(map(str, self.samples.groups)).encode()).hexdigest()[:16]

    def build(self, variant: str, seed: int) -> sequences.Sequence:
        """Split by the rule; the seed counts only where the rule fixes none."""
        (rows, copies), steps, begin = self._rows(seed), [], 0
        for t, (samples, own) in enumerate(zip(self.steps, rows, strict=True)):
            tested = len(own[2]) and (t == len(rows) - 1 or self.choices.test_all_steps)
            splits = [_split(samples, part, begin) for part in own]
            steps.append(sequences.Step(splits[0], splits[1], splits[2] if tested else None))
            begin += len(samples.labels)
        return sequences.sequence_of(self, steps, seed, (*self.notes, *self._copies_note(copies)))

    def _rows(self, seed: int) -> tuple[list[Rows], list[int]]:
        """The split of every step, and how many of its training samples are copies of what the model is judged by."""
        labels, parts = zip(*((step.labels, step.parts) for step in self.steps), strict=True)
        rule, units = self.choices.rule, self.units if self.has_copies else None
        drawn, copies = drawn_rows(labels, parts, rule, seed, units), [0] * len(labels)
        if units:
            found = training_copies(drawn, units, self.choices.test_all_steps)
            copies = [int(each.sum()) for each in found]
            if self.choices.duplicates == "refuse" and any(copies):
                raise SourceError(
                    f"{self.name}: {self._copied(copies)}; config.data.duplicates = 'refuse' accepts none"
                )
            if self.choices.duplicates == "remove":
                drawn = [
                    (train[~each], valid, test)
                    for (train, valid, test), each in zip(drawn, found, strict=True)
                ]
        rows = thinned_rows(drawn, labels, rule, seed)
        check_splits(self.name, self.step_names, rows, copies)
        return rows, copies

    def _copied(self, copies: Sequence[int]) -> str:
        by_step = ", ".join(
            f"{name} {count}" for name, count in zip(self.step_names, copies, strict=True) if count
        )
        or_groups = ", or of their groups" if (self.samples.groups != "").any() else ""
        return (
            f"{sum(copies)} training images are copies of images of the final validation or test set{or_groups} "
            f"({by_step})"
        )

    def _copies_note(self, copies: Sequence[int]) -> tuple[str, ...]:
        if not any(copies):
            return ()
        if self.choices.duplicates == "keep":
            return (
                f"{self._copied(copies)} and were kept, so accuracy is not that on new images "
                f"(config.data.duplicates = 'keep')",
            )
        return (f"{self._copied(copies)}; they were taken out of training",)


def _split(samples: Samples, rows: np.ndarray, begin: int) -> sequences.Split:
    return sequences.Split(samples.images[rows], samples.labels[rows], (begin + rows).astype(np.int64))


def arrays_digest(samples: Samples, class_names: Sequence[str]) -> str:
    """SHA-256 over pixels, labels, times, parts and the names of the classes."""
    digest = hashlib.sha256("\0".join(class_names).encode())
    for array in (samples.images, samples.labels, samples.parts):
        add_array(digest, array)
    digest.update("\0".join(map(str, samples.times)).encode())
    return digest.hexdigest()

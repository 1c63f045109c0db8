"""A sequence of time steps: labelled images that shift from a source step to the final one."""

import logging
from collections.abc import Mapping
from collections.abc import Sequence as Sizes
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seqfinal_jax.data.base.sources import Source, SourceError, load_source
from seqfinal_jax.data.sequences import cache as sequence_cache
from seqfinal_jax.data.sequences import selection
from seqfinal_jax.data.sequences.selection import Pools, Selection
from seqfinal_jax.data.sequences.spec import DEFAULT_SEED, SequenceSpec, fingerprint, sequence_spec
from seqfinal_jax.data.shifts.shift import ShiftState, Steps, accumulate, apply_shifts, check_needs

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Split:
    """Images (n, h, w, c) uint8, labels (n,) int32, and the index (n,) int64 of each image in its source."""

    images: np.ndarray
    labels: np.ndarray
    source_index: np.ndarray

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Step:
    """One time step; `test` is None where the step has no test set.

    `source_index` of train and valid points into the source's training images, that of test into its test
    images.
    """

    train: Split
    valid: Split
    test: Split | None = None


@dataclass(frozen=True, eq=False)
class Sequence:
    """Time steps 0 (the source) to the final one, and the record of their origin.

    `record` tells where the base data set came from, `fingerprint` is a hash of everything that determines
    the data, `warnings` are the remarks a table of results should carry, `step_names` are empty where steps are known by
    their numbers.
    """

    steps: tuple[Step, ...]
    num_classes: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    seed: int
    name: str
    shifts: Steps
    record: dict[str, Any]
    fingerprint: str
    warnings: tuple[str, ...] = ()
    step_names: tuple[str, ...] = ()

    @property
    def num_steps(self) -> int:
        """Time steps, the source included."""
        return len(self.steps)

    @property
    def final_step(self) -> int:
        """Index of the last time step."""
        return len(self.steps) - 1


class Described(Protocol):
    """The properties that a sequence takes from its source, as attributes or properties."""

    @property
    def name(self) -> str:
        """Of the data."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(h, w, c)."""
        ...

    @property
    def record(self) -> Mapping[str, Any]:
        """Where the data come from."""
        ...


def sequence_of(
    source: Described, steps: Sizes[Step], seed: int, warnings: tuple[str, ...] = ()
) -> "Sequence":
    """The sequence of a source of your own, checked.

    Raises ValueError for fewer than two steps, a final step without test samples, and splits that do not fit the
    source's image shape and classes; the message names the step.
    """
    if len(steps) < 2:
        raise ValueError(f"{source.name}: a sequence needs two time steps or more, found {len(steps)}")
    if steps[-1].test is None:
        raise ValueError(f"{source.name}: the final step needs test samples")
    for t, step in enumerate(steps):
        for name, split in (("train", step.train), ("valid", step.valid), ("test", step.test)):
            if split is not None:
                _check_split(source, split, f"{source.name}, step {t}, {name}")
    names = tuple(source.class_names)
    height, width, channels = source.image_shape
    return Sequence(
        tuple(steps), len(names), names, (height, width, channels), seed, source.name, (), dict(source.record), "",
        warnings, tuple(getattr(source, "step_names", ())),
    )  # fmt: skip


def _check_split(source: Described, split: Split, where: str) -> None:
    images, labels = split.images, split.labels
    shape, classes = tuple(source.image_shape), len(source.class_names)
    if images.dtype != np.uint8 or images.shape != (len(labels), *shape) or not len(labels):
        raise ValueError(
            f"{where}: expected images as uint8 (n, {', '.join(map(str, shape))}), one per label, found {images.dtype} "
            f"{images.shape} and {len(labels)} labels"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{where}: expected labels 0..{classes - 1}, found {labels.dtype} {labels.min()}..{labels.max()}"
        )


def build_sequence(
    dataset: str,
    shifts: str,
    source_size: int,
    target_sizes: int | str | Sizes[int] | None,
    test_size: int,
    seed: int = DEFAULT_SEED,
    data_dir: str | Path | None = None,
    protocol: str = "corrected",
    subpop_sizes: str | None = None,
    test_all_steps_draws: str | None = None,
    test_all_steps: bool = False,
    disjoint: bool = False,
    target_size: int | None = None,
    cache: bool = True,
    source: Source | None = None,
) -> Sequence:
    """Builds a sequence from a base data set; equal arguments give equal bits.

    Args:
        dataset: name of a base data set, see `DATASETS`.
        shifts: shifts of every target step, e.g. 'corruption:label_flip,recolor:none'.
        source_size: training and validation samples of the source step, which has no test set.
        target_sizes: training and validation samples of each target step; one number, or '4000:6000', also
            will do.
        test_size: test samples of the final step, on top of its target size.
        seed: of the draws. Step 0 uses it as it is, target steps use seeds drawn from it.
        data_dir: where the upstream files are; default: environment variable SEQFINAL_DATA_DIR.
        protocol: 'corrected' or 'released'; sets the next two fields where they are None.
        subpop_sizes: 'as_asked', or 'released': the published sizes of data sets with sub-classes, too large
            at early steps.
        test_all_steps_draws: 'own': a generator of its own, seeded by the pair (step seed, 1), draws test
            indices and test noise of the intermediate steps, and all other splits stay as they are without
            `test_all_steps`; 'same_stream': as published, they come from the step's generator and move its
            later draws.
        test_all_steps: also gives every intermediate target step a test set of `test_size`.
        disjoint: steps share no training or validation image: built from the final step down to the source,
            each class pool without the images of later steps.
        target_size: one size for all target steps, used where `target_sizes` is None.
        cache: keeps the sequence on disk under its fingerprint (folder: environment variable
            SEQFINAL_CACHE_DIR).
        source: the base data set, if it has been read already; several sequences can share it.

    Raises:
        ValueError: an argument is unknown or out of range, or a class has too few images; the flag is named.
        SourceError: the base data set is missing or damaged.
    """
    spec = sequence_spec(
        dataset, shifts, source_size, target_sizes, test_size, seed, protocol, subpop_sizes,
        test_all_steps_draws, test_all_steps, disjoint, target_size,
    )  # fmt: skip
    source = source or load_source(dataset, data_dir)
    return build_from_spec(spec, source, cache)


def build_from_spec(spec: SequenceSpec, source: Source, cache: bool = True) -> Sequence:
    """The sequence of a checked spec; raises as `build_sequence` does."""
    if source.name != spec.dataset:
        raise SourceError(f"data.dataset is {spec.dataset!r} but the source given is {source.name!r}")
    key = fingerprint(spec, source)
    steps = _cached_steps(spec, key) if cache else None
    if steps is None:
        steps = _build_steps(spec, source)
        if cache:
            sequence_cache.write(spec.name, key, _to_rows(steps))
    notes = spec.notes + _size_notes(spec, steps) + tuple(source.record.get("notes", ()))
    for note in notes:
        log.warning("%s: %s", spec.name, note)
    return Sequence(
        steps=steps,
        num_classes=source.num_classes,
        class_names=source.class_names,
        image_shape=source.image_shape,
        seed=spec.seed,
        name=spec.name,
        shifts=spec.shifts,
        record=source.record,
        fingerprint=key,
        warnings=notes,
    )


def _build_steps(spec: SequenceSpec, source: Source) -> tuple[Step, ...]:
    check_needs(spec.shifts, source.image_shape)
    states = accumulate(spec.shifts, source.num_classes, source.num_subclasses)
    train_pools, test_pools = _pools(source, "train"), _pools(source, "test")
    steps: list[Step] = []
    for t in reversed(range(spec.num_steps)):
        step = _build_step(spec, source, states[t], t, train_pools, test_pools)
        steps.insert(0, step)
        if spec.disjoint:
            taken = np.concatenate([step.train.source_index, step.valid.source_index])
            train_pools = selection.without(train_pools, taken)
    return tuple(steps)


def _pools(source: Source, split: str) -> Pools:
    labels, subclass = getattr(source, f"{split}_labels"), getattr(source, f"{split}_subclass")
    return selection.make_pools(labels, subclass, source.num_classes, source.num_subclasses)


def training_sizes(spec: SequenceSpec, source: Source) -> tuple[int, ...]:
    """Training samples of each step, which are the same for every seed."""
    states = accumulate(spec.shifts, source.num_classes, source.num_subclasses)
    wanted = (_wanted(spec, state, size) for state, size in zip(states, spec.sizes, strict=True))
    return tuple(map(selection.train_count, wanted))


def _wanted(spec: SequenceSpec, state: ShiftState, total: int) -> list[list[int]]:
    return selection.pool_sizes(total, state.class_probs, state.subclass_probs, spec.subpop_sizes)


def _build_step(
    spec: SequenceSpec, source: Source, state: ShiftState, t: int, train_pools: Pools, test_pools: Pools
) -> Step:
    sizes = _checked_sizes(spec, source, state, t, train_pools, test=False)
    has_test = t == spec.num_steps - 1 or (t > 0 and spec.test_all_steps)
    test_sizes = _checked_sizes(spec, source, state, t, test_pools, test=True) if has_test else None
    own_test = has_test and t < spec.num_steps - 1 and spec.test_all_steps_draws == "own"
    step_seed = selection.step_seeds(spec.seed, spec.num_steps)[t]
    rng = np.random.RandomState(step_seed)
    chosen = selection.draw(rng, train_pools, sizes, test_pools, None if own_test else test_sizes)
    train, valid, *test = _shift_splits(source, state, chosen, rng, (step_seed,))
    if own_test and test_sizes:
        rng = selection.own_test_generator(step_seed)
        indices = selection.draw_test(rng, test_pools, test_sizes)
        test = _shift_splits(source, state, Selection(None, None, indices), rng, (step_seed, 1))
    return Step(train, valid, test[0] if test else None)


def _shift_splits(
    source: Source, state: ShiftState, chosen: Selection, rng: np.random.RandomState, seeds: tuple[int, ...]
) -> list[Split]:
    """The chosen splits that are not None, in the order train, valid, test, with all shifts of the state.

    `seeds` makes the generators of shifts that have one of their own; each split has its own.
    """
    picked = [(source.train_images, source.train_labels, chosen.train)]
    picked += [(source.train_images, source.train_labels, chosen.valid)]
    picked += [(source.test_images, source.test_labels, chosen.test)]
    picked = [(images, labels, index) for images, labels, index in picked if index is not None]
    splits = [(images[index], labels[index]) for images, labels, index in picked]
    splits = apply_shifts(splits, state, rng, seeds)
    return [
        Split(images, labels.astype(np.int32), index.astype(np.int64))
        for (images, labels), (_, _, index) in zip(splits, picked, strict=True)
    ]


def _checked_sizes(
    spec: SequenceSpec, source: Source, state: ShiftState, t: int, pools: Pools, test: bool
) -> list[list[int]]:
    """Images wanted of each class and sub-class; raises ValueError where a pool is too small."""
    total = spec.test_size if test else spec.sizes[t]
    target = f"data.target_sizes[{t - 1}]" if t else "data.source_size"
    flag = "data.test_size" if test else target
    kind = "test" if test else "training and validation"

    def wanted(total: int) -> list[list[int]]:
        return _wanted(spec, state, total)

    def short(total: int) -> tuple[int, int] | None:
        return selection.first_too_small(wanted(total), pools)

    place = short(total)
    if place is not None:
        y, j = place
        group = f"class {source.class_names[y]!r}" + (f", sub-class {j}" if source.num_subclasses > 1 else "")
        limit = next((n for n in range(min(total, _all(pools)), 0, -1) if short(n) is None), 0)
        raise ValueError(
            f"{flag}={total}: step {t} wants {wanted(total)[y][j]} {kind} images of {group}, "
            f"{len(pools[y][j])} are there; at most {limit} fit"
        )
    if not test and not 0 < selection.train_count(wanted(total)) < sum(map(sum, wanted(total))):
        raise ValueError(f"{flag}={total}: too few samples for both a training and a validation set")
    return wanted(total)


def _all(pools: Pools) -> int:
    return sum(len(pool) for row in pools for pool in row)


def _size_notes(spec: SequenceSpec, steps: tuple[Step, ...]) -> tuple[str, ...]:
    """Says where the published rule gives more samples than were asked for."""
    asked = [
        (f"step {t}", size, len(step.train) + len(step.valid))
        for t, (size, step) in enumerate(zip(spec.sizes, steps, strict=True))
    ]
    asked += [
        (f"step {t} test", spec.test_size, len(step.test))
        for t, step in enumerate(steps)
        if step.test is not None
    ]
    return tuple(
        f"{where} holds {found} samples where {size} were asked for (subpop_sizes='released')"
        for where, size, found in asked
        if found != size
    )


def _to_rows(steps: tuple[Step, ...]) -> sequence_cache.Rows:
    splits = [split for step in steps for split in (step.train, step.valid, step.test)]
    present = [split for split in splits if split is not None]
    counts = np.array([-1 if split is None else len(split) for split in splits]).reshape(len(steps), 3)
    images, labels, index = (
        np.concatenate([getattr(s, name) for s in present]) for name in ("images", "labels", "source_index")
    )
    return sequence_cache.Rows(images, labels, index, counts)


def _cached_steps(spec: SequenceSpec, key: str) -> tuple[Step, ...] | None:
    rows = sequence_cache.read(spec.name, key)
    if rows is None:
        return None
    start, steps = 0, []
    for counts in rows.counts.tolist():
        splits: list[Split | None] = []
        for count in counts:
            stop = start + max(count, 0)
            columns = (column[start:stop] for column in (rows.images, rows.labels, rows.source_index))
            splits.append(None if count < 0 else Split(*columns))
            start = stop
        train, valid, test = splits
        if train is None or valid is None:
            return None
        steps.append(Step(train, valid, test))
    return tuple(steps)

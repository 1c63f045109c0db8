"""The specification (record) of a shift, and how the shifts of a sequence add up.

    @shift("blur", place=15)
    def blur(images, labels, occurred, generator): ...

A sequence is written as 'corruption:label_flip+recolor:none': ':' between steps, '+' or ',' within one. What has occurred
is carried along: a step's data are made from clean images with all shifts up to that step, in the order of their places.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqfinal_jax.records.code_identity import code_digest, defined_in
from seqfinal_jax.records.registry import Registry

Steps = tuple[tuple[str, ...], ...]
Labelled = tuple[np.ndarray, np.ndarray]  # images (n,h,w,c) uint8, labels (n,) int32
Probs = tuple[float, ...]


@dataclass(frozen=True)
class Occurred:
    """What has occurred up to a step. times: how often the shift itself; counts: how often each shift; num_classes."""

    times: int
    counts: Mapping[str, int]
    num_classes: int


Apply = Callable[[np.ndarray, np.ndarray, Occurred, Any], tuple[np.ndarray, np.ndarray] | np.ndarray]


@dataclass(frozen=True)
class Shift:
    """One building block of a sequence.

    apply: (images (n,h,w,c) uint8, labels (n,) int32, what has occurred, generator) -> images, or images and labels;
        pure. None for a shift of classes alone, or one that another applies. The generator is NumPy's, of this step,
        split and shift alone.
    place: the order in which the shifts of a step act; those of the package have 10 (noise), 20 (rotation), 30 (tint) and
        40 (labels, so that all others see the true ones).
    version: raise it when the code changes so that the same arguments give other data.
    needs: properties that the data must have: "colour" (three channels), "sub-classes", "square".
    hides: a shift that this one replaces within a step. with_shift: the shift whose `apply` also applies this one.
    each_time: applied once for each occurrence, to all splits in turn, with the generator that drew the step's samples,
        as the published noise is.
    most: how often it may occur, and why not once more. cycle: after so many occurrences nothing is shifted.
    classes: (probabilities of the classes) -> those after one more occurrence. sub_classes: (times) -> proportions within
        every class. summary: one sentence, of a shift without a function whose docstring would say it.
    """

    name: str
    apply: Apply | None = None
    place: int = 20
    version: int = 1
    needs: tuple[str, ...] = ()
    hides: str | None = None
    with_shift: str | None = None
    each_time: bool = False
    most: tuple[int, str] | None = None
    cycle: int = 0
    classes: Callable[[Probs], Probs] | None = None
    sub_classes: Callable[[int], Probs] | None = None
    summary: str = ""

    @property
    def identity(self) -> list[Any]:
        """The part of the specification that determines data: nothing for the first version of the package's own."""
        code = code_digest(self.apply) if self.apply else ""
        return [self.version, code] if code or self.version != 1 else []


SHIFTS: Registry[Shift] = Registry("shift")


def shift(name: str, **record: Any) -> Callable[[Apply], Apply]:
    """Registers the function below it as a shift; see `Shift` for the fields."""

    def register(apply: Apply) -> Apply:
        SHIFTS.add(name, Shift(name, apply, **record), origin=defined_in(apply))
        return apply

    return register


@dataclass(frozen=True)
class ShiftState:
    """All shifts up to one step: how often each has occurred, and the proportions of classes and sub-classes."""

    counts: Mapping[str, int]
    class_probs: Probs
    num_subclasses: int = 1

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_probs)

    @property
    def subclass_probs(self) -> Probs:
        """Proportions of the sub-classes within every class; (1.0,) where there are none."""
        if self.num_subclasses == 1:
            return (1.0,)
        rules = _sub_class_rules()
        name = next((name for name in rules if name in self.counts), next(iter(rules)))
        return rules[name](self.counts.get(name, 0))

    def occurred(self, record: Shift) -> Occurred:
        """The information that is passed to a shift."""
        return Occurred(self.counts.get(record.name, 0), self.counts, self.num_classes)

    def acting(self) -> list[Shift]:
        """The shifts whose functions act on images and labels, in order."""
        names = {SHIFTS.get(name).with_shift or name for name, times in self.counts.items() if times}
        found = [SHIFTS.get(name) for name in names]
        return sorted((each for each in found if each.apply), key=lambda each: (each.place, each.name))


def _sub_class_rules() -> dict[str, Callable[[int], Probs]]:
    """The proportions of sub-classes after so many occurrences, by the shifts that change them."""
    return {each.name: each.sub_classes for each in map(SHIFTS.get, SHIFTS) if each.sub_classes}


def source_state(num_classes: int, num_subclasses: int = 1) -> ShiftState:
    """The neutral state of the source step; raises ValueError if the number of sub-classes is one that no shift has."""
    known = {1, *(len(rule(0)) for rule in _sub_class_rules().values())}
    if num_subclasses not in known:
        wanted = " or ".join(str(number) for number in sorted(known - {1}))
        raise ValueError(f"a class needs {wanted} sub-classes or none, found {num_subclasses}")
    return ShiftState({}, (1 / num_classes,) * num_classes, num_subclasses)


def parse_shifts(text: str) -> Steps:
    """The shifts of each target step, for example (('corruption',), ('label_flip', 'recolor'), ()).

    A name counts once in a step; `rotation_cond` hides `rotation` and `recolor_cond` hides `recolor` (see
    `shift_notes`); `none` is a step without a new shift.

    Raises:
        ValueError: unknown name, empty step, or `none` beside another name.
    """
    return tuple(_parse_step(part, t, text) for t, part in enumerate(text.split(":"), start=1))


def _names(part: str) -> list[str]:
    """The names of one step."""
    return [name.strip() for name in part.replace("+", ",").split(",")]


def _parse_step(part: str, t: int, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_names(part)))
    if "" in names:
        raise ValueError(
            f"shifts {text!r}: step {t} has an empty name; write 'none' for a step without new shift"
        )
    if "none" in names:
        if len(names) > 1:
            raise ValueError(f"shifts {text!r}: step {t} names 'none' beside other shifts")
        return ()
    try:
        hidden = {SHIFTS.get(name).hides for name in names}
    except ValueError as error:
        raise ValueError(f"shifts {text!r}, step {t}: {error}") from None
    return tuple(name for name in names if name not in hidden)


def shift_notes(text: str) -> tuple[str, ...]:
    """Messages for the user about a string of shifts: shifts that are hidden, flips that cancel out."""
    notes = []
    for t, part in enumerate(text.split(":"), start=1):
        names = set(_names(part))
        hiding = {SHIFTS.get(name).hides: name for name in sorted(names) if name in SHIFTS}
        notes += [f"step {t}: {hiding[name]} hides {name}" for name in sorted(names & hiding.keys() - {None})]
    counts: dict[str, int] = {}
    for t, step in enumerate(parse_shifts(text), start=1):
        for name in step:
            counts[name] = counts.get(name, 0) + 1
            cycle = SHIFTS.get(name).cycle
            if cycle and counts[name] % cycle == 0:
                shifts = f"{counts[name]} {name.replace('_', ' ')}s"
                notes.append(f"step {t}: {shifts} are the identity, so its labels are the source's")
    return tuple(notes)


def accumulate(steps: Steps, num_classes: int, num_subclasses: int = 1) -> tuple[ShiftState, ...]:
    """The state of every time step, source first; raises ValueError that names the step of a bad shift."""
    states = [source_state(num_classes, num_subclasses)]
    for t, step in enumerate(steps, start=1):
        state = states[-1]
        for name in step:
            try:
                state = _advanced(state, SHIFTS.get(name))
            except ValueError as error:
                raise ValueError(f"shifts, step {t} ({','.join(step)}): {error}") from None
        states.append(state)
    return tuple(states)


def _advanced(state: ShiftState, record: Shift) -> ShiftState:
    """The state after one more occurrence of a shift."""
    times = state.counts.get(record.name, 0) + 1
    if "sub-classes" in record.needs and state.num_subclasses == 1:
        raise ValueError(f"{record.name} needs a data set with sub-classes, such as cifar100")
    if record.most and times > record.most[0]:
        raise ValueError(f"at most {record.most[0]} {record.name}: {record.most[1]}")
    probs = record.classes(state.class_probs) if record.classes else state.class_probs
    return ShiftState({**state.counts, record.name: times}, probs, state.num_subclasses)


def apply_shifts(
    splits: list[Labelled], state: ShiftState, rng: np.random.RandomState, seeds: tuple[int, ...]
) -> list[Labelled]:
    """Clean images and true labels of several splits with all shifts of a state, in the order of their places.

    `rng` is the generator that drew the step's samples; `seeds` makes the shifts' own generators, one per split.
    """
    for record in state.acting():
        occurred = state.occurred(record)
        if record.each_time:
            for _ in range(occurred.times):
                splits = [_shifted(record, split, occurred, rng) for split in splits]
        else:
            splits = [
                _shifted(record, split, occurred, _own_generator(record, seeds, place))
                for place, split in enumerate(splits)
            ]
    return splits


def _own_generator(record: Shift, seeds: tuple[int, ...], place: int) -> np.random.Generator:
    return np.random.default_rng([*seeds, place, zlib.crc32(record.name.encode())])


def _shifted(record: Shift, split: Labelled, occurred: Occurred, generator: Any) -> Labelled:
    """A split after one shift; raises ValueError where the shift's function gives something else than such a split."""
    images, labels = split
    assert record.apply is not None  # as of all that `acting` gives
    found = record.apply(images, labels, occurred, generator)
    new_images, new_labels = found if isinstance(found, tuple) else (found, labels)
    fits = isinstance(new_images, np.ndarray) and (new_images.dtype, new_images.shape) == (
        np.uint8,
        images.shape,
    )
    inside = (
        np.shape(new_labels) == labels.shape and np.isin(new_labels, np.arange(occurred.num_classes)).all()
    )
    if not (fits and inside):
        raise ValueError(
            f"shift {record.name!r} must give images as uint8 {images.shape}, and labels 0..{occurred.num_classes - 1} "
            f"if it changes them, found {getattr(new_images, 'dtype', type(new_images))} {np.shape(new_images)}"
        )
    return new_images, np.asarray(new_labels)


def check_needs(steps: Steps, image_shape: tuple[int, int, int]) -> None:
    """Raises ValueError for a shift that images of this shape do not allow."""
    height, width, channels = image_shape
    for t, step in enumerate(steps, start=1):
        for name in step:
            needs = SHIFTS.get(name).needs
            if "colour" in needs and channels != 3:
                raise ValueError(
                    f"shifts, step {t}: {name} needs colour images, and these have {channels} channel"
                    f"{'s' if channels > 1 else ''}"
                )
            if "square" in needs and height != width:
                raise ValueError(
                    f"shifts, step {t}: {name} needs square images, and these are {height}x{width}"
                )


def shift_identities(steps: Steps) -> dict[str, list[Any]]:
    """The identities of the shifts in a sequence that have one: those of a user's own, and later versions of ours."""
    names = {name for step in steps for name in step}
    found = {name: SHIFTS.get(name).identity for name in sorted(names)}
    return {name: identity for name, identity in found.items() if identity}

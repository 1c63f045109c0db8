"""The eight building blocks of a sequence: how each changes the data of a step and of all later steps.

A sequence is written as 'corruption:label_flip,recolor:none': ':' between steps, ',' within one. The shifts
met so far are carried along as a `ShiftState`; a step's data are made from clean images with the whole
state, always in the order noise, rotation, tint, label flips.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from seqfinal_jax.records.registry import Registry

ANGLE = 30  # degrees, counter-clockwise
TINT = 30  # pixel units
LABEL_SHIFT = 0.3  # probability that moves between classes, in units of 1/num_classes
NOISE_LOW, NOISE_HIGH = -3, 3  # upper end excluded: the published noise is lopsided, mean -0.5
NOISE_CHUNK = 512  # images per draw; any value gives the same noise

# Proportions of the five sub-classes after 0, 1, 2, 3 occurrences of `subpop`.
SUBPOP_SCHEDULE = (
    (1 / 2, 1 / 2, 0.0, 0.0, 0.0),
    (1 / 3, 1 / 3, 1 / 3, 0.0, 0.0),
    (0.0, 1 / 3, 1 / 3, 1 / 3, 0.0),
    (0.0, 0.0, 1 / 3, 1 / 3, 1 / 3),
)

Steps = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ShiftState:
    """All shifts up to one step: per-class angles (degrees), tints (pixel units), class probabilities."""

    noise_passes: int
    angles: tuple[int, ...]
    tints: tuple[tuple[int, int, int], ...]
    flips: tuple[int, ...]
    class_probs: tuple[float, ...]
    num_subclasses: int
    subpops: int = 0

    @property
    def subclass_probs(self) -> tuple[float, ...]:
        """Proportions of the sub-classes within every class; (1.0,) where there are none."""
        return SUBPOP_SCHEDULE[self.subpops] if self.num_subclasses > 1 else (1.0,)


def source_state(num_classes: int, num_subclasses: int = 1) -> ShiftState:
    """The neutral state of the source step; raises ValueError if sub-classes are not 1 (none) or 5."""
    if num_subclasses not in (1, len(SUBPOP_SCHEDULE[0])):
        raise ValueError(
            f"a class needs {len(SUBPOP_SCHEDULE[0])} sub-classes or none, found {num_subclasses}"
        )
    return ShiftState(
        noise_passes=0,
        angles=(0,) * num_classes,
        tints=((0, 0, 0),) * num_classes,
        flips=(),
        class_probs=(1 / num_classes,) * num_classes,
        num_subclasses=num_subclasses,
    )


@dataclass(frozen=True)
class Shift:
    """One building block: `advance` adds one occurrence; within one step it hides the block `hides`."""

    name: str
    advance: Callable[[ShiftState], ShiftState]
    hides: str | None = None


SHIFTS: Registry[Shift] = Registry("shift")


def _corruption(state: ShiftState) -> ShiftState:
    return replace(state, noise_passes=state.noise_passes + 1)


def _rotation(state: ShiftState) -> ShiftState:
    return replace(state, angles=tuple(angle + ANGLE for angle in state.angles))


def _rotation_cond(state: ShiftState) -> ShiftState:
    return replace(
        state, angles=tuple(a + (ANGLE if y % 2 == 0 else -ANGLE) for y, a in enumerate(state.angles))
    )


def _recolor(state: ShiftState) -> ShiftState:
    return replace(state, tints=tuple((red + TINT, green, blue) for red, green, blue in state.tints))


def _recolor_cond(state: ShiftState) -> ShiftState:
    tints = np.array(state.tints)
    classes = np.arange(len(tints))
    tints[classes, classes % 3] += TINT
    return replace(state, tints=tuple(tuple(tint) for tint in tints.tolist()))


def _label_flip(state: ShiftState) -> ShiftState:
    return replace(state, flips=(*state.flips, 1 if len(state.flips) % 2 == 0 else 2))


def _label_shift(state: ShiftState) -> ShiftState:
    moved = LABEL_SHIFT / len(state.class_probs)
    probs = tuple(p - moved if y % 2 == 0 else p + moved for y, p in enumerate(state.class_probs))
    if min(probs) < 0:
        raise ValueError("at most 3 label_shift: one more makes the probability of the even classes negative")
    return replace(state, class_probs=probs)


def _subpop(state: ShiftState) -> ShiftState:
    if state.num_subclasses == 1:
        raise ValueError("subpop needs a data set with sub-classes, such as cifar100")
    if state.subpops + 1 == len(SUBPOP_SCHEDULE):
        raise ValueError(
            f"at most {len(SUBPOP_SCHEDULE) - 1} subpop: no further set of sub-classes is defined"
        )
    return replace(state, subpops=state.subpops + 1)


for _shift in (
    Shift("corruption", _corruption),
    Shift("rotation", _rotation),
    Shift("rotation_cond", _rotation_cond, hides="rotation"),
    Shift("label_flip", _label_flip),
    Shift("label_shift", _label_shift),
    Shift("recolor", _recolor),
    Shift("recolor_cond", _recolor_cond, hides="recolor"),
    Shift("subpop", _subpop),
):
    SHIFTS.add(_shift.name, _shift)


def parse_shifts(text: str) -> Steps:
    """The shifts of each target step, for example (('corruption',), ('label_flip', 'recolor'), ()).

    A name counts once in a step; `rotation_cond` hides `rotation` and `recolor_cond` hides `recolor` (see
    `shift_notes`); `none` is a step without a new shift.

    Raises:
        ValueError: unknown name, empty step, or `none` beside another name.
    """
    return tuple(_parse_step(part, t, text) for t, part in enumerate(text.split(":"), start=1))


def _parse_step(part: str, t: int, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in part.split(",")))
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
    """What a user should know about a shift text: blocks that are hidden, flips that cancel out."""
    notes = []
    for t, part in enumerate(text.split(":"), start=1):
        names = {name.strip() for name in part.split(",")}
        hiding = {SHIFTS.get(name).hides: name for name in sorted(names) if name in SHIFTS}
        notes += [f"step {t}: {hiding[name]} hides {name}" for name in sorted(names & hiding.keys() - {None})]
    flips = 0
    for t, step in enumerate(parse_shifts(text), start=1):
        flips += "label_flip" in step
        if "label_flip" in step and flips % 4 == 0:
            notes.append(f"step {t}: {flips} label flips are the identity, so its labels are the source's")
    return tuple(notes)


def accumulate(steps: Steps, num_classes: int, num_subclasses: int = 1) -> tuple[ShiftState, ...]:
    """The state of every time step, source first; raises ValueError that names the step of a bad shift."""
    states = [source_state(num_classes, num_subclasses)]
    for t, step in enumerate(steps, start=1):
        state = states[-1]
        for name in step:
            try:
                state = SHIFTS.get(name).advance(state)
            except ValueError as error:
                raise ValueError(f"shifts, step {t} ({','.join(step)}): {error}") from None
        states.append(state)
    return tuple(states)


def add_noise(images: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """One pass of discrete noise, clipped to 0..255, on images (N, S, S, 3) uint8.

    The noise is drawn in the order (N, 3, S, S), whatever the layout of the images.
    """
    noisy = np.empty_like(images)
    for start in range(0, len(images), NOISE_CHUNK):
        chunk = images[start : start + NOISE_CHUNK]
        count, height, width, channels = chunk.shape
        noise = rng.randint(NOISE_LOW, NOISE_HIGH, size=(count, channels, height, width))
        moved = chunk + noise.astype(np.int16).transpose(0, 2, 3, 1)
        noisy[start : start + NOISE_CHUNK] = moved.clip(0, 255)
    return noisy


def rotation_table(angle: float, size: int) -> np.ndarray:
    """For each pixel of a (size, size) image the flat index of its source pixel, or size*size for outside.

    Nearest neighbour about the centre, counter-clockwise as displayed.
    """
    theta = np.deg2rad(angle)
    centre = (size - 1) / 2
    y, x = np.mgrid[:size, :size] - centre
    row = np.sin(theta) * x + np.cos(theta) * y + centre
    col = np.cos(theta) * x - np.sin(theta) * y + centre
    # rounded twice so that coordinates on a tie (odd sizes only) do not hang on the last bit of the sine
    row, col = (np.rint(np.round(coordinate, 9)).astype(np.int64) for coordinate in (row, col))
    inside = (row >= 0) & (row < size) & (col >= 0) & (col < size)
    return np.where(inside, row * size + col, size * size).ravel()


def rotate(images: np.ndarray, angle: float) -> np.ndarray:
    """Images (N, S, S, 3) rotated by `angle` degrees; pixels from outside are 0."""
    count, size, _, channels = images.shape
    table = rotation_table(angle, size)
    outside = table == size * size
    flat = images.reshape(count, size * size, channels)
    turned = flat.take(np.where(outside, 0, table), axis=1)
    turned[:, outside] = 0
    return turned.reshape(images.shape)


def rotate_classes(images: np.ndarray, labels: np.ndarray, angles: tuple[int, ...]) -> np.ndarray:
    """Each image rotated by the angle of its label; classes of angle 0 are left as they are."""
    per_image = np.array(angles)[labels]
    turned = images.copy()
    for angle in sorted(set(angles) - {0}):
        chosen = per_image == angle
        turned[chosen] = rotate(images[chosen], angle)
    return turned


def tint_classes(
    images: np.ndarray, labels: np.ndarray, tints: tuple[tuple[int, int, int], ...]
) -> np.ndarray:
    """The tint of its label added to each image, clipped to 0..255."""
    per_image = np.array(tints, np.int16)[labels]
    return (images + per_image[:, None, None, :]).clip(0, 255).astype(np.uint8)


def flip_labels(labels: np.ndarray, flips: tuple[int, ...], num_classes: int) -> np.ndarray:
    """Labels after the flips in order: flip 1 is y -> C-1-y, flip 2 is y -> (y+2) mod C."""
    for flip in flips:
        labels = num_classes - 1 - labels if flip == 1 else (labels + 2) % num_classes
    return labels.astype(np.int32)


def add_noise_to_splits(
    splits: list[np.ndarray], passes: int, rng: np.random.RandomState
) -> list[np.ndarray]:
    """Each pass adds fresh noise to every split in turn, so one generator gives the published draws."""
    for _ in range(passes):
        splits = [add_noise(images, rng) for images in splits]
    return splits


def apply_shifts(images: np.ndarray, labels: np.ndarray, state: ShiftState) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, S, S, 3) uint8 after noise, and true labels (N,), rotated, tinted and flipped.

    Rotation and tint go by the true label; the labels returned are int32 (N,).
    """
    if any(state.angles):
        images = rotate_classes(images, labels, state.angles)
    if any(map(any, state.tints)):
        images = tint_classes(images, labels, state.tints)
    return images, flip_labels(labels, state.flips, len(state.class_probs))

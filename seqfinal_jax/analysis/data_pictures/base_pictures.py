"""Pictures of a base data set: one image under repeated shifts, and an image of every sub-class."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from seqfinal_jax.analysis.data_pictures.panels import image_grid
from seqfinal_jax.analysis.plain_text import drawable
from seqfinal_jax.data.base.cifar_names import SUPERCLASSES
from seqfinal_jax.data.base.sources import Source
from seqfinal_jax.data.shifts.shift import ShiftState, apply_shifts, check_needs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPEATED = ("corruption", "rotation", "recolor")
TIMES = 5  # columns: no shift, then once to four times
NOISE_SEED = 1007
IMAGES = (1, 2)  # of the training images, as in the paper
SUPER_CLASSES_A_PICTURE = 10


def repeated_shifts(source: Source) -> "Figure":
    """Two training images with corruption, rotation and recolouring, none to four times (the paper's figure 2).

    The noise of a repeated corruption is one draw that is added again and again, as in the published figure; in a
    sequence it is drawn again, so that it grows more slowly. Shifts that these images do not allow are left out.
    """
    images = source.train_images[list(IMAGES)]
    labels = source.train_labels[list(IMAGES)]
    rows, names = [], []
    for name in REPEATED:
        try:
            check_needs(((name,),), source.image_shape)
        except ValueError:
            continue
        repeated = [_shifted(name, times, images, labels, source.num_classes) for times in range(TIMES)]
        for place in range(len(images)):
            rows.append([each[place] for each in repeated])
            names.append(f"{name.replace('_', ' ')}\nexample {place + 1}")
    return image_grid(rows, names, ["no shift", "once", *(f"{times} times" for times in range(2, TIMES))])


def _shifted(name: str, times: int, images: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    if name == "corruption":
        return constant_noise(images, times)
    state = ShiftState({name: times}, (1 / classes,) * classes)
    return apply_shifts([(images, labels)], state, np.random.RandomState(NOISE_SEED), (NOISE_SEED,))[0][0]


def constant_noise(images: np.ndarray, times: int) -> np.ndarray:
    """The noise of one draw, -3 to 2 drawn with the channels first, added so many times and clipped each time."""
    count, height, width, channels = images.shape
    drawn = np.random.RandomState(NOISE_SEED).randint(-3, 3, (count, channels, height, width))
    noise, shifted = np.moveaxis(drawn, 1, -1), images.astype(np.int64)
    for _ in range(times):
        shifted = np.clip(shifted + noise, 0, 255)
    return shifted.astype(np.uint8)


def subclass_pictures(source: Source) -> list["Figure"]:
    """The first training image of each sub-class, a class per row, ten per figure (the paper's figures 3 and 4)."""
    figures = []
    for first in range(0, source.num_classes, SUPER_CLASSES_A_PICTURE):
        labels = range(first, min(first + SUPER_CLASSES_A_PICTURE, source.num_classes))
        images = [[_first_of(source, label, j) for j in range(source.num_subclasses)] for label in labels]
        all_names = drawable(source.class_names, "class")
        names = [all_names[label] for label in labels]
        titles = [[fine_name(name, j) for j in range(source.num_subclasses)] for name in names]
        rows = ["\n".join(textwrap.wrap(name.replace("_", " "), 16)) for name in names]
        figures.append(image_grid(images, rows, titles=titles))
    return figures


def _first_of(source: Source, label: int, subclass: int) -> np.ndarray | None:
    rows = np.flatnonzero((source.train_labels == label) & (source.train_subclass == subclass))
    return source.train_images[rows[0]] if len(rows) else None


def fine_name(class_name: str, subclass: int) -> str:
    """The name of a fine class of CIFAR-100; the number of the sub-class for other data."""
    names = SUPERCLASSES.get(class_name)
    if names is None:
        return str(subclass)
    return names[subclass].removesuffix("_tree").replace("_", " ").replace("sweet ", "")

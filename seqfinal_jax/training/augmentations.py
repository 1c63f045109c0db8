"""Augmentations: random changes of training images inside the compiled step, one record for each.

@augmentation("dim")
def dim(images, key):
    factor = jax.random.uniform(key, (len(images), 1, 1, 1), minval=0.7)
    return (images * factor).astype(images.dtype)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.records.code_identity import defined_in
from seqfinal_jax.records.plugins import defined_at
from seqfinal_jax.records.registry import Registry

Change = Callable[[Array, Array], Array]
CROP_SHARE = 8  # a crop moves an image by up to an eighth of its size, as 4 of 32 pixels
STREAM = 0x61756773  # folded into the key of an update: the draws of dropout stay as they are without an augmentation


@dataclass(frozen=True)
class Augmentation:
    """A random change of training images; static, so that equal ones share compiled programs.

    change: from stored pixels (n,h,w,c) and a random key to pixels of the same shape and dtype.
    mirrors: it may mirror an image, which not every data set allows.
    """

    id: str
    change: Change
    mirrors: bool = False

    def __call__(self, images: Array, key: Array) -> Array:
        """The images of a minibatch, changed; `key` is the update's."""
        return self.change(images, jax.random.fold_in(key, STREAM))

    def check(self, image_shape: Sequence[int]) -> None:
        """Raises ValueError where it gives images (h,w,c) another shape or dtype."""
        images = jax.ShapeDtypeStruct((2, *image_shape), jnp.uint8)
        found: Any = jax.eval_shape(self, images, jax.random.key(0))
        if (getattr(found, "shape", None), getattr(found, "dtype", None)) != (images.shape, images.dtype):
            raise ValueError(
                f"{defined_at(self.change)}augmentation {self.id!r} must keep the shape and the dtype of images, uint8 "
                f"{images.shape}; found {getattr(found, 'dtype', type(found).__name__)} {getattr(found, 'shape', '')}"
            )


def reached(objective: Any) -> Callable[[Any, Any], Any]:
    """The loss of an objective with an augmentation.

    Raises ValueError when it is traced and does not use the augmentation, which would then be without effect.
    """
    used: list[bool] = []

    def change(images: Array, key: Array) -> Array:
        used.append(True)
        return objective.augmentation.change(images, key)

    watched = replace(objective, augmentation=replace(objective.augmentation, change=change))

    def loss(params: Any, context: Any) -> Any:
        found = watched.loss(params, context)
        if not used:
            raise ValueError(
                f"{defined_at(type(objective).loss)}{type(objective).__name__} makes its training inputs without the "
                f"augmentation {objective.augmentation.id!r}; take them from self.training_inputs(context, dtype)"
            )
        return found

    return loss


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation")


def augmentation(id: str, *, mirrors: bool = False) -> Callable[[Change], Change]:
    """Registers the function below it for `config.training.augmentation`; see `Augmentation`.

    Raises ValueError when the id is taken.
    """

    def register(change: Change) -> Change:
        AUGMENTATIONS.add(id, Augmentation(id, change, mirrors), origin=defined_in(change))
        return change

    return register


@augmentation("crop")
def crop(images: Array, key: Array) -> Array:
    """Crops of the image size from the image with a black margin of an eighth of it (He et al. 2016, section 4.2)."""
    margin = max(1, images.shape[1] // CROP_SHARE)
    padded = jnp.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * margin + 1)
    cut = jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, (*corner, 0), images.shape[1:]))
    return cut(padded, corners)


@augmentation("flip", mirrors=True)
def flip(images: Array, key: Array) -> Array:
    """Mirrors half of the images, left to right."""
    chosen = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
    return jnp.where(chosen, images[:, :, ::-1], images)


@augmentation("crop_flip", mirrors=True)
def crop_flip(images: Array, key: Array) -> Array:
    """A crop, then a flip."""
    first, second = jax.random.split(key)
    return flip(crop(images, first), second)

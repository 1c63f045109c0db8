"""Augmentations of one's own: a crop whose margin repeats the border, and pixels that are left out."""

import jax
import jax.numpy as jnp

from seqfinal_jax.training.augmentations import augmentation

MARGIN = 4


@augmentation("my_crop")
def my_crop(images, key):
    """Crops from the image with a margin of four pixels that repeat its border."""
    padded = jnp.pad(images, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * MARGIN + 1)
    cut = jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, (*corner, 0), images.shape[1:]))
    return cut(padded, corners)


@augmentation("my_crop_and_cutout")
def my_crop_and_cutout(images, key):
    """A crop, then a black square of about a quarter of the height (DeVries and Taylor 2017, arXiv 1708.04552)."""
    first, second = jax.random.split(key)
    count, height, width, _ = images.shape
    centres = jax.random.randint(
        second, (count, 2, 1, 1, 1), 0, jnp.array([height, width])[:, None, None, None]
    )
    rows, columns = jnp.arange(height)[:, None, None], jnp.arange(width)[None, :, None]
    apart = jnp.maximum(abs(rows - centres[:, 0]), abs(columns - centres[:, 1]))
    return jnp.where(apart < height // 8, 0, my_crop(images, first)).astype(images.dtype)

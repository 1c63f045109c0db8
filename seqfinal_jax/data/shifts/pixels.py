"""What shifts do to pixels and labels: noise, rotation, tint, flips; bit for bit as published."""

import numpy as np

NOISE_LOW, NOISE_HIGH = -3, 3  # upper end excluded: the published noise is lopsided, mean -0.5
NOISE_CHUNK = 512  # images per draw; any value gives the same noise


def add_noise(images: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """One pass of discrete noise, clipped to 0..255, on images (N, h, w, c) uint8.

    The noise is drawn in the order (N, c, h, w), whatever the layout of the images.
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
    """Images (N, S, S, c) rotated by `angle` degrees; pixels from outside are 0."""
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

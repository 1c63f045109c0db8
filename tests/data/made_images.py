"""Small made-up folders of images for tests."""

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from configs.own_data import get_config
from seqfinal_jax.analysis.sequence_command import source_of
from seqfinal_jax.config.parse import parse


def picture(seed, height=12, width=10, channels=3):
    """Random pixels (height,width,channels) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def save(path: Path, pixels, **options) -> Path:
    """Writes an image, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    image.save(path, **options)
    return path


def own_folder(folder: Path, steps=("step1", "step2"), classes=("cat", "dog"), count=10, end=".png") -> Path:
    """STEP/CLASS/IMAGE, a bright corner for the class that moves with the step; no image occurs twice."""
    for t, step in enumerate(steps):
        for k, name in enumerate(classes):
            for i in range(count):
                pixels = picture([t, k, i, zlib.crc32(f"{folder.name}/{step}".encode())]) // 3
                pixels[4 * k : 4 * k + 4, t % 6 : t % 6 + 4] += 150
                save(folder / step / name / f"{i}{end}", pixels)
    return folder


def own_source(folder: Path, presets: str = "", **data):
    """The source of own data in a folder, with fields of `config.data`."""
    config = get_config(presets)
    config.data.update(data)
    return source_of(parse(config), str(folder))

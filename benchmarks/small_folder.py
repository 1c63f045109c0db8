"""A small folder of one's own, made of scans of digits: 402 images in four years and three classes, 32 in the last year.

    python -m benchmarks.small_folder DIR
    python -m seqfinal_jax.main --config=configs/own_data.py:quick --data_dir=DIR

Every year turns the scans by 15 degrees more. What the preset `quick` takes for some 400 images is measured with it.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

IMAGES_PER_CLASS = {2019: 50, 2020: 40, 2021: 33, 2022: 11}
CLASSES, SIDE, TURN = ("3", "5", "8"), 32, 15


def write_folder(folder: Path) -> int:
    """Writes YEAR/CLASS/NUMBER.png; returns the number of images."""
    digits, written = load_digits(), 0
    scans = {name: digits.images[digits.target == int(name)] for name in CLASSES}
    for place, (year, count) in enumerate(IMAGES_PER_CLASS.items()):
        first = sum(list(IMAGES_PER_CLASS.values())[:place])
        for name, images in scans.items():
            (folder / str(year) / name).mkdir(parents=True, exist_ok=True)
            for number, scan in enumerate(images[first : first + count]):
                grey = Image.fromarray(np.uint8(np.round(scan * 255 / 16))).resize((SIDE, SIDE))
                grey.rotate(TURN * place, Image.Resampling.BILINEAR).save(
                    folder / str(year) / name / f"{number}.png"
                )
                written += 1
    return written


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    print(f"{write_folder(folder)} images in {folder}")


if __name__ == "__main__":
    main()

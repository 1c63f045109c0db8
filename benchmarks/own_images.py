"""Seconds and memory that a folder of images takes to be read, decoded and cached.

python -m benchmarks.own_images [--count 40000]

Made-up JPEGs of 186x171 pixels in eight steps and two classes; each figure is from a process of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write_images(folder: Path, count: int) -> None:
    """Smooth random pictures, so that they are as large as photographs (about 7 kB)."""
    from PIL import Image

    random = np.random.default_rng(0)
    small = random.integers(0, 256, (64, 24, 22, 3)).astype(np.uint8)
    for i in range(count):
        place = folder / f"step{i % 8}" / "ab"[i // 8 % 2]
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(small[i % 64]).resize((171, 186), Image.Resampling.BICUBIC)
        image.save(place / f"{i}.jpg", quality=90 + i % 5)


def measure(folder: str) -> None:
    """Seconds until the source is there, and the largest memory of this process in MiB."""
    from configs.own_data import get_config
    from seqfinal_jax.analysis.sequence_command import source_of

    began = time.perf_counter()
    source = source_of(get_config(), folder)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "images": len(source.samples.labels)}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=40000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        write_images(folder, options.count)
        print(f"| {options.count} JPEGs of 186x171 | s | peak MiB |\n|---|---|---|")
        for name in ("decoded", "from the cache"):
            environment = {**os.environ, "SEQFINAL_CACHE_DIR": f"{scratch}/cache"}
            command = [sys.executable, "-m", "benchmarks.own_images", "--measure", str(folder)]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            print(f"| {name} | {found['seconds']:.1f} | {found['peak']:.0f} |")


if __name__ == "__main__":
    main()

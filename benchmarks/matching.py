"""Choosing earlier samples for the final ones: seconds and peak memory of both rules, one link each way.

python -m benchmarks.matching

Every link runs in a process of its own, so that its peak is its own; "start MiB" is the process before the link,
with the images of both steps in it.
"""

import argparse
import multiprocessing
import os
import resource
import time

import numpy as np
import scipy

from seqfinal_jax.data.matching.links import MATCHING_RULES, Samples, matching_rule


def random_step(seed: int, count: int, classes: int, kind: str) -> Samples:
    """32x32x3 images of independent pixels, or of 8x8 squares of one colour with a little noise."""
    random = np.random.RandomState(seed)
    labels = random.randint(classes, size=count)
    if kind == "noise":
        return Samples(random.randint(256, size=(count, 32, 32, 3), dtype=np.uint8), labels)
    squares = random.randint(240, size=(count, 4, 4, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    squares += random.randint(16, size=squares.shape, dtype=np.uint8)
    return Samples(squares, labels)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(how: str, seeds: tuple[int, int], counts: tuple[int, int], classes: int, kind: str) -> tuple:
    """Seconds of one link, peak memory before and after in MiB, how many different samples it chose."""
    pairs = zip(seeds, counts, strict=True)
    anchors, candidates = (random_step(seed, count, classes, kind) for seed, count in pairs)
    start, began = peak_mib(), time.perf_counter()
    link = matching_rule(how)(anchors, candidates)
    return time.perf_counter() - began, start, peak_mib(), len(np.unique(link.positions))


def in_a_process_of_its_own(*arguments) -> tuple:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--anchors", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--kind", choices=("noise", "squares"), default="noise", help="what the images show")
    options = parser.parse_args()
    counts = (options.anchors, options.candidates)
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, {os.cpu_count()} cores, {options}")
    print("| rule | anchors | candidates | seconds | start MiB | peak MiB | samples used |")
    print("|---|---|---|---|---|---|---|")
    for how in MATCHING_RULES:
        for way in (1, -1):
            sizes = counts[::way]
            seconds, start, peak, used = in_a_process_of_its_own(
                how, (0, 1)[::way], sizes, options.classes, options.kind
            )
            row = (*sizes, f"{seconds:.1f}", f"{start:.0f}", f"{peak:.0f}", used)
            print(f"| {how} | {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()

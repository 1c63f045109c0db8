"""Seconds that the programs of one fit take to compile, without a cache and from a warm one.

python -m benchmarks.compile_time [--architectures NAMES] [--precision bfloat16]

Each network is compiled in a process of its own, twice, with an empty folder as cache at first. *train* is the
training program alone: what its first call takes longer than its second, so tracing and compiling, or reading it from
JAX's cache. *cold* and *warm* are the same of all programs of a fit of one member and one epoch: random start,
training, evaluation and the keeping of the best.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import get_args

import jax

from benchmarks.engine import ARCHITECTURES, BATCH, fit_seconds, images, members, problem_of, step_clock
from seqfinal_jax.models.parts.precision import Precision
from seqfinal_jax.runs.loop import enable_compilation_cache
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.members import FitSettings


def measure(architecture: str, precision: Precision) -> dict[str, float]:
    """Seconds until this process has the training program, and until it has all programs of a fit."""
    enable_compilation_cache()
    pixels, labels = images(BATCH, BATCH)
    problem = problem_of(architecture, pixels, labels, BATCH, precision)
    with jax.default_device(
        jax.local_devices()[0]
    ):  # as in a fit: the device is part of what a program is found by
        began = time.perf_counter()
        clock = step_clock(problem, 1)
        start = time.perf_counter() - began
        train = first_less_later(clock)
        rest = first_less_later(lambda: fit_seconds(problem, members(problem)[:1], FitSettings(StopRule(1))))
    return {"train": train, "all": start + train + rest}


def first_less_later(seconds: Callable[[], float]) -> float:
    """What the first of two calls took longer than the second."""
    first, second = seconds(), seconds()
    return first - second


def in_a_process(architecture: str, precision: str, cache: str) -> dict[str, float]:
    """The same in a fresh process with this folder as cache."""
    flags = [f"--measure={architecture}", f"--precision={precision}"]
    command = [sys.executable, "-m", "benchmarks.compile_time", *flags]
    environment = {**os.environ, "SEQFINAL_CACHE_DIR": cache}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES), help="names joined by commas")
    parser.add_argument("--precision", choices=get_args(Precision), default="highest")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.precision)))
        return
    print("| network | train cold s | train warm s | cold s | warm s |\n|---|---|---|---|---|", flush=True)
    for architecture in options.architectures.split(","):
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = (in_a_process(architecture, options.precision, cache) for _ in range(2))
        cells = (cold["train"], warm["train"], cold["all"], warm["all"])
        print(f"| {architecture} | {' | '.join(f'{each:.1f}' for each in cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""How cost grows: with devices, with members, with time steps, with samples.

python -m benchmarks.scale                          # all parts; convnet-1, made-up images
python -m benchmarks.scale --parts devices,members

*devices*: a grid of two seeds on 1, 2 and 8 simulated CPU devices, in processes of their own: whether results have the
same bits, whether a program holds a collective, and the seconds (all share this machine's cores). *members*: seconds of
a fit against seeds times grid points; on a GPU all members are one program. *steps*: the stages of
`sequential_fine_tune_none` over 8 time steps of the digits: what each adds in compilation. *samples*: an epoch of 50,000
samples against one of 4,000.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from benchmarks.engine import BATCH, compiled_epoch, fit_seconds, images, members, problem_of
from benchmarks.stages import Clock, computed, one_point, quick_context
from configs.digits_rcl import get_config
from seqfinal_jax.config.parse import parse
from seqfinal_jax.methods.nodes import all_stages
from seqfinal_jax.runs.loop import build_pool
from seqfinal_jax.runs.plan import make_plan
from seqfinal_jax.training.engine.compile_clock import compile_seconds
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-", "reduce-scatter")


def settings(epochs: int, size: int) -> FitSettings:
    """One training per program on a CPU, all in one elsewhere; all devices."""
    together = {} if jax.default_backend() == "cpu" else {"vectorise": "vmap", "members_per_program": size}
    return FitSettings(StopRule(epochs, patience=epochs), devices=tuple(jax.local_devices()), **together)


def fit_on_these_devices() -> None:
    """Prints digest of all results, seconds, and collectives of the program, of this process's devices."""
    pixels, labels = images(400, 100)
    problem = problem_of("convnet-1", pixels, labels, 400)
    specs = members(problem, seeds=2)
    compiled, _ = compiled_epoch(problem, specs[:1], FitSettings())
    found = [word for word in COLLECTIVES if word in compiled.as_text()]
    fit_seconds(problem, specs, settings(1, 1))
    seconds = min(fit_seconds(problem, specs, settings(2, 1)) for _ in range(3))
    results, digest = fit(problem, specs, settings(2, 1)), hashlib.blake2b(digest_size=8)
    for leaf in jax.tree.leaves([(each.best, each.last, each.history) for each in results]):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    print(f"{digest.hexdigest()} | {seconds:.1f} | {', '.join(found) or 'none'}")


def devices() -> None:
    """One, two and eight simulated devices."""
    print("| devices | digest of 16 members' results | seconds | collectives |\n|---|---|---|---|")
    for count in (1, 2, 8):
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", "--parts", "here"],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        print(f"| {count} | {done.stdout.splitlines()[-1]} |", flush=True)


def growth() -> None:
    """Seeds times grid points."""
    pixels, labels = images(400, 100)
    problem = problem_of("convnet-1", pixels, labels, 400)
    print("| seeds | members | seconds of 3 epochs | over half as many |\n|---|---|---|---|")
    before = None
    for seeds in (1, 2, 4, 8):
        specs = members(problem, seeds)
        fit_seconds(problem, specs, settings(1, len(specs)))
        seconds = min(fit_seconds(problem, specs, settings(3, len(specs))) for _ in range(3))
        ratio = f"{seconds / before:.2f}" if before else ""
        print(f"| {seeds} | {len(specs)} | {seconds:.1f} | {ratio} |", flush=True)
        before = seconds


def steps() -> None:
    """Eight time steps of the digits, stage by stage."""
    config = get_config("")
    config.data.shifts = ":".join(["rotation"] * 7)
    config.data.source_size, config.data.target_sizes = 400, (150,) * 7
    config.methods, config.architectures, config.seeds = ("sequential_fine_tune_none",), ("convnet-1",), (0,)
    config.precision = "highest"
    plan = make_plan(parse(config))
    print("| stage | compile s | seconds, compilation included |\n|---|---|---|")
    clocks: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        context = quick_context(plan, build_pool(plan, [0]), 3, Path(folder), clocks)
        for stage in all_stages(one_point(plan.node("convnet-1", plan.methods[0]))):
            began, compiled = time.perf_counter(), compile_seconds()
            computed(context, stage, 0)
            figures = (compile_seconds() - compiled, time.perf_counter() - began)
            print(f"| {stage.label} | {' | '.join(f'{each:.2f}' for each in figures)} |", flush=True)


def samples() -> None:
    """Large time steps."""
    print("| training samples | ms per minibatch | peak MiB of the process |\n|---|---|---|")
    for size in (4_000, 50_000):
        pixels, labels = images(size, 1000)
        problem = problem_of("convnet-1", pixels, labels, size)
        clock = Clock()
        fit(problem, members(problem)[:1], settings(max(3, 60_000 // size), 1), clock)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        minibatches = size // BATCH
        print(f"| {size} | {1e3 * clock.seconds() / minibatches:.1f} | {peak:.0f} |", flush=True)


PARTS = {
    "devices": devices,
    "members": growth,
    "steps": steps,
    "samples": samples,
    "here": fit_on_these_devices,
}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--parts", default="devices,members,steps,samples", help="parts to run, joined by commas"
    )
    asked = parser.parse_args().parts.split(",")
    for name in asked:
        if name not in PARTS:
            parser.error(f"unknown part {name!r}; there are devices, members, steps, samples")
        PARTS[name]()


if __name__ == "__main__":
    main()

"""The least time that a training step can take on this machine.

python -m benchmarks.floor [--architectures NAMES]
python -m benchmarks.floor --rate 67e12 --bandwidth 3.3e12     # of another machine, from its data sheet

Operations are those of the matrix products of the shipped step (forward and backward), counted in its own program.
Bytes are what these products read and write, and eight passes over the parameters (Adam reads and writes three arrays,
gradients are written and read). Rates are measured: the best matrix product and the best copy of a large array. The
floor is the larger of operations over rate and bytes over bandwidth.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.engine import ARCHITECTURES, BATCH, images, members, problem_of, train_arguments
from seqfinal_jax.models.traced import equations
from seqfinal_jax.training.engine import programs
from seqfinal_jax.training.engine.members import FitSettings, Problem

PASSES_OVER_PARAMETERS = 8


class Work(NamedTuple):
    """Floating-point operations and bytes of a training step."""

    operations: float
    bytes: float


class Machine(NamedTuple):
    """Operations and bytes per second."""

    rate: float
    bandwidth: float

    def seconds(self, work: Work) -> float:
        """The floor."""
        return max(work.operations / self.rate, work.bytes / self.bandwidth)


def product_work(equation: Any) -> Work:
    """Operations and bytes of one matrix product."""
    left, right, out = (*equation.invars[:2], equation.outvars[0])
    depth = 1
    for axis in equation.params["dimension_numbers"][0][0]:
        depth *= left.aval.shape[axis]
    moved = sum(each.aval.size * each.aval.dtype.itemsize for each in (left, right, out))
    return Work(2.0 * out.aval.size * depth, moved)


def step_work(problem: Problem) -> Work:
    """What a training step of one member needs."""
    arguments = train_arguments(problem, members(problem)[:1], FitSettings())
    program = programs.train_epoch.trace(*arguments).jaxpr.jaxpr
    products = [product_work(e) for e in equations(program) if e.primitive.name == "dot_general"]
    params = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(arguments[1].params))
    moved = sum(product.bytes for product in products) + PASSES_OVER_PARAMETERS * params
    return Work(sum(product.operations for product in products), moved)


def best_seconds(function: Callable, *arguments: Any, repeats: int = 12) -> float:
    """The shortest of several runs of a compiled function."""
    run = jax.jit(function)
    jax.block_until_ready(run(*arguments))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        times.append(time.perf_counter() - began)
    return min(times)


def measure_machine(size: int = 2048, mebibytes: int = 256) -> Machine:
    """Rate of a square float32 product, and bandwidth of a copy (bytes read and written)."""
    x = jnp.ones((size, size))
    long = jnp.ones(mebibytes * 2**18)
    rate = 2.0 * size**3 / best_seconds(jnp.matmul, x, x)
    return Machine(rate, 2.0 * long.nbytes / best_seconds(lambda a: a + 1, long))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architectures", default=",".join(ARCHITECTURES), help="names joined by commas")
    parser.add_argument("--rate", type=float, help="float32 operations per second; default: measured")
    parser.add_argument("--bandwidth", type=float, help="bytes per second; default: measured")
    asked = parser.parse_args()
    machine = Machine(asked.rate, asked.bandwidth) if asked.rate and asked.bandwidth else measure_machine()
    print(f"float32: {machine.rate / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.1f} GB/s")
    print(
        f"one training step of a minibatch of {BATCH}\n| network | GFLOP | GB | floor ms |\n|---|---|---|---|"
    )
    pixels, labels = images(BATCH, BATCH)
    for architecture in asked.architectures.split(","):
        work = step_work(problem_of(architecture, pixels, labels, BATCH))
        cells = f"{work.operations / 1e9:.1f} | {work.bytes / 1e9:.2f} | {1e3 * machine.seconds(work):.3g}"
        print(f"| {architecture} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

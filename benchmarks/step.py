"""Training step and epoch of an 8-point grid against PyTorch, interleaved in one run; ratios, medians.

python -m benchmarks.step --architectures convnet-1,convnet-4
python -m benchmarks.step --architectures all --steps-only

"compile s" is what JAX's own clock gives for our training program of one member; tracing is not in it.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import torch_peer
from benchmarks.torch_networks import ARCHITECTURES
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.models import build_network, init_variables
from seqfinal_jax.training import programs
from seqfinal_jax.training.compile_clock import compile_seconds
from seqfinal_jax.training.early_stopping import StopRule
from seqfinal_jax.training.fit import fit
from seqfinal_jax.training.members import MemberSpec, Problem, Settings
from seqfinal_jax.training.objectives import EmpiricalRisk, InputScaling
from seqfinal_jax.training.streams import EvaluationSet, Stream, epoch_batches, shuffled

BATCH = 100
SCALING = InputScaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def images(train: int, valid: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(0)
    pixels = random.randint(256, size=(train + valid, 32, 32, 3)).astype(np.uint8)
    return pixels, random.randint(10, size=train + valid).astype(np.int32)


def jax_problem(architecture: str, pixels: np.ndarray, labels: np.ndarray, train: int) -> Problem:
    network = build_network(architecture, 10)
    stream, rest = Stream(0, np.arange(train)), np.arange(train, len(pixels))
    return Problem(
        objective=EmpiricalRisk(network, SCALING),
        data=jax.device_put({"images": pixels, "labels": labels}),
        batches=lambda seed, epoch: epoch_batches([stream], shuffled(seed, "final"), epoch, BATCH),
        evaluation=lambda seed: {"valid": EvaluationSet(0, rest)},
        start=lambda member: init_variables(network, jax.random.key(member.seed)),
        role="final",
    )


def members(problem: Problem) -> list[MemberSpec]:
    groups = dict.fromkeys(problem.objective.network.group_names, 1)
    return [MemberSpec(0, point, groups, group=0) for point in Grid().points()]


def engine_epoch_seconds(problem: Problem) -> float:
    """Seconds of one epoch of every member through the shipped engine, without epoch 0 and set-up."""
    marks: list[float] = []
    fit(
        problem,
        members(problem),
        Settings(StopRule(3, patience=9)),
        lambda chunk, specs: marks.append(time.perf_counter()),
    )
    return sum(b - a for i, (a, b) in enumerate(itertools.pairwise(marks)) if (i + 1) % 3) / 2


def engine_step(problem: Problem, steps: int) -> tuple[Callable[[], float], float]:
    """A function that runs `steps` training steps of one member in the shipped program and gives seconds a step,
    and the seconds that compiling the program took."""
    from seqfinal_jax.training import fit as engine
    from seqfinal_jax.training.members import Fit

    spec = members(problem)[:1]
    device = jax.devices()[0]
    chunk = engine._start_chunk(Fit(problem, spec, Settings(), results=[None]), np.arange(1), device)
    batches = engine._stack_batches([problem.batches(0, 1)])
    state = [chunk.state]

    def run() -> float:
        began = time.perf_counter()
        state[0], sums, _ = programs.train_epoch(
            problem.objective, "map", state[0], chunk.members, problem.data, chunk.constants, batches,
            jnp.int32(steps), jnp.int32(1),
        )  # fmt: skip
        jax.block_until_ready(sums)
        return (time.perf_counter() - began) / steps

    before = compile_seconds()
    run()
    return run, compile_seconds() - before


def torch_parts(pixels: np.ndarray, labels: np.ndarray, train: int) -> tuple[tuple, tuple]:
    """The training and the validation set as PyTorch's tensors."""
    scaled = ((pixels / 255 - SCALING.mean) / SCALING.std).astype(np.float32)
    x = torch.from_numpy(scaled).permute(0, 3, 1, 2).contiguous()
    y = torch.from_numpy(labels.astype(np.int64))
    return (x[:train], y[:train]), (x[train:], y[train:])


def compare(architecture: str, options: argparse.Namespace) -> dict[str, float]:
    """Medians of every figure; one repeat measures all of them, ours and theirs in turn."""
    pixels, labels = images(options.train, options.valid)
    problem = jax_problem(architecture, pixels, labels, options.train)
    parts = torch_parts(pixels, labels, options.train)
    points = Grid().points()[: 1 if options.steps_only else None]
    trainers = [
        torch_peer.Trainer(architecture, 10, p["learning_rate"], p["weight_decay"], p["dropout"])
        for p in points
    ]
    steps = min(options.steps, options.train // BATCH)
    ours, compiling = engine_step(problem, steps)
    torch_peer.step_seconds(trainers[0], parts[0], BATCH, 3)
    figures: dict[str, Callable[[], float]] = {
        "step": ours,
        "torch step": lambda: torch_peer.step_seconds(trainers[0], parts[0], BATCH, steps),
    }
    if not options.steps_only:
        fit(problem, members(problem)[:1], Settings(StopRule(1)))
        figures |= {
            "grid": lambda: engine_epoch_seconds(problem),
            "torch lean": lambda: torch_peer.grid_epoch_seconds(trainers, *parts, BATCH, False),
            "torch published": lambda: torch_peer.grid_epoch_seconds(trainers, *parts, BATCH, True),
        }
    found = [{name: seconds() for name, seconds in figures.items()} for _ in range(options.repeats)]
    return {name: statistics.median(each[name] for each in found) for name in figures} | {
        "compile": compiling
    }


def row(architecture: str, m: dict[str, float]) -> str:
    """A line of the table."""
    cells = [
        architecture,
        f"{1e3 * m['step']:.1f}",
        f"{1e3 * m['torch step']:.1f}",
        f"{m['step'] / m['torch step']:.2f}",
        f"{m['compile']:.1f}",
    ]
    if "grid" in m:
        cells += [
            f"{m['grid']:.2f}",
            f"{m['grid'] / m['torch lean']:.2f}",
            f"{m['grid'] / m['torch published']:.2f}",
        ]
    return f"| {' | '.join(cells)} |"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--architectures", default="convnet-1,convnet-4", help="names joined by commas, or all"
    )
    parser.add_argument("--train", type=int, default=3200, help="training samples")
    parser.add_argument("--valid", type=int, default=800, help="validation samples")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="steps a repeat, at most an epoch")
    parser.add_argument("--steps-only", action="store_true", help="leave the epochs of the grid out")
    options = parser.parse_args()
    all_of_them = options.architectures == "all"
    options.architectures = list(ARCHITECTURES) if all_of_them else options.architectures.split(",")
    unknown = [name for name in options.architectures if name not in ARCHITECTURES]
    if unknown:
        parser.error(f"unknown architecture {unknown[0]!r}; there are {', '.join(ARCHITECTURES)}")
    if options.train < BATCH or options.valid < 1:
        parser.error(f"--train must be at least a minibatch, {BATCH}, and --valid at least 1")
    return options


def main() -> None:
    options = parse_options()
    versions = f"jax {jax.__version__}, torch {torch.__version__}"
    print(f"{versions}, {jax.default_backend()}, {os.cpu_count()} cores, medians of {options.repeats}")
    header = ["network", "step ms", "torch step ms", "ratio", "compile s"]
    header += [] if options.steps_only else ["grid epoch s", "over lean", "over published"]
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|", flush=True)
    for architecture in options.architectures:
        print(row(architecture, compare(architecture, options)), flush=True)


if __name__ == "__main__":
    main()

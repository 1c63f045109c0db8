"""Training step and epoch of an 8-point grid against PyTorch, interleaved in one run; ratios, medians.

python -m benchmarks.step --architectures convnet-1,convnet-4
"""

import argparse
import itertools
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import torch_peer
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.models import build_network, init_variables
from seqfinal_jax.training import programs
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


def engine_step(problem: Problem, steps: int):
    """A function that runs `steps` training steps of one member in the shipped program; (seconds a step)."""
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

    run()
    return run


def compare(architecture: str, train: int, valid: int, repeats: int) -> dict[str, float]:
    pixels, labels = images(train, valid)
    problem = jax_problem(architecture, pixels, labels, train)
    x = (
        torch.from_numpy(((pixels / 255 - SCALING.mean) / SCALING.std).astype(np.float32))
        .permute(0, 3, 1, 2)
        .contiguous()
    )
    y = torch.from_numpy(labels.astype(np.int64))
    parts = (x[:train], y[:train]), (x[train:], y[train:])
    blocks = int(architecture.split("-")[1])
    trainers = [
        torch_peer.Trainer(blocks, 10, p["learning_rate"], p["weight_decay"], p["dropout"])
        for p in Grid().points()
    ]
    steps = min(20, train // BATCH)
    ours = engine_step(problem, steps)
    torch_peer.step_seconds(trainers[0], parts[0], BATCH, 3)
    fit(problem, members(problem)[:1], Settings(StopRule(1)))
    found: dict[str, list[float]] = {
        name: [] for name in ("step", "torch step", "grid", "torch lean", "torch published")
    }
    for _ in range(repeats):
        found["step"].append(ours())
        found["torch step"].append(torch_peer.step_seconds(trainers[0], parts[0], BATCH, steps))
        found["grid"].append(engine_epoch_seconds(problem))
        found["torch lean"].append(torch_peer.grid_epoch_seconds(trainers, *parts, BATCH, False))
        found["torch published"].append(torch_peer.grid_epoch_seconds(trainers, *parts, BATCH, True))
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", default="convnet-1,convnet-4")
    parser.add_argument("--train", type=int, default=3200, help="training samples")
    parser.add_argument("--valid", type=int, default=800, help="validation samples")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(
        f"jax {jax.__version__}, torch {torch.__version__}, {jax.default_backend()}, {os.cpu_count()} cores, medians"
    )
    print("| network | step ms | torch step ms | ratio | grid epoch s | over lean | over published |")
    print("|---|---|---|---|---|---|---|")
    for architecture in options.architectures.split(","):
        m = compare(architecture, options.train, options.valid, options.repeats)
        print(
            f"| {architecture} | {1e3 * m['step']:.1f} | {1e3 * m['torch step']:.1f} | {m['step'] / m['torch step']:.2f} "
            f"| {m['grid']:.2f} | {m['grid'] / m['torch lean']:.2f} | {m['grid'] / m['torch published']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

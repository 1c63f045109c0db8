"""The shipped engine on made-up images of CIFAR's size: what the benchmarks of training measure. No command."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.models import build_network
from seqfinal_jax.models.network import init_variables
from seqfinal_jax.models.parts.precision import Precision
from seqfinal_jax.training.engine import fit as engine
from seqfinal_jax.training.engine import programs
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.members import Fit, FitSettings, MemberSpec, Problem
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, epoch_batches, shuffled
from seqfinal_jax.training.objectives.risk import EmpiricalRisk, InputScaling

jax.config.update("jax_default_matmul_precision", "highest")  # of all that is not a layer's product
BATCH = 100
SCALING = InputScaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
ARCHITECTURES = tuple(f"{family}-{b}" for family in ("convnet", "resnet", "densenet") for b in (1, 2, 3, 4))


def images(train: int, valid: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels (n,32,32,3) uint8 and labels of ten classes."""
    random = np.random.RandomState(0)
    pixels = random.randint(256, size=(train + valid, 32, 32, 3)).astype(np.uint8)
    return pixels, random.randint(10, size=train + valid).astype(np.int32)


def problem_of(
    architecture: str, pixels: np.ndarray, labels: np.ndarray, train: int, precision: Precision = "highest"
) -> Problem:
    """Empirical risk on the first `train` images; the others select."""
    network = build_network(architecture, 10, precision=precision)
    stream, rest = Stream(0, np.arange(train)), np.arange(train, len(pixels))
    return Problem(
        objective=EmpiricalRisk(network=network, scaling=SCALING),
        data=jax.device_put({"images": pixels, "labels": labels}, jax.local_devices()[0]),
        batches=lambda seed, epoch: epoch_batches([stream], shuffled(seed, "final"), epoch, BATCH),
        evaluation=lambda seed: {"valid": EvaluationSet(0, rest)},
        start=lambda member: init_variables(network, jax.random.key(member.seed)),
        role="final",
    )


def members(problem: Problem, seeds: int = 1) -> list[MemberSpec]:
    """The 8-point grid of every seed."""
    groups = dict.fromkeys(problem.objective.network.group_names, 1)
    return [MemberSpec(seed, point, groups, group=seed) for seed in range(seeds) for point in Grid().points()]


def train_arguments(problem: Problem, specs: list[MemberSpec], settings: FitSettings) -> tuple[Any, ...]:
    """What `programs.train_epoch` takes, for members in one program and an epoch of one minibatch."""
    run = Fit(problem, specs, settings, results=[None] * len(specs))
    chunk = engine._start_chunk(run, np.arange(len(specs)), jax.devices()[0])
    batches = engine._stack_batches([problem.batches(seed, 1) for seed in chunk.seeds])
    one, allowed = jnp.int32(1), jnp.int32(settings.rule.max_epochs)
    epoch = programs.Epoch(problem.data, chunk.constants, batches, one, one, allowed)
    return run.program, chunk.state, chunk.members, epoch


def some_members(problem: Problem, count: int) -> tuple[list[MemberSpec], FitSettings]:
    """So many members in one program: one as on a CPU, several as on a GPU."""
    specs = members(problem, seeds=-(-count // 8))[:count]
    return specs, FitSettings(vectorise="map" if count == 1 else "vmap", members_per_program=count)


def step_clock(problem: Problem, steps: int, together: int = 1) -> Callable[[], float]:
    """Runs `steps` training steps of so many members in the shipped program; seconds per member's step."""
    program, state, specs, epoch = train_arguments(problem, *some_members(problem, together))
    held, epoch = [state], epoch._replace(count=jnp.int32(steps))

    def run() -> float:
        began = time.perf_counter()
        held[0], sums, _ = programs.train_epoch(program, held[0], specs, epoch)
        jax.block_until_ready(sums)
        return (time.perf_counter() - began) / (steps * together)

    return run


def compiled_epoch(problem: Problem, specs: list[MemberSpec], settings: FitSettings) -> tuple[Any, float]:
    """The compiled training program, and the seconds that tracing and compiling it took."""
    arguments = train_arguments(problem, specs, settings)
    began = time.perf_counter()
    compiled = programs.train_epoch.lower(*arguments).compile()
    return compiled, time.perf_counter() - began


def memory_mib(compiled: Any) -> float:
    """MiB that a program needs: arguments, results that are no arguments, working space."""
    use = compiled.memory_analysis()
    held = use.argument_size_in_bytes + use.output_size_in_bytes - use.alias_size_in_bytes
    return (held + use.temp_size_in_bytes) / 2**20


def fit_seconds(problem: Problem, specs: list[MemberSpec], settings: FitSettings) -> float:
    """Seconds of a fit, start and first evaluation included."""
    began = time.perf_counter()
    engine.fit(problem, specs, settings)
    return time.perf_counter() - began


def grid_epoch_seconds(problem: Problem) -> float:
    """Seconds of one epoch of every member, without epoch 0 and set-up."""
    marks: list[float] = []
    settings = FitSettings(StopRule(3, patience=9))
    engine.fit(problem, members(problem), settings, lambda chunk, specs: marks.append(time.perf_counter()))
    return sum(b - a for i, (a, b) in enumerate(itertools.pairwise(marks)) if (i + 1) % 3) / 2

"""How many trainings a run needs, and how long they take at most."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp

from seqfinal_jax.data.matching.links import MATCHING_RULES
from seqfinal_jax.methods.nodes import Stage
from seqfinal_jax.methods.stages.network import stage_network, stage_rule
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import AnyNetwork, Network
from seqfinal_jax.models.parts.precision import Precision, units
from seqfinal_jax.results.store import Store
from seqfinal_jax.runs.graph import Task, is_stored, pending, tasks
from seqfinal_jax.runs.plan import Plan
from seqfinal_jax.training.engine.halving import most_epochs

# What is reckoned with beside floating-point operations; measured on 2 cores of an AMD EPYC (docs/performance.md).
# Of the rate of large products, that training reaches on a CPU.
EFFICIENCY: dict[Precision, float] = {"highest": 0.75, "bfloat16": 0.5}
STEP = 1e8  # operations as long as what a training step on a CPU takes whatever its size: 0.7 ms there
# Seconds for each training, and for the start of a run, its figures and its report.
TRAINING, RUN = 0.1, 8.0
# Seconds for compiling the programs of a kind of stage with an empty cache, and more for every tensor of its network.
COMPILING, TENSOR = 3.0, 0.11
ACCELERATOR = {"gpu": 5e12, "tpu": 5e12}  # operations per second of a device: a cautious guess
PRODUCT = (6400, 576, 512)  # rows, depth and columns of the product that a CPU is timed with


@dataclass(frozen=True)
class Estimate:
    """Trainings still to do; their epochs if none stops early, the operations of these, and seconds on this machine."""

    fits: int
    epochs: int
    operations: float
    seconds: float


@lru_cache(maxsize=64)
def forward_operations(network: AnyNetwork, step: int = 0) -> float:
    """Floating-point operations of one sample's forward pass (at a time step), by XLA's own count."""
    batch = 8
    x = jax.ShapeDtypeStruct((batch, *network.base.config.image_shape), jnp.float32)
    logits = jax.jit(lambda variables, x: network.apply(variables, x, step=step)[0])
    return float(logits.lower(network.shapes, x).cost_analysis()["flops"]) / batch


@lru_cache(maxsize=2)
def processor_rate(precision: Precision = "highest") -> float:
    """Operations per second of training on this CPU under its present load, from the best of five products."""
    rows, depth, columns = PRODUCT
    low = precision == "bfloat16" and bool(units())
    product = jax.jit(partial(jnp.matmul, precision="highest", preferred_element_type=jnp.float32))
    kind = jnp.bfloat16 if low else jnp.float32
    factors = jnp.ones((rows, depth), kind), jnp.ones((depth, columns), kind)
    product(*factors).block_until_ready()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        product(*factors).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return EFFICIENCY["bfloat16" if low else "highest"] * 2 * rows * depth * columns / min(seconds)


def rate(precision: Precision) -> float:
    """Operations per second of training that this process can expect."""
    backend = jax.default_backend()
    if backend == "cpu":
        return processor_rate(precision)
    return ACCELERATOR.get(backend, ACCELERATOR["gpu"]) * len(jax.local_devices())


def estimate_run(plan: Plan, workdir: Path) -> Estimate:
    """What is left to train of a run."""
    stored = partial(is_stored, store=Store(workdir))
    return estimate(plan, pending(tasks(plan, plan.cells()), stored))


def estimate(plan: Plan, left: Sequence[Task]) -> Estimate:
    """What training these tasks takes at most."""
    stages = [task for task in left if not task.method and isinstance(task.node, Stage)]
    fits = sum(_members(plan, task) for task in stages)
    epochs = sum(_most_epochs(task.node, plan.training, _members(plan, task)) for task in stages)
    kinds = {(t.architecture, t.node.form, type(t.node.objective), t.node.layers) for t in stages}
    compiling = sum(COMPILING + TENSOR * _tensors(plan.networks[kind[0]]) for kind in kinds)
    work = operations(plan, stages)
    besides = TRAINING * fits + compiling + RUN if fits else 0.0
    return Estimate(fits, epochs, work, besides + (work / rate(plan.training.precision) if fits else 0.0))


def operations(plan: Plan, left: Iterable[Task]) -> float:
    """Floating-point operations of the stages among these tasks, if no training stops early."""
    found: dict[str, float] = {}
    total = 0.0
    for task in left:
        if not task.method and isinstance(task.node, Stage):
            if task.key not in found:
                epochs = _most_epochs(task.node, plan.training, _members(plan, task))
                found[task.key] = epochs * _epoch_work(plan, task.node, plan.networks[task.architecture])
            total += found[task.key]
    return total


def _members(plan: Plan, task: Task) -> int:
    """The trainings of a stage's task."""
    return task.node.num_members(len(plan.networks[task.architecture].group_names))


@lru_cache(maxsize=64)
def _tensors(network: Network) -> int:
    """Parameter tensors of a network."""
    return len(jax.tree.leaves(network.shapes["params"]))


def _epoch_work(plan: Plan, stage: Stage, network: Network) -> float:
    """Operations of an epoch, and as many more as pass in what each step takes besides them on a CPU."""
    batch_size = plan.training.batch_size
    besides = (
        STEP / (3 * batch_size) if jax.default_backend() == "cpu" else 0.0
    )  # a step is three passes of its samples
    return epoch_operations(plan, stage, network, batch_size, besides)


def _most_epochs(stage: Stage, training: Training, members: int) -> int:
    """Epochs of one seed's trainings that never stop early; what goes on from another stage has those before at least."""
    rule = stage_rule(stage, training)
    before = stage_rule(stage.start, training).max_epochs if stage.resume else 0
    return most_epochs(rule, members) - before


def epoch_operations(
    plan: Plan, stage: Stage, network: Network, batch_size: int, besides: float = 0.0
) -> float:
    """Floating-point operations of an epoch's training and validation passes, and `besides` for each sample's pass."""
    sizes = plan.sizes(stage.variant)
    used = sizes if stage.variant not in MATCHING_RULES else len(sizes) * sizes[-1:]

    def forward(step: int) -> float:
        if stage.objective.network_per_step:
            return besides + forward_operations(stage_network(network, stage.form), step)
        return besides + forward_operations(network)

    return stage.objective.operations(stage.train, stage.valid, used, forward, batch_size)

"""How many trainings a run needs, and how long they take at most."""

import time
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp

from seqfinal_jax.data.matching.links import MATCHING_RULES
from seqfinal_jax.methods.nodes import Stage, all_stages
from seqfinal_jax.methods.stages.fingerprint import node_fingerprint
from seqfinal_jax.methods.stages.network import stage_network, stage_rule
from seqfinal_jax.methods.stages.store import StageStore
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import AnyNetwork, Network
from seqfinal_jax.models.parts.precision import Precision, units
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
    """Counts every stage that is not stored yet, once even if several methods share it."""
    store, training, identity = StageStore(workdir), plan.training, plan.identity
    fits = epochs = 0
    operations, seen, compiled = 0.0, set(), {}
    for architecture in plan.architectures:
        network = plan.networks[architecture]
        nodes = [planned.node for (name, _), planned in plan.planned.items() if name == architecture]
        for stage in all_stages(*nodes):
            name = node_fingerprint(stage, network, training, identity)
            seeds = [seed for seed in plan.seeds if (name, seed) not in seen and not store.has(name, seed)]
            seen.update((name, seed) for seed in seeds)
            members = len(seeds) * stage.num_members(len(network.group_names))
            fits += members
            if members:
                kind = (architecture, stage.form, type(stage.objective), stage.layers)
                compiled[kind] = COMPILING + TENSOR * _tensors(network)
            most = len(seeds) * _most_epochs(stage, training, stage.num_members(len(network.group_names)))
            epochs += most
            operations += most * _epoch_work(plan, stage, network) if members else 0
    besides = TRAINING * fits + sum(compiled.values()) + RUN if fits else 0.0
    return Estimate(
        fits, epochs, operations, besides + (operations / rate(training.precision) if fits else 0.0)
    )


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

"""How many fits a run needs, and how long that may take at most."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp

from seqfinal_jax.data.matching.links import MATCHING_RULES
from seqfinal_jax.methods.nodes import Stage, all_stages
from seqfinal_jax.methods.stages.fingerprint import node_fingerprint
from seqfinal_jax.methods.stages.network import stage_network, stage_rule
from seqfinal_jax.methods.stages.store import StageStore
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import Network, Variables, apply_network, init_variables
from seqfinal_jax.models.per_step.network import StepNetwork, apply_step, init_steps
from seqfinal_jax.runs.environment import thread_pool
from seqfinal_jax.runs.plan import Plan

# Operations per second to reckon with, a CPU core or an accelerator; cautious guesses, to say how long at most.
# Seconds that compiling takes for a network, and that a training takes besides its operations.
COMPILING, BESIDES = 5.0, 0.1
RATE = {"cpu": 50e9, "gpu": 5e12, "tpu": 5e12}


@dataclass(frozen=True)
class Estimate:
    """Fits still to do; their epochs if none stops early, the floating-point operations of these, and seconds here."""

    fits: int
    epochs: int
    operations: float
    seconds: float


@lru_cache(maxsize=64)
def forward_operations(network: Network | StepNetwork, step: int = 0) -> float:
    """Floating-point operations of one sample's forward pass (at a time step), by XLA's own count."""
    many = isinstance(network, StepNetwork)
    config, batch = (network.base if many else network).config, 8
    init = init_steps if many else init_variables
    variables = jax.eval_shape(lambda key: init(network, key), jax.random.key(0))
    x = jax.ShapeDtypeStruct((batch, *config.image_shape), jnp.float32)

    def logits(variables: Variables, x: jax.Array) -> jax.Array:
        return (apply_step(network, variables, step, x) if many else apply_network(network, variables, x))[0]

    return float(jax.jit(logits).lower(variables, x).cost_analysis()["flops"]) / batch


def estimate_run(plan: Plan, workdir: Path) -> Estimate:
    """Counts every stage that is not stored yet once, whichever methods share it."""
    store, training, identity = StageStore(workdir), plan.training, plan.identity
    fits = epochs = 0
    operations, seen = 0.0, set()
    rate = RATE.get(jax.default_backend(), RATE["gpu"])
    rate *= thread_pool() if jax.default_backend() == "cpu" else len(jax.local_devices())
    for architecture in plan.architectures:
        network = plan.networks[architecture]
        nodes = [planned.node for (name, _), planned in plan.planned.items() if name == architecture]
        for stage in all_stages(*nodes):
            name = node_fingerprint(stage, network, training, identity)
            seeds = [seed for seed in plan.seeds if (name, seed) not in seen and not store.has(name, seed)]
            seen.update((name, seed) for seed in seeds)
            members = len(seeds) * stage.num_members(len(network.group_names))
            fits += members
            most = members * _most_epochs(stage, training)
            epochs += most
            operations += most * epoch_operations(plan, stage, network, training.batch_size) if members else 0
    besides = BESIDES * fits + (COMPILING * len(plan.architectures) if fits else 0.0)
    return Estimate(fits, epochs, operations, operations / rate + besides)


def _most_epochs(stage: Stage, training: Training) -> int:
    """Epochs of a member that never stops early; one that goes on from another stage has those before at least."""
    own = stage_rule(stage, training).max_epochs
    return own - stage_rule(stage.start, training).max_epochs if stage.resume else own


def epoch_operations(plan: Plan, stage: Stage, network: Network, batch_size: int) -> float:
    """Floating-point operations of the training and validation passes of an epoch."""
    sizes = plan.sizes(stage.variant)
    used = sizes if stage.variant not in MATCHING_RULES else len(sizes) * sizes[-1:]

    def forward(step: int) -> float:
        if stage.objective.network_per_step:
            return forward_operations(stage_network(network, stage.form), step)
        return forward_operations(network)

    return stage.objective.operations(stage.train, stage.valid, used, forward, batch_size)

"""How many fits a run needs, and how long that may take at most."""

import os
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from seqfinal_jax.methods.fingerprint import node_fingerprint
from seqfinal_jax.methods.recipe import Stage, all_stages
from seqfinal_jax.methods.store import StageStore
from seqfinal_jax.models.network import Network, apply_network, init_variables
from seqfinal_jax.models.per_step import StepNetwork, init_steps
from seqfinal_jax.plan import Plan, make_training

# Operations per second to reckon with, a CPU core or an accelerator; cautious guesses, to say how long at most.
RATE = {"cpu": 50e9, "gpu": 5e12, "tpu": 5e12}
TRAIN_OVER_FORWARD = 3.0


@dataclass(frozen=True)
class Estimate:
    """Fits still to do, their epochs if none stops early, and the seconds that would take."""

    fits: int
    epochs: int
    seconds: float


def network_bytes(network: Network | StepNetwork) -> tuple[int, int]:
    """Bytes of a network's variables, and of one sample's activations and patches (float32).

    Of a per-step network all steps' variables, and the activations of as many plain networks as there are steps: side
    modules run beside the layers that they add to.
    """
    if isinstance(network, StepNetwork):
        variables = jax.eval_shape(lambda key: init_steps(network, key), jax.random.key(0))
        activations = network.num_steps * network_bytes(network.base)[1]
        return 4 * sum(leaf.size for leaf in jax.tree.leaves(variables)), activations
    variables = jax.eval_shape(lambda key: init_variables(network, key), jax.random.key(0))
    config = network.config
    x = jax.ShapeDtypeStruct((1, config.image_size, config.image_size, config.channels), jnp.float32)
    outputs = jax.eval_shape(lambda v, x: apply_network(network, v, x)[2], variables, x)
    activations = sum(output.size for output in outputs)
    return 4 * sum(leaf.size for leaf in jax.tree.leaves(variables)), 4 * 12 * activations


def forward_operations(network: Network) -> float:
    """Floating-point operations of one sample's forward pass, by XLA's own count."""
    variables = jax.eval_shape(lambda key: init_variables(network, key), jax.random.key(0))
    config, batch = network.config, 8
    x = jax.ShapeDtypeStruct((batch, config.image_size, config.image_size, config.channels), jnp.float32)
    lowered = jax.jit(lambda v, x: apply_network(network, v, x)[0]).lower(variables, x)
    return float(lowered.cost_analysis()["flops"]) / batch


def estimate_run(plan: Plan, workdir: Path) -> Estimate:
    """Counts every stage that is not stored yet once, whichever methods share it."""
    store, training, identity = StageStore(workdir), make_training(plan.config), plan.data_identity()
    fits = epochs = 0
    seconds, seen = 0.0, set()
    rate = RATE.get(jax.default_backend(), RATE["gpu"])
    rate *= (os.cpu_count() or 1) if jax.default_backend() == "cpu" else len(jax.local_devices())
    for architecture in plan.architectures:
        network = plan.network(architecture)
        operations = forward_operations(network)
        nodes = [planned.node for (name, _), planned in plan.planned.items() if name == architecture]
        for stage in dict.fromkeys(stage for node in nodes for stage in all_stages(node)):
            name = node_fingerprint(stage, network, training, identity)
            seeds = [seed for seed in plan.seeds if (name, seed) not in seen and not store.has(name, seed)]
            seen.update((name, seed) for seed in seeds)
            members = len(seeds) * stage.num_members(len(network.group_names))
            fits += members
            epochs += members * training.rule.max_epochs
            seconds += members * training.rule.max_epochs * _epoch_operations(plan, stage, operations) / rate
    return Estimate(fits, epochs, seconds)


def _epoch_operations(plan: Plan, stage: Stage, operations: float) -> float:
    sizes = plan.specs[stage.variant].sizes
    train = 0.8 * sum(sizes[step] for step in stage.train)
    valid = 0.2 * sum(sizes[step] for step in stage.valid)
    return operations * (TRAIN_OVER_FORWARD * train + valid)

"""From a stage of a recipe to a problem of the engine: objective, constants, and all the rest put together."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seqfinal_jax.data.sequences.pool import ImagePool
from seqfinal_jax.methods.nodes import Model, Stage
from seqfinal_jax.methods.stages.data import evaluation_sets, stage_batches
from seqfinal_jax.methods.stages.network import stage_network, training_of
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import Network, Variables
from seqfinal_jax.training.engine.members import MemberSpec, Problem
from seqfinal_jax.training.objectives.risk import Objective


def stage_objective(stage: Model, network: Network, training: Training) -> Objective:
    """What a stage minimises, as the engine knows it."""
    own = training_of(stage, training)
    objective = stage.objective.risk(stage_network(network, stage.form), own)
    return replace(objective, first_trained=lowest_trained(stage, network))


def lowest_trained(stage: Model, network: Network) -> int:
    """The place of the lowest layer group that a stage of a plain network is known to train beforehand, else 0.

    The gradients of frozen groups are left out anyway (`programs.mask_groups`). A linear probe does not compute them at
    all; it is another program for that.
    """
    known = isinstance(stage, Stage) and stage.form is None and not isinstance(stage.layers, str)
    trained = {group for layers in stage.layers for group in layers} if known else set()
    return min((network.group_names.index(group) for group in trained), default=0)


def stage_problem(
    stage: Stage,
    network: Network,
    training: Training,
    pool: ImagePool,
    data: dict[str, Any],
    start: Callable[[MemberSpec], Variables],
    constants: Callable[[int], Any],
) -> Problem:
    """A stage as the engine fits it."""
    return Problem(
        objective=stage_objective(stage, network, training),
        data=data,
        batches=stage_batches(stage, network, training, pool),
        evaluation=lambda seed: evaluation_sets(stage, pool, training, seed),
        start=start,
        role=stage.name,
        constants=constants,
    )

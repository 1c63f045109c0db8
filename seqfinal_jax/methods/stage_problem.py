"""From a stage of a recipe to a problem of the engine: objective, constants, and all the rest put together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from seqfinal_jax.data.pool import ImagePool
from seqfinal_jax.methods.recipe import Stage
from seqfinal_jax.methods.stage_data import evaluation_sets, stage_batches, training_set
from seqfinal_jax.methods.stage_training import Training, stage_network
from seqfinal_jax.models.network import Network, Variables
from seqfinal_jax.training.anchored import AnchoredRisk, anchor_constants
from seqfinal_jax.training.fisher import fisher_of
from seqfinal_jax.training.joint import JointRisk
from seqfinal_jax.training.last_step import LastStepRisk
from seqfinal_jax.training.members import MemberSpec, Problem
from seqfinal_jax.training.multi_domain import InvariantRisk, WorstDomainRisk
from seqfinal_jax.training.objectives import EmpiricalRisk, Objective


def stage_objective(stage: Stage, network: Network, training: Training) -> Objective:
    """What a stage minimises."""
    common = (stage_network(network, stage.form), training.scaling, training.freeze_batch_stats)
    if stage.objective == "joint":
        terms = stage.joint
        return JointRisk(
            *common,
            increasing=terms.increasing,
            power=terms.power,
            by_time=terms.by_time,
            fisher=terms.fisher,
            per_sample=terms.per_sample,
        )
    if stage.form is not None:
        return LastStepRisk(*common)
    if stage.objective == "irm":
        return InvariantRisk(*common)
    if stage.objective == "dro":
        return WorstDomainRisk(*common)
    if stage.penalty is None:
        return EmpiricalRisk(*common)
    return AnchoredRisk(
        *common, power=stage.penalty.power, penalise_bn=training.penalise_bn, weighted=stage.penalty.fisher
    )


@dataclass(frozen=True)
class Anchor:
    """A model that a penalty holds on to, and the stage that trained it."""

    stage: Stage
    variables: Variables


def stage_constants(
    stage: Stage,
    network: Network,
    training: Training,
    pool: ImagePool,
    data: dict[str, Any],
    seed: int,
    anchors: Sequence[Anchor],
) -> Any:
    """Anchors and their Fisher weights of one seed, where the stage has such a penalty."""
    if stage.penalty is None:
        return None
    params = [anchor.variables["params"] for anchor in anchors]
    if not stage.penalty.fisher:
        return anchor_constants(params)
    objective = EmpiricalRisk(network, training.scaling)
    weights = [
        fisher_of(
            objective,
            jax.tree.map(jax.numpy.asarray, anchor.variables),
            data,
            training_set(anchor.stage, pool, seed),
            training.batch_size,
            training.fisher == "per_sample",
        )
        for anchor in anchors
    ]
    return anchor_constants(params, weights, stage.penalty.places)


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

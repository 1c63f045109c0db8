"""From a stage of a recipe to a problem of the engine: network, objective, streams, constants, start, masks."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from seqfinal_jax.data.pool import ImagePool
from seqfinal_jax.methods.recipe import Form, Stage
from seqfinal_jax.models.groups import PenaliseBatchNorm
from seqfinal_jax.models.network import Network, Variables, init_variables, smallest_map
from seqfinal_jax.models.per_step import StepNetwork, build_steps, init_steps, put, trained_from
from seqfinal_jax.models.pretrained import start_from_resnet18
from seqfinal_jax.models.step_start import init_last_from_previous, start_from_fewer, start_from_single
from seqfinal_jax.training.anchored import AnchoredRisk, anchor_constants
from seqfinal_jax.training.early_stopping import StopRule
from seqfinal_jax.training.fisher import fisher_of
from seqfinal_jax.training.last_step import LastStepRisk
from seqfinal_jax.training.members import MemberSpec, Problem
from seqfinal_jax.training.multi_domain import InvariantRisk, WorstDomainRisk
from seqfinal_jax.training.objectives import EmpiricalRisk, InputScaling, Objective
from seqfinal_jax.training.streams import EvaluationSet, Stream, driving_first, epoch_batches, fold, shuffled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """What every stage of a run has in common.

    pretrained: a file of ImageNet weights that takes the place of random ones, and its content's digest.
    """

    rule: StopRule
    batch_size: int
    scaling: InputScaling
    train_metrics: str = "running"
    init_per_grid_point: bool = False
    precision: str = "highest"
    freeze_batch_stats: bool = False
    penalise_bn: PenaliseBatchNorm = "none"
    fisher: str = "batch_sums"
    pretrained: tuple[str, str] | None = None


@lru_cache(maxsize=256)
def stage_network(network: Network, form: Form | None) -> Network | StepNetwork:
    """The network that a stage trains; raises ValueError where the architecture does not allow the form."""
    if form is None:
        return network
    return build_steps(
        network,
        form.num_steps,
        form.mode,
        side=form.side,
        adapter=form.adapter,
        all_layers_efficient=form.all_layers_efficient,
    )


def stage_objective(stage: Stage, network: Network, training: Training) -> Objective:
    """What a stage minimises."""
    common = (stage_network(network, stage.form), training.scaling, training.freeze_batch_stats)
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


def stage_streams(stage: Stage, pool: ImagePool, seed: int) -> list[Stream]:
    """The training samples of a stage: a stream a step for IRM and DRO, otherwise one of all steps pooled."""
    parts = pool.of((stage.variant, seed), stage.train, "train")
    if stage.objective != "erm":
        return [Stream(step, rows) for step, rows in zip(stage.train, parts, strict=True)]
    weights = None
    if stage.weights is not None:
        weights = np.concatenate([np.full(len(p), w) for p, w in zip(parts, stage.weights, strict=True)])
    return [Stream(stage.train[-1], np.concatenate(parts), weights)]


def training_set(stage: Stage, pool: ImagePool, seed: int) -> EvaluationSet:
    """All training samples of a stage in stored order, with their loss weights."""
    streams = stage_streams(stage, pool, seed)
    return EvaluationSet(streams[-1].step, np.concatenate([s.rows for s in streams]), streams[0].weights)


def evaluation_sets(stage: Stage, pool: ImagePool, training: Training, seed: int) -> dict[str, EvaluationSet]:
    """The validation set that selects and, with `train_metrics="eval"`, the training set."""
    valid = np.concatenate(pool.of((stage.variant, seed), stage.valid, "valid"))
    sets = {"valid": EvaluationSet(stage.valid[-1], valid)}
    if training.train_metrics == "eval":
        sets["train"] = training_set(stage, pool, seed)
    return sets


def drops_single_samples(
    stage: Stage, network: Network, training: Training, pool: ImagePool, seed: int
) -> bool:
    """Whether a last minibatch of one sample is left out: where a batch norm would see one value a channel."""
    single = smallest_map(network) == 1
    short = [s for s in stage_streams(stage, pool, seed) if len(s.rows) % training.batch_size == 1]
    if single and short:
        log.warning(
            "stage %s, %s: a last minibatch of one sample is left out, because a batch norm would see one value a "
            "channel",
            stage.name,
            network.name,
        )
    return single


def stage_batches(stage: Stage, network: Network, training: Training, pool: ImagePool) -> Callable:
    """Minibatches of an epoch as a pure function of (seed, epoch)."""
    size = training.batch_size
    drop_single = drops_single_samples(stage, network, training, pool, next(iter(pool.rows))[1])

    def batches(seed: int, epoch: int) -> Any:
        streams = stage_streams(stage, pool, seed)
        if stage.objective != "erm":
            streams = driving_first(streams, size, drop_single)
        return epoch_batches(streams, shuffled(seed, stage.name), epoch, size, drop_single)

    return batches


def initial_variables(
    network: Network, training: Training, seed: int, hyper: Mapping[str, float]
) -> Variables:
    """Random start variables of a seed (the same for all methods), or ImageNet's with a random head."""
    variables = init_variables(network, _init_key(network, training, seed, hyper))
    return (
        start_from_resnet18(network, variables, training.pretrained[0]) if training.pretrained else variables
    )


def _init_key(
    network: Network, training: Training, seed: int, hyper: Mapping[str, float], *parts: Any
) -> Any:
    extra = [json.dumps(dict(hyper), sort_keys=True)] if training.init_per_grid_point else []
    return jax.random.key(fold(seed, "init", network.name, network.num_classes, *parts, *extra))


def start_variables(
    stage: Stage,
    network: Network,
    training: Training,
    previous: Variables | None,
    previous_form: Form | None,
    member: MemberSpec,
) -> Variables:
    """The variables that a member of a stage starts from; `previous` is the winner of the stage before."""
    if stage.form is None:
        if previous is None or stage.fresh:
            return initial_variables(network, training, member.seed, member.hyper)
        return previous
    steps = stage_network(network, stage.form)
    key = _init_key(network, training, member.seed, member.hyper, "steps", stage.form.num_steps)
    fresh = init_steps(steps, key)
    if stage.form.mode == "separate":  # a separate last step starts as `erm_final` does
        last = initial_variables(network, training, member.seed, member.hyper)
        fresh = {k: {g: put(fresh[k][g], -1, tree) for g, tree in last[k].items()} for k in fresh}
    started = (start_from_single if previous_form is None else start_from_fewer)(steps, fresh, previous)
    return init_last_from_previous(started) if stage.form.init_last == "previous" else started


def member_masks(stage: Stage, network: Network, layers: Sequence[str]) -> dict[str, Any]:
    """1 for what a member trains, 0 for what is frozen; `layers` empty for all."""
    if stage.form is not None:
        steps = stage_network(network, stage.form)
        return trained_from(steps, steps.num_steps - 1)
    return {group: int(not layers or group in layers) for group in network.group_names}


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

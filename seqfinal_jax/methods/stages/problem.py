"""A stage of a recipe as a problem of the engine: its samples as row numbers of the pool, its objective, its start."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from seqfinal_jax.data.sequences.pool import ImagePool
from seqfinal_jax.methods.nodes import Model, Stage
from seqfinal_jax.methods.stages.network import stage_network, training_of
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import Network, Variables, smallest_map
from seqfinal_jax.training.engine.members import MemberSpec, Problem
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, epoch_batches, shuffled
from seqfinal_jax.training.objectives.risk import Objective, Rows

log = logging.getLogger(__name__)


def stage_rows(stage: Model, pool: ImagePool, seed: int) -> Rows:
    """Row numbers of a time step's split, in the build of the sequence that a stage uses."""
    steps = pool.rows[stage.variant, seed]
    return lambda step, split: steps[step][split]


def stage_streams(stage: Model, pool: ImagePool, seed: int) -> list[Stream]:
    """The training samples of a stage, as the streams of its objective."""
    return stage.objective.streams(stage.train, stage_rows(stage, pool, seed))


def training_set(stage: Model, pool: ImagePool, seed: int) -> EvaluationSet:
    """All training samples of a stage in stored order, with their loss weights."""
    return stage.objective.training_set(stage.train, stage_rows(stage, pool, seed))


def alike_in_size(stage: Stage, training: Training, pool: ImagePool, seeds: Sequence[int]) -> list[list[int]]:
    """The seeds in groups with training and validation sets of equal size: only such seeds can be trained together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for seed in seeds:
        sets = evaluation_sets(stage, pool, training, seed).values()
        sizes = [len(each.rows) for each in (*stage_streams(stage, pool, seed), *sets)]
        groups.setdefault(tuple(sizes), []).append(seed)
    return list(groups.values())


def evaluation_sets(stage: Model, pool: ImagePool, training: Training, seed: int) -> dict[str, EvaluationSet]:
    """The validation set that selects and, with `train_metrics="eval"`, the training set."""
    rows, with_train = stage_rows(stage, pool, seed), training.train_metrics == "eval"
    return stage.objective.evaluation(stage.train, stage.valid, rows, with_train)


def drops_single_samples(stage: Stage, network: Network, training: Training, pool: ImagePool) -> bool:
    """Whether a last minibatch of one sample is left out: where a batch norm would see one value per channel."""
    single = smallest_map(network) == 1
    seeds = [seed for variant, seed in pool.rows if variant == stage.variant]
    streams = [stream for seed in seeds for stream in stage_streams(stage, pool, seed)] if single else []
    short = [stream for stream in streams if len(stream.rows) % training.batch_size == 1]
    if single and short:
        log.warning(
            "stage %s, %s: a last minibatch of one sample is left out, because a batch norm would see one value per "
            "channel",
            stage.name,
            network.name,
        )
    return single


def stage_batches(stage: Stage, network: Network, training: Training, pool: ImagePool) -> Callable:
    """Minibatches of an epoch as a pure function of (seed, epoch)."""
    size = training.batch_size
    drop_single = drops_single_samples(stage, network, training, pool)

    def batches(seed: int, epoch: int) -> Any:
        streams = stage.objective.in_order(stage_streams(stage, pool, seed), size, drop_single)
        driver, with_steps = stage.objective.driver(streams), stage.objective.sees_steps
        return epoch_batches(
            streams, shuffled(seed, stage.name), epoch, size, drop_single, driver, with_steps
        )

    return batches


def stage_objective(stage: Model, network: Network, training: Training) -> Objective:
    """A stage's objective with all that the run knows: its network and its settings."""
    objective = stage.objective.risk(stage_network(network, stage.form), training_of(stage, training))
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
        optimiser=training_of(stage, training).optimiser,
    )

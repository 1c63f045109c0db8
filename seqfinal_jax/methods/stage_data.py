"""The data of a stage: streams, minibatches, evaluation sets, all as row numbers of the pool."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from seqfinal_jax.data.pool import ImagePool
from seqfinal_jax.methods.recipe import Stage
from seqfinal_jax.methods.stage_training import Training
from seqfinal_jax.models.network import Network, smallest_map
from seqfinal_jax.training.streams import EvaluationSet, Stream, driving_first, epoch_batches, shuffled

log = logging.getLogger(__name__)


def stage_streams(stage: Stage, pool: ImagePool, seed: int) -> list[Stream]:
    """The training samples of a stage: a stream a step, for ERM one of all steps pooled."""
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
    """The validation set that selects and, with `train_metrics="eval"`, the training set.

    Of the joint model these are the final step's, and those of earlier steps are "valid_step0", "train_step0", ...,
    each with its own step's network.
    """
    if stage.objective == "joint":
        return _sets_of_every_step(stage, pool, training, seed)
    valid = np.concatenate(pool.of((stage.variant, seed), stage.valid, "valid"))
    sets = {"valid": EvaluationSet(stage.valid[-1], valid)}
    if training.train_metrics == "eval":
        sets["train"] = training_set(stage, pool, seed)
    return sets


def _sets_of_every_step(
    stage: Stage, pool: ImagePool, training: Training, seed: int
) -> dict[str, EvaluationSet]:
    last, sets = stage.valid[-1], {}
    for split in ("valid", "train") if training.train_metrics == "eval" else ("valid",):
        for step in (last, *(t for t in stage.train if t != last)):
            name = split if step == last else f"{split}_step{step}"
            sets[name] = EvaluationSet(step, pool.rows[stage.variant, seed][step][split])
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
        if stage.objective in ("irm", "dro"):
            streams = driving_first(streams, size, drop_single)
        return epoch_batches(streams, shuffled(seed, stage.name), epoch, size, drop_single)

    return batches

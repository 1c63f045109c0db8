"""Replay: the final step and, with a smaller weight, the history, from the history model (arXiv 2603.04964)."""

from dataclasses import dataclass

import numpy as np

from seqfinal_jax.methods import Axis, Stage, method
from seqfinal_jax.methods.recipes.fine_tune import history_stage
from seqfinal_jax.methods.stages.objectives import Domains
from seqfinal_jax.training.engine.streams import Stream


@dataclass(frozen=True)
class Replayed(Domains):
    """(1 - r) · loss of the final step + r · loss of the history, of one minibatch each."""

    def streams(self, train, rows):
        history = np.concatenate([rows(step, "train") for step in train[:-1]])
        return [Stream(train[-1], rows(train[-1], "train")), Stream(train[0], history)]

    def in_order(self, streams, batch_size, drop_single):
        return streams

    def driver(self, streams):
        return 0  # the final step's pass is an epoch; the history's runs on

    def loss(self, params, context):
        share = context.hyper["replay"]
        new, (statistics, sums) = self.domain_loss(params, context._replace(batch=context.batch.stream(0)), 0)
        old, _ = self.domain_loss(params, context._replace(batch=context.batch.stream(1)), 1)
        loss = (1 - share) * new + share * old + self.penalty(params, context)
        return loss, (statistics, sums)  # the statistics of the final step's pass alone


@method(
    "my_replay", column="Replay", legend="fine-tune with replay", family="history, then adapt",
    axes=(Axis("replay", (0.1, 0.25, 0.5), "Weight of the history's loss."),),
)  # fmt: skip
def my_replay(setting):
    """The history model, tuned on the final step while a share of the loss stays with the history."""
    last = (setting.final_step,)
    return Stage(
        "replayed",
        "final",
        setting.all_steps,
        last,
        setting.own_grid,
        Replayed(),
        start=history_stage(setting),
    )

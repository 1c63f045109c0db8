"""How long the stages behind a cell's model were trained, as result.json records it."""

from collections.abc import Mapping, Sequence
from typing import Any

from seqfinal_jax.methods.nodes import Model, Stage, Transform
from seqfinal_jax.methods.stages.context import Context
from seqfinal_jax.methods.stages.network import minibatches, stage_rule
from seqfinal_jax.results.store import StageResult

LEAST_EPOCHS = 4  # that have four quarters


def late_gain(accuracies: Sequence[float], allowed: int) -> float:
    """The mean accuracy over the last quarter of the epochs allowed minus that over the third quarter.

    accuracies: by epoch, the start (epoch 0) first. 0 where training stopped before its last epoch or is allowed under
    four epochs. A quarter has a whole number of epochs, rounded down.
    """
    if allowed < LEAST_EPOCHS or len(accuracies) - 1 < allowed:
        return 0.0
    quarter = allowed // 4
    last = accuracies[allowed - quarter + 1 : allowed + 1]
    third = accuracies[allowed - 2 * quarter + 1 : allowed - quarter + 1]
    return float(sum(last) / quarter - sum(third) / quarter)


def stage_lengths(
    context: Context, chain: Mapping[Model, StageResult], seed: int
) -> dict[Model, dict[str, Any]]:
    """For every stage, the epochs allowed, the updates that its best training made, and the late gain of that training.

    For a stage that continues another one, only the updates after that one's last epoch count. A transformation makes no
    updates; its late gain is the largest of its inputs.
    """
    found: dict[Model, dict[str, Any]] = {}
    for stage, result in chain.items():
        found[stage] = (
            _transform_length(context, stage, seed, found)
            if isinstance(stage, Transform)
            else _stage_length(context, stage, result, seed)
        )
    return found


def _stage_length(context: Context, stage: Stage, result: StageResult, seed: int) -> dict[str, Any]:
    allowed, winner = stage_rule(stage, context.training).max_epochs, result.winner
    epochs = int(winner["stop_epoch"])
    if stage.resume:
        epochs -= int(context.result(stage.start, seed).winner["stop_epoch"])
    rows = [row for row in result.history if row["member"] == winner["member"]]
    gain = late_gain([row["valid_accuracy"] for row in rows], allowed)
    updates = epochs * minibatches(stage, context.training)
    return {"epochs_allowed": allowed, "updates": updates, "late_gain": gain}


def _transform_length(
    context: Context, node: Transform, seed: int, before: Mapping[Model, dict[str, Any]]
) -> dict[str, Any]:
    inputs = [context.resolve(source, seed) for source in node.inputs]
    return {
        "epochs_allowed": 0, "updates": 0, "late_gain": max(before[each]["late_gain"] for each in inputs),
    }  # fmt: skip

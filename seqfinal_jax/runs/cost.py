"""The cost of a cell in forward passes of one image through the plain network, the same on every machine."""

from seqfinal_jax.methods.nodes import Node, Stage, all_stages
from seqfinal_jax.methods.stages.context import Context
from seqfinal_jax.runs.estimate import epoch_operations, forward_operations
from seqfinal_jax.runs.plan import Plan


def cell_cost(plan: Plan, context: Context, node: Node, seed: int) -> dict[str, float]:
    """Forward passes that the stages behind a cell took, by fingerprint, for one seed and all grid points.

    A training step on one image counts as three passes, as a backward pass takes about two. Stages that were tried but
    not chosen are counted as well. A stage without a result (all of its grid points diverged) is left out.
    """
    passes = {}
    for stage in all_stages(node):
        epochs = _epochs(context, stage, seed)
        if epochs:
            operations = epoch_operations(plan, stage, context.network, plan.training.batch_size)
            passes[context.key(stage)] = epochs * operations / forward_operations(context.network)
    return passes


def _epochs(context: Context, stage: Stage, seed: int) -> int:
    """Epochs of all grid points; of a stage that goes on from another one, those of its own."""
    epochs = context.store.epochs(context.key(stage), seed)
    if not stage.resume:
        return sum(epochs)
    before = context.result(stage.start, seed).winner["stop_epoch"]
    return sum(epochs) - len(epochs) * int(before)

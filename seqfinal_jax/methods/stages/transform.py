"""A transformation of earlier results: every candidate computed, validated, and the best one kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.data.sequences.pool import ImagePool
from seqfinal_jax.methods.nodes import Transform
from seqfinal_jax.methods.stages.network import stage_network
from seqfinal_jax.methods.stages.own_logits import own_logits
from seqfinal_jax.methods.stages.problem import stage_rows
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import AnyNetwork, Network, Variables
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.parts.ops import MOMENTUM
from seqfinal_jax.results.store import StageResult
from seqfinal_jax.training.objectives.risk import (
    Batch,
    Context,
    InputScaling,
    Objective,
    answered_right,
    cross_entropy,
)

Predict = Callable[[Any, Variables, np.ndarray, int | None], np.ndarray]
Row = dict[str, Any]


def transformed(
    node: Transform,
    network: Network,
    training: Training,
    pool: ImagePool,
    data: dict[str, Any],
    seed: int,
    inputs: Sequence[Variables],
    predict: Predict,
) -> StageResult | None:
    """The result of one seed; None where every candidate has non-finite variables.

    `inputs` are the best variables of the node's inputs. Each candidate is one row of the grid, with a history of epoch 0
    only.
    """
    found: list[tuple[Variables, Row, Row]] = []
    for member, candidate in enumerate(node.candidates):
        variables = candidate_variables(node, network, training, pool, data, seed, inputs, dict(candidate))
        found.append((variables, *_judged(node, member, variables, pool, seed, predict)))
    alive = [row for _, row, _ in found if not row["failed"]]
    if not alive:
        return None
    chosen = max(alive, key=lambda row: (row["best_accuracy"], -row["member"]))["member"]
    grid = [{**row, "chosen": row["member"] == chosen} for _, row, _ in found]
    best = found[chosen][0]
    return StageResult(best, best, {}, chosen, grid, [history for _, _, history in found])


def candidate_variables(
    node: Transform,
    network: Network,
    training: Training,
    pool: ImagePool,
    data: dict[str, Any],
    seed: int,
    inputs: Sequence[Variables],
    candidate: dict[str, float],
) -> Variables:
    """The function's variables as host arrays, with batch-norm statistics estimated again where the node asks for it."""
    variables = jax.tree.map(np.asarray, node.function(*inputs, **candidate))
    if not node.statistics:
        return variables
    rows = stage_rows(node, pool, seed)
    objective, own = own_logits(node, network, training), stage_network(network, node.form)
    batches = [
        (step if node.objective.network_per_step else None, part)
        for step in node.statistics
        for part in _minibatches(rows(step, "train"), training.batch_size)
    ]
    return estimate_statistics(own, training.scaling, variables, data, batches, objective)


def _minibatches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Rows in minibatches; a last one of fewer than two samples is left out, because it has no variance."""
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    return [part for part in parts if len(part) > 1] or parts


def estimate_statistics(
    network: AnyNetwork,
    scaling: InputScaling,
    variables: Variables,
    data: dict[str, Any],
    batches: Sequence[tuple[int | None, np.ndarray]],
    objective: Objective | None = None,
) -> Variables:
    """The variables with batch-norm statistics that are the mean over minibatches of each minibatch's own.

    As the update of batch norm for averaged weights (Izmailov et al. 2018, arXiv 1803.05407, section 3.2). `batches` are
    (time step, or None for the last network; rows). Statistics of parts that no minibatch passes through are kept.
    objective: makes the pass where its logits are made in a way of its own.
    """
    before = jax.tree.map(jnp.asarray, variables)
    totals: Any = None
    for step, rows in batches:
        moved = _moved(network, scaling, before, data, jnp.asarray(rows), step, objective)
        own = jax.tree.map(lambda old, new: _minibatch_figure(old, new), before["batch_stats"], moved)
        totals = own if totals is None else jax.tree.map(np.add, totals, own)
    means = jax.tree.map(
        lambda total, old: (total / len(batches)).astype(np.asarray(old).dtype),
        totals,
        variables["batch_stats"],
    )
    return {**variables, "batch_stats": means}


def _minibatch_figure(old: Any, new: Any) -> np.ndarray:
    """A minibatch's own statistic from the running one before and after it."""
    old, new = np.asarray(old, np.float64), np.asarray(new, np.float64)
    return np.where(new == old, old, (new - (1 - MOMENTUM) * old) / MOMENTUM)


@partial(jax.jit, static_argnames=("network", "scaling", "step", "objective"))
def _moved(
    network: AnyNetwork, scaling: InputScaling, variables: Variables, data: dict[str, Any],
    rows: jax.Array, step: int | None, objective: Objective | None,
) -> Any:  # fmt: skip
    """Running statistics after one pass in training mode, without dropout and augmentation."""
    dtype = jax.tree.leaves(variables["params"])[0].dtype
    if objective:
        hyper, key = {"dropout": jnp.zeros((), dtype)}, jax.random.key(0)
        batch = Batch(rows, None, jnp.ones(len(rows), dtype))
        context = Context(data, {}, variables["batch_stats"], batch, hyper, key)
        plain = replace(objective, augmentation=None)
        return plain.training_logits(variables["params"], context)[1]
    x = scaling(data["images"][rows], dtype)
    return network.apply(variables, x, Pass(train=True), step=step)[1]


def _judged(
    node: Transform, member: int, variables: Variables, pool: ImagePool, seed: int, predict: Predict
) -> tuple[Row, Row]:
    """A candidate's row of the grid (without `chosen`) and of the history."""
    rows = stage_rows(node, pool, seed)
    chosen = np.concatenate([rows(step, "valid") for step in node.valid])
    logits, labels = predict(node, variables, chosen, node.valid[-1]), pool.labels[chosen]
    accuracy = float(np.mean(np.asarray(answered_right(jnp.asarray(logits), labels))))
    loss = float(np.mean(np.asarray(cross_entropy(jnp.asarray(logits), labels), np.float64)))
    failed = not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(variables))
    row = {
        "member": member, "layers": "all", **dict(node.candidates[member]), "best_accuracy": accuracy,
        "best_epoch": 0, "stop_epoch": 0, "failed": failed,
    }  # fmt: skip
    missing = {"train_loss": float("nan"), "train_accuracy": float("nan")}
    return row, {"member": member, "epoch": 0, **missing, "valid_loss": loss, "valid_accuracy": accuracy}

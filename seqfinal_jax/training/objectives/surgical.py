"""Which layer groups a new step asks to change: surgical scores, and the nested sets of the best ranked groups."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqfinal_jax.models.network import Variables
from seqfinal_jax.models.parts.groups import named_tensors
from seqfinal_jax.training.objectives.risk import Batch, Objective, batch_sums


def batch_gradient(
    objective: Objective, variables: Variables, data: dict[str, Array], batch: Batch
) -> tuple[Any, Array]:
    """Gradient of a minibatch's mean cross-entropy, unweighted, in evaluation mode; and its number of samples.

    `batch` is of one stream, each leaf (1, b); masked samples take no part.
    """
    index, mask = batch.index[0], None if batch.mask is None else batch.mask[0]

    def mean_loss(params: Any) -> tuple[Array, Array]:
        tree = {"params": params, "batch_stats": variables["batch_stats"]}
        logits = objective.logits(tree, data, index, jnp.int32(0))
        sums = batch_sums(logits, data["labels"][index], mask, None)
        return sums.loss / sums.count, sums.count

    return jax.grad(mean_loss, has_aux=True)(variables["params"])


def signal_to_noise(gradient: Array) -> Array:
    """Mean of squared entries over their variance between output channels, the last axis; unbiased, plus 1e-8.

    Of a vector the variance is that of all its entries. NaN where there is one channel.
    """
    variance = jnp.var(gradient, axis=-1, ddof=1, keepdims=True)
    return jnp.mean(jnp.square(gradient) / (variance + 1e-8))


@partial(jax.jit, static_argnames=("objective",))
def tensor_scores(
    objective: Objective, variables: Variables, data: dict[str, Array], batches: Batch, num_batches: Array
) -> dict[str, Any]:
    """{"rgn": tree, "snr": tree}, trees like the parameters with one score per tensor.

    With G_m the gradient of minibatch m's mean loss and N the number of samples (single-model spec, section 4):
    RGN = (1/N) Σ_m ‖G_m‖ / ‖v‖, +inf for a tensor v that is zero; SNR = (1/N) Σ_m `signal_to_noise`(G_m).
    `batches` are the minibatches of one stream in a fixed order, each leaf (p, 1, b); `num_batches` of them are used.
    """
    params = variables["params"]

    def add(i: Array, carry: tuple[Any, Any, Array]) -> tuple[Any, Any, Array]:
        norms, ratios, count = carry
        batch = jax.tree.map(lambda leaf: leaf[i], batches)
        gradient, samples = batch_gradient(objective, variables, data, batch)
        norms = jax.tree.map(lambda total, g: total + jnp.linalg.norm(g.ravel()), norms, gradient)
        ratios = jax.tree.map(lambda total, g: total + signal_to_noise(g), ratios, gradient)
        return norms, ratios, count + samples

    zeros = jax.tree.map(lambda v: jnp.zeros((), v.dtype), params)
    start = (zeros, zeros, jnp.zeros((), jax.tree.leaves(params)[0].dtype))
    norms, ratios, count = lax.fori_loop(0, num_batches, add, start)

    def relative(total: Array, tensor: Array) -> Array:
        size = jnp.linalg.norm(tensor.ravel())
        return jnp.where(size == 0, jnp.inf, total / (size * count))

    return {
        "rgn": jax.tree.map(relative, norms, params),
        "snr": jax.tree.map(lambda total: total / count, ratios),
    }


def layer_scores(
    objective: Objective, variables: Variables, data: dict[str, Array], batches: Batch, num_batches: Array
) -> dict[str, dict[str, float]]:
    """{"rgn": {group: score}, "snr": {group: score}}: the mean over a group's tensors of `tensor_scores`.

    Batch-norm scale and bias and the head's bias take part. The arguments are those of `tensor_scores`.
    """
    scores = jax.device_get(tensor_scores(objective, variables, data, batches, num_batches))

    def means(groups: dict[str, Any]) -> dict[str, float]:
        return {group: fmean(float(score) for _, score in named_tensors(groups[group])) for group in groups}

    return {metric: means(groups) for metric, groups in scores.items()}


def rank_groups(scores: Mapping[str, float], group_names: Sequence[str]) -> tuple[str, ...]:
    """Groups by descending score; ties in group order, NaN last."""

    def place(group: str) -> tuple[bool, float]:
        score = float(scores[group])
        return math.isnan(score), 0.0 if math.isnan(score) else -score

    return tuple(sorted(group_names, key=place))


def nested_sets(order: Sequence[str], group_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The best group, the best two, ..., all; each set in group order."""
    return tuple(
        tuple(group for group in group_names if group in order[:count]) for count in range(1, len(order) + 1)
    )

"""Fisher information as published: squares of gradients summed over each minibatch (spec of the networks, 1.7).

On request the usual estimate, with squares of single samples' gradients; of a joint model for every version.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqfinal_jax.models.network import Variables
from seqfinal_jax.models.per_step.network import StepNetwork
from seqfinal_jax.training.engine.streams import EvaluationSet
from seqfinal_jax.training.objectives.risk import Batch, Objective, batch_of, batch_sums, cross_entropy


def fisher_of(
    objective: Objective,
    variables: Variables,
    data: dict[str, Array],
    samples: EvaluationSet,
    batch_size: int,
    per_sample: bool = False,
) -> Any:
    """`fisher_information` of a set of samples in stored order, in minibatches of `batch_size`.

    per_sample: squares of each sample's gradient, whatever the batch size: the same with minibatches of one.
    """
    stored = samples.batches(1 if per_sample else batch_size)
    batches = jax.tree.map(jnp.asarray, batch_of(stored))
    return fisher_information(objective, variables, data, batches, jnp.int32(stored.count))


@partial(jax.jit, static_argnames=("objective",))
def fisher_information(
    objective: Objective, variables: Variables, data: dict[str, Array], batches: Batch, num_batches: Array
) -> Any:
    """A tree like the parameters: (1/N) Σ_batches (∇ Σ_samples w·cross-entropy)², in evaluation mode.

    `batches` are the minibatches of one stream, each leaf (p, 1, b); `num_batches` of them are used. The squares
    are of a minibatch's summed gradient, so the result grows with the batch size.
    """

    def summed_loss(params: Any, batch: Batch) -> tuple[Array, Array]:
        mask = None if batch.mask is None else batch.mask[0]
        tree = {"params": params, "batch_stats": variables["batch_stats"]}
        logits = objective.logits(tree, data, batch.index[0], jnp.int32(0))
        sums = batch_sums(logits, data["labels"][batch.index[0]], mask, batch.weight[0])
        return sums.loss, sums.count

    def add(i: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        total, count = carry
        batch = jax.tree.map(lambda leaf: leaf[i], batches)
        gradients, samples = jax.grad(summed_loss, has_aux=True)(variables["params"], batch)
        return jax.tree.map(lambda t, g: t + jnp.square(g), total, gradients), count + samples

    zeros = jax.tree.map(jnp.zeros_like, variables["params"])
    dtype = jax.tree.leaves(zeros)[0].dtype
    total, count = lax.fori_loop(0, num_batches, add, (zeros, jnp.zeros((), dtype)))
    return jax.tree.map(lambda t: t / count, total)


def sample_fisher(
    objective: Objective, variables: Variables, data: dict[str, Array], batches: Batch, num_batches: Array
) -> Any:
    """A tree like the parameters: of every version the mean over samples of (∇ cross-entropy)², in evaluation mode.

    The samples are those of the first `num_batches` minibatches, each leaf (p, T, b), of the steps that use a version;
    one gradient per sample, one after another. Layers must be separate versions.
    """
    network: StepNetwork = objective.network
    params, stats = variables["params"], variables["batch_stats"]
    steps = network.num_steps

    def sample_gradient(own: Any, row: Any, index: Array, step: Array) -> Any:
        def loss(own: Any) -> Array:
            tree = {"params": network.put(params, row, own), "batch_stats": stats}
            logits = objective.logits(tree, data, index[None], step)
            return cross_entropy(logits, data["labels"][index][None])[0]

        return jax.grad(loss)(own)

    def add(i: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        squares, counts = carry
        size = batches.index.shape[-1]
        batch, step, place = i // (steps * size), (i // size) % steps, i % size
        row = network.row(stats, step)
        used = jnp.bool_(True) if batches.mask is None else batches.mask[batch, step, place]
        own = network.own(params, row)
        gradient = sample_gradient(own, row, batches.index[batch, step, place], step)
        square = jax.tree.map(lambda g: jnp.where(used, jnp.square(g), 0), gradient)
        one = used.astype(dtype)
        counts = {g: counts[g].at[row[place]].add(one) for place, g in enumerate(network.group_names)}
        return network.add(squares, row, square), counts

    zeros = jax.tree.map(jnp.zeros_like, params)
    dtype = jax.tree.leaves(params)[0].dtype
    counts = {form.group: jnp.zeros(form.count, dtype) for form in network.forms}
    total = num_batches * steps * batches.index.shape[-1]
    squares, counts = lax.fori_loop(0, total, add, (zeros, counts))
    return {group: mean_of(tree, counts[group]) for group, tree in squares.items()}


def mean_of(squares: Any, counts: Array) -> Any:
    """Sums (versions, ...) over counts (versions,); 0 where a version has no samples."""
    return jax.tree.map(
        lambda leaf: leaf / jnp.maximum(counts, 1).reshape(-1, *(1,) * (leaf.ndim - 1)), squares
    )

"""Fisher weights of the adjacent penalty from single samples: an alternative to the published minibatch sums."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqfinal_jax.models.network import Variables
from seqfinal_jax.models.per_step.network import StepNetwork
from seqfinal_jax.training.objectives.risk import Batch, Objective, cross_entropy


def sample_fisher(
    objective: Objective, variables: Variables, data: dict[str, Array], batches: Batch, num_batches: Array
) -> Any:
    """A tree like the parameters: of every version the mean over samples of (∇ cross-entropy)², in evaluation mode.

    The samples are those of the first `num_batches` minibatches, each leaf (p, T, b), of the steps that use a version;
    one gradient a sample, one after another. Layers must be separate versions.
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

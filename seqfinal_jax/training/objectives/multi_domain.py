"""Objectives over several domains per step: invariant risk minimisation, and the risk of the worst domain.

A minibatch has one stream per domain. The streams must come in the order of evaluation, the driving domain first
(`streams.driving_first`): running statistics move domain by domain in it, and ties go to the earlier domain. Each
domain is a forward pass of its own with its own batch statistics; the passes are one compiled loop, so that
compilation does not grow with the number of domains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqfinal_jax.training.engine.streams import Stream, driving_first
from seqfinal_jax.training.objectives.risk import Batch, Context, Loss, Objective, Sums


class DomainPasses(NamedTuple):
    """Forward passes of a step: losses (d,), sums over samples, each (d,), running statistics after the last pass."""

    losses: Array
    sums: Sums
    batch_stats: Any

    @property
    def total(self) -> Sums:
        """Sums over the samples of all domains."""
        return jax.tree.map(jnp.sum, self.sums)


def numbered(batch: Batch) -> tuple[Array, Batch]:
    """The domains of a minibatch with their places in the order of evaluation, to loop over."""
    return jnp.arange(batch.index.shape[0]), batch


@jax.custom_vjp
def with_gradient(params: Any, value: Array, gradient: Any) -> Array:
    """`value`, with `gradient` (a tree like `params`) as its derivative for `params`."""
    return value


def _keep_gradient(params: Any, value: Array, gradient: Any) -> tuple[Array, Any]:
    return value, gradient


def _pass_gradient(gradient: Any, factor: Array) -> tuple[Any, None, None]:
    return jax.tree.map(lambda leaf: factor * leaf, gradient), None, None


with_gradient.defvjp(_keep_gradient, _pass_gradient)


@dataclass(frozen=True)
class Domains(Objective):
    """Every training step is a domain with a stream of its own. Weights of the data act on each sample's loss."""

    def in_order(self, streams: Sequence[Stream], batch_size: int, drop_single: bool) -> Sequence[Stream]:
        """The longest stream first."""
        return driving_first(streams, batch_size, drop_single)

    def domain_loss(self, params: Any, context: Context, domain: Array) -> Loss:
        """One domain's loss without the penalty on parameters, running statistics after its pass, and its sums.

        The minibatch is that of the domain; `domain` is its place in the order of evaluation, the key the step's.
        """
        return self.data_loss(params, context._replace(key=jax.random.fold_in(context.key, domain)))

    def passes(self, params: Any, context: Context) -> DomainPasses:
        """All domains of a minibatch (leaves (d,b)), one after another."""

        def one(stats: Any, domain: tuple[Array, Batch]) -> tuple[Any, tuple[Array, Sums]]:
            place, own = domain
            given = context._replace(batch_stats=stats, batch=own)
            loss, (stats, sums) = self.domain_loss(params, given, place)
            return stats, (loss, sums)

        new_stats, (losses, sums) = lax.scan(one, context.batch_stats, numbered(context.batch))
        return DomainPasses(losses, sums, new_stats)


@dataclass(frozen=True)
class WorstDomain(Domains):
    """The largest of the domains' mean losses + weight_decay·squared norm; on ties the first domain's ("DRO", 2.4).

    There are no group weights, and nothing is carried from step to step. All domains move the running statistics.
    """

    def loss(self, params: Any, context: Context) -> Loss:
        """See the class.

        Only the worst domain has a gradient, so its pass is run again with one instead of differentiating all. It
        may start from the statistics before the step: a pass in training looks at none but those of frozen groups,
        and these do not move.
        """
        first = self.passes(lax.stop_gradient(params), context)
        worst = jnp.argmax(first.losses)
        own = context._replace(batch=context.batch.stream(worst))
        loss, _ = self.domain_loss(params, own, worst)
        return loss + self.penalty(params, context), (first.batch_stats, first.total)


@dataclass(frozen=True)
class Invariant(Domains):
    """The sum over domains of mean loss + invariance penalty, + weight_decay·squared norm (IRM, spec 2.3).

    The penalty's coefficient is 1; the sums that are returned do not hold it.
    """

    def loss(self, params: Any, context: Context) -> Loss:
        """See the class.

        Each domain's gradient is taken inside the loop: faster than through the loop, and the activations of one
        domain at a time are held.
        """
        value_and_grad = jax.value_and_grad(self.domain_loss, has_aux=True)
        held = lax.stop_gradient(params)

        def one(carry: tuple[Any, Any], domain: tuple[Array, Batch]) -> tuple[Any, tuple[Array, Sums]]:
            (stats, gradient), (place, own) = carry, domain
            given = context._replace(batch_stats=stats, batch=own)
            (loss, (stats, sums)), more = value_and_grad(held, given, place)
            return (stats, jax.tree.map(jnp.add, gradient, more)), (loss, sums)

        start = (context.batch_stats, jax.tree.map(jnp.zeros_like, held))
        (new_stats, gradient), (losses, sums) = lax.scan(one, start, numbered(context.batch))
        loss = with_gradient(params, jnp.sum(losses), gradient) + self.penalty(params, context)
        return loss, (new_stats, jax.tree.map(jnp.sum, sums))

    def domain_loss(self, params: Any, context: Context, domain: Array) -> Loss:
        """The mean loss of one domain plus its penalty; see `Domains`."""
        dropout_key, halves_key = jax.random.split(jax.random.fold_in(context.key, domain))
        logits, new_stats = self.training_logits(params, context._replace(key=dropout_key))
        labels, batch = context.labels, context.batch
        sums = self.sums(logits, labels, context)
        halves = self.halves(context, domain, halves_key)
        penalty = invariance_penalty(logits, labels, halves, batch.weight)
        return sums.loss / sums.count + penalty, (new_stats, sums)

    def halves(self, context: Context, domain: Array, key: Array) -> Array:
        """The halves (2,b) of one domain's minibatch, drawn again for every domain and step."""
        return random_halves(key, len(context.batch.index), context.batch.mask)


def random_halves(key: Array, size: int, mask: Array | None = None) -> Array:
    """Two disjoint random halves of the samples that `mask` keeps, (2,size) bool; an odd one goes to the first."""
    scores = jax.random.uniform(key, (size,), jnp.float32)
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.inf)
    odd = jnp.argsort(jnp.argsort(scores)) % 2 == 1
    halves = jnp.stack([~odd, odd])
    return halves if mask is None else halves & mask


def half_gradients(logits: Array, labels: Array, halves: Array, weight: Array | None = None) -> Array:
    """Gradient of each half's mean loss for a factor 1 on every class's logit, (2,k) (spec 2.3).

    In closed form, the mean over the half of w·(softmax(z)_k - [y = k])·z_k, so that no second derivative is taken; 0
    for an empty half. logits (n,k), labels (n,), halves (2,n) bool, weight (n,).
    """
    terms = (jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)) * logits
    if weight is not None:
        terms = terms * weight.astype(terms.dtype)[:, None]
    totals = jnp.sum(jnp.where(halves[..., None], terms, 0), axis=1)
    return totals / jnp.maximum(jnp.sum(halves, axis=1, keepdims=True), 1)


def invariance_penalty(logits: Array, labels: Array, halves: Array, weight: Array | None = None) -> Array:
    """The inner product of the two `half_gradients`; may be negative."""
    return jnp.sum(jnp.prod(half_gradients(logits, labels, halves, weight), axis=0))

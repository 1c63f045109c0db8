"""The losses of fits. An objective is static (hashable) and holds no data: equal ones share compiled programs."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from seqfinal_jax.models.network import AnyNetwork, Variables, random_dropout
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.training.objectives.penalties import squared_norm


class Batch(NamedTuple):
    """One minibatch of every parallel stream: row numbers, mask (None: all full) and weights, each (d, b)."""

    index: Array
    mask: Array | None
    weight: Array


class Context(NamedTuple):
    """The inputs of a loss besides parameters and batch.

    data: {"images": (N,h,w,c) uint8 or float, "labels": (N,) int32}; constants: fixed for the stage and seed, for
    example previous weights; extra: state of the objective that moves during the fit, for example Fisher weights;
    trainable: for each group a scalar, 0 where it is frozen.
    """

    data: dict[str, Array]
    trainable: dict[str, Array]
    constants: Any = None
    extra: Any = None


class Sums(NamedTuple):
    """Sums over samples: weighted cross-entropy, right answers, samples."""

    loss: Array
    correct: Array
    count: Array


@dataclass(frozen=True)
class InputScaling:
    """How stored pixels become inputs: (x/255 - mean)/std, or as they are when mean is None."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __call__(self, pixels: Array, dtype: Any) -> Array:
        """Pixels (n,h,w,c) of any dtype to inputs of the parameters' dtype."""
        x = pixels.astype(dtype)
        if self.mean is None:
            return x
        mean, std = jnp.asarray(self.mean, dtype), jnp.asarray(self.std, dtype)
        return x * (1 / (255 * std)) - mean / std


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Softmax cross-entropy of each sample, natural logarithm, (n,k) and (n,) to (n,)."""
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    chosen = jnp.take_along_axis(shifted, labels[:, None], axis=-1)[:, 0]
    return jnp.log(jnp.sum(jnp.exp(shifted), axis=-1)) - chosen


def answered_right(logits: Array, labels: Array) -> Array:
    """Which samples are answered right, (n,) bool; non-finite logits count as wrong."""
    return (jnp.argmax(logits, axis=-1) == labels) & jnp.all(jnp.isfinite(logits), axis=-1)


def batch_sums(
    logits: Array, labels: Array, mask: Array | None, weight: Array | None, losses: Array | None = None
) -> Sums:
    """Sums of a minibatch; masked samples take no part. `losses` (n,) take the place of the cross-entropy."""
    losses = cross_entropy(logits, labels) if losses is None else losses
    if weight is not None:
        losses = losses * weight.astype(losses.dtype)
    correct, count = answered_right(logits, labels), jnp.ones(labels.shape, losses.dtype)
    if mask is not None:
        losses, correct = jnp.where(mask, losses, 0), correct & mask
        count = mask.astype(losses.dtype)
    return Sums(jnp.sum(losses), jnp.sum(correct.astype(losses.dtype)), jnp.sum(count))


@dataclass(frozen=True)
class Objective:
    """Interface of objectives; the parts that are optional do nothing here.

    first_trained: the place of the lowest group of a plain network that is trained; no gradient is computed below it.
    """

    network: AnyNetwork
    scaling: InputScaling = InputScaling()
    freeze_batch_stats: bool = False
    first_trained: int = field(default=0, kw_only=True)

    def init_extra(self, variables: Variables) -> Any:
        """Initial state of the objective itself."""
        return None

    def loss(
        self,
        params: Any,
        batch_stats: Any,
        context: Context,
        batch: Batch,
        hyper: dict[str, Array],
        key: Array,
    ) -> tuple[Array, tuple[Any, Sums]]:
        """The scalar to minimise, the running statistics after the pass, and the data's sums."""
        raise TypeError(f"{type(self).__name__} defines no loss")

    def after_step(self, extra: Any, gradients: Any, batch: Batch) -> Any:
        """The objective's state after an optimiser step."""
        return extra

    def after_epoch(
        self, extra: Any, variables: Variables, data: dict[str, Array], batches: Batch, num_batches: Array
    ) -> Any:
        """The objective's state after an epoch over the first `num_batches` minibatches of `batches`."""
        return extra

    def frozen(self, context: Context) -> dict[str, Array] | None:
        """Which groups' batch norm stays in evaluation mode; None for the published behaviour."""
        return jax.tree.map(lambda m: m == 0, context.trainable) if self.freeze_batch_stats else None

    def inputs(self, data: dict[str, Array], index: Array, dtype: Any) -> Array:
        """Gathers rows (n,) of the data and scales them."""
        return self.scaling(data["images"][index], dtype)

    def training_logits(
        self,
        params: Any,
        batch_stats: Any,
        context: Context,
        index: Array,
        mask: Array | None,
        hyper: dict[str, Array],
        key: Array,
    ) -> tuple[Array, Any]:
        """Logits in training mode with dropout, (n,) rows to (n,k), and the running statistics after the pass."""
        dtype = jax.tree.leaves(params)[0].dtype
        logits, new_stats, _ = self.network.apply(
            {"params": params, "batch_stats": batch_stats},
            self.inputs(context.data, index, dtype),
            Pass(train=True, sample_mask=mask),
            drop=random_dropout(hyper["dropout"], key),
            frozen=self.frozen(context),
            first_trained=self.first_trained,
        )
        return logits, new_stats

    def logits(self, variables: Variables, data: dict[str, Array], index: Array, step: Array | None) -> Array:
        """Logits in evaluation mode, (n,) to (n,k), of the network of time step `step` (None: the last one)."""
        dtype = jax.tree.leaves(variables["params"])[0].dtype
        return self.network.apply(variables, self.inputs(data, index, dtype), step=step)[0]


@dataclass(frozen=True)
class EmpiricalRisk(Objective):
    """Mean over the minibatch of w·cross-entropy, plus weight_decay times the squared norm of all kernels.

    The mean divides by the number of samples, never by the sum of weights (spec 2.1).
    """

    def loss(
        self,
        params: Any,
        batch_stats: Any,
        context: Context,
        batch: Batch,
        hyper: dict[str, Array],
        key: Array,
    ) -> tuple[Array, tuple[Any, Sums]]:
        """See the class."""
        index = batch.index[0]
        mask = None if batch.mask is None else batch.mask[0]
        logits, new_stats = self.training_logits(params, batch_stats, context, index, mask, hyper, key)
        labels = context.data["labels"][index]
        losses = self.sample_losses(logits, labels, hyper)
        sums = batch_sums(logits, labels, mask, batch.weight[0], losses)
        return sums.loss / sums.count + self.penalty(params, context, hyper), (new_stats, sums)

    def sample_losses(self, logits: Array, labels: Array, hyper: dict[str, Array]) -> Array:
        """The loss of each sample in training, (n,k) and (n,) to (n,): the place for a loss of one's own.

        `hyper` are the member's hyper-parameters, those of own axes among them.
        """
        return cross_entropy(logits, labels)

    def penalty(self, params: Any, context: Context, hyper: dict[str, Array]) -> Array:
        """What the parameters cost: weight_decay times their squared norm."""
        return hyper["weight_decay"] * squared_norm(params)

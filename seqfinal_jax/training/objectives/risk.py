"""Objectives: what a stage minimises, on which minibatches, and what is evaluated.

An objective is a frozen data class that a recipe gives to a stage; its class, fields and `version` are part of the
stage's fingerprint. `risk` fills in the fields that the run knows (`of_run`): the result is static (hashable) and holds
no data, and equal ones share compiled programs. A new kind is a subclass, here or in a user's file:

    @dataclass(frozen=True)
    class Smoothed(Pooled):
        def sample_losses(self, logits, labels, hyper): ...
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqfinal_jax.models.network import AnyNetwork, Variables, random_dropout
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.training.augmentations import Augmentation
from seqfinal_jax.training.engine.streams import Batches, EvaluationSet, Stream
from seqfinal_jax.training.objectives.penalties import squared_norm

Steps = tuple[int, ...]
Rows = Callable[[int, str], np.ndarray]  # (time step, split) -> row numbers of the images
TRAIN_OVER_FORWARD = 3.0


class Batch(NamedTuple):
    """One minibatch of every parallel stream: row numbers, mask (None: all full) and weights, each (d, b).

    step: the time step of each sample, for an objective with `sees_steps`.
    """

    index: Array
    mask: Array | None
    weight: Array
    step: Array | None = None

    def stream(self, place: int | Array) -> "Batch":
        """The minibatch of one stream, each leaf (b,)."""
        return jax.tree.map(lambda leaf: leaf[place], self)


def batch_of(stored: Batches) -> Batch:
    """The arrays of stored minibatches, each with the leading axis that they have there."""
    return Batch(stored.index, stored.mask, stored.weight, stored.step)


class Context(NamedTuple):
    """What a loss is given besides the parameters.

    data: {"images": (N,h,w,c) uint8 or float, "labels": (N,) int32}; trainable: for each group a scalar, 0 where it is
    frozen; batch_stats: the running statistics before the pass; batch: the minibatch of every stream, or of one where a
    method says so; hyper: the hyper-parameters, those of own axes among them; key: the random key of the update;
    constants: fixed for the stage and seed, for example previous weights; extra: state of the objective that moves during
    the fit, for example Fisher weights.
    """

    data: dict[str, Array]
    trainable: dict[str, Any]
    batch_stats: Any
    batch: Batch
    hyper: dict[str, Array]
    key: Array
    constants: Any = None
    extra: Any = None

    @property
    def labels(self) -> Array:
        """The labels of the minibatch."""
        return self.data["labels"][self.batch.index]


class Sums(NamedTuple):
    """Sums over samples: weighted cross-entropy, right answers, samples."""

    loss: Array
    correct: Array
    count: Array


class Update(NamedTuple):
    """An update that was made: the variables after it, the gradients, what the loss was given, and what it passed on.

    passed: the third part of what the loss returned beside its value, such as the losses of domains.
    """

    variables: Variables
    gradients: Any
    context: Context
    passed: Any = None


# A scalar; the running statistics after the pass, the sums of the data, and whatever `after_update` is to see.
Loss = tuple[Array, tuple[Any, Sums] | tuple[Any, Sums, Any]]


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
    """Softmax cross-entropy of each sample, natural logarithm, (n,k) and (n,) to (n,).

    optax's has other last bits: it adds the largest logit again before it subtracts the label's.
    """
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


def of_run(default: Any) -> Any:
    """A field that `Objective.risk` fills in, from the settings of the run; it is no part of a stage's description."""
    return field(default=default, kw_only=True, repr=False, metadata={"of_run": True})


@dataclass(frozen=True)
class Objective:
    """The interface of objectives, with the behaviour that most of them share: empirical risk on one stream.

    The loss is the mean over the minibatch of w·cross-entropy, plus weight_decay times the squared norm of all kernels.
    The mean divides by the number of samples, never by the sum of weights (spec 2.1).

    version: raise it when the code changes so that the same fields give other results.
    reads: the settings of the run (`Training`) that it depends on, in addition to those that every stage reads.
    network_per_step: every time step has its own network, and all are trained at once.
    sees_steps: minibatches tell the time step of each sample (`Batch.step`), those of evaluation sets too.
    selection: what selects the epoch and the grid point, in words, where it is not the accuracy on labels.
    risk_class: another objective whose loss is taken; a method of the class itself says the same with less.
    first_trained: the place of the lowest group of a plain network that is trained; no gradient is computed below it.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()
    network_per_step: ClassVar[bool] = False
    sees_steps: ClassVar[bool] = False
    selection: ClassVar[str] = ""
    risk_class: ClassVar[type | None] = None
    network: Any = of_run(None)  # an AnyNetwork, once the run is known
    scaling: InputScaling = of_run(InputScaling())
    freeze_batch_stats: bool = of_run(False)
    first_trained: int = of_run(0)
    augmentation: Augmentation | None = of_run(None)

    def risk(self, network: AnyNetwork, training: Any) -> "Objective":
        """The objective as the engine minimises it, for a network and the run's settings (`Training`)."""
        one = self._with_loss_of(self.risk_class) if self.risk_class else self
        own = {f.name for f in fields(one) if "of_run" in f.metadata}
        return replace(one, **{n: v for n, v in vars(training).items() if n in own}, network=network)

    def _with_loss_of(self, other: "type[Objective]") -> "Objective":
        names = (f.name for f in fields(other) if f.init)
        return other(**{name: getattr(self, name) for name in names if hasattr(self, name)})

    def streams(self, train: Steps, rows: Rows) -> list[Stream]:
        """The streams of minibatches over the training steps: one for each step."""
        return [Stream(step, rows(step, "train")) for step in train]

    def in_order(self, streams: Sequence[Stream], batch_size: int, drop_single: bool) -> Sequence[Stream]:
        """The streams in the order in which a minibatch holds them."""
        return streams

    def driver(self, streams: Sequence[Stream]) -> int | None:
        """The place of the stream whose one pass is an epoch; the others run on. None: the longest."""
        return None

    def evaluation(
        self, train: Steps, valid: Steps, rows: Rows, with_train: bool
    ) -> dict[str, EvaluationSet]:
        """The set "valid", which is used for selection, and "train" if it is requested."""
        chosen = np.concatenate([rows(step, "valid") for step in valid])
        steps = np.repeat(valid, [len(rows(step, "valid")) for step in valid]) if self.sees_steps else None
        sets = {"valid": EvaluationSet(valid[-1], chosen, None, steps)}
        return sets | {"train": self.training_set(train, rows)} if with_train else sets

    def training_set(self, train: Steps, rows: Rows) -> EvaluationSet:
        """All training samples in stored order, with their loss weights."""
        streams = self.streams(train, rows)
        steps = np.concatenate([s.own_steps for s in streams]) if self.sees_steps else None
        rows = np.concatenate([s.rows for s in streams])
        return EvaluationSet(streams[-1].step, rows, streams[0].weights, steps)

    def constants(
        self, network: AnyNetwork, training: Any, data: dict[str, Any], anchors: Sequence[Any]
    ) -> Any:
        """Arrays that stay fixed during the fit of one seed, given the stage's `Anchor`s; None where there are none."""
        return None

    def operations(
        self,
        train: Steps,
        valid: Steps,
        sizes: Sequence[int],
        forward: Callable[[int], float],
        batch_size: int,
    ) -> float:
        """Floating-point operations of an epoch; `sizes`: samples per step, `forward(step)`: those of a sample's pass."""
        trained = 0.8 * sum(sizes[step] for step in train)
        checked = 0.2 * sum(sizes[step] for step in valid)
        return forward(valid[-1]) * (TRAIN_OVER_FORWARD * trained + checked)

    def own_params(self, train: Steps, params: dict[str, Any]) -> dict[str, Any]:
        """Start values of parameters of the objective's own, by names of groups that the network does not have.

        They are trained, stored and loaded with those of the network (`params`), which does not see them.
        """
        return {}

    def init_extra(self, variables: Variables) -> Any:
        """Initial state of the objective itself."""
        return None

    def loss(self, params: Any, context: Context) -> Loss:
        """The scalar to minimise, the running statistics after the pass, and the data's sums.

        Raises TypeError for minibatches of several streams, for which a subclass needs a loss of its own.
        """
        if len(context.batch.index) != 1:
            raise TypeError(f"{type(self).__name__} defines no loss of {len(context.batch.index)} streams")
        loss, aux = self.data_loss(params, context._replace(batch=context.batch.stream(0)))
        return loss + self.penalty(params, context), aux

    def data_loss(self, params: Any, context: Context) -> Loss:
        """The mean loss of one stream's minibatch (leaves (b,)), without the penalty."""
        logits, new_stats = self.training_logits(params, context)
        sums = self.sums(logits, context.labels, context)
        return sums.loss / sums.count, (new_stats, sums)

    def sums(self, logits: Array, labels: Array, context: Context) -> Sums:
        """Sums of one stream's minibatch."""
        losses = self.sample_losses(logits, labels, context.hyper)
        return batch_sums(logits, labels, context.batch.mask, context.batch.weight, losses)

    def sample_losses(self, logits: Array, labels: Array, hyper: dict[str, Array]) -> Array:
        """The loss of each sample in training, (n,k) and (n,) to (n,): the place for a loss of one's own.

        `hyper` are the training's hyper-parameters, those of own axes among them.
        """
        return cross_entropy(logits, labels)

    def penalty(self, params: Any, context: Context) -> Array:
        """What the parameters cost: weight_decay times their squared norm."""
        return context.hyper["weight_decay"] * squared_norm(params)

    def rates(self, extra: Any, context: Context) -> Any:
        """Factors of the learning rate: for each layer group a number or a tree of them by its tensors; None: 1.

        Groups and tensors that are not named have factor 1. `extra` is the objective's state before the update.
        """
        return None

    def after_step(self, extra: Any, gradients: Any, batch: Batch) -> Any:
        """The objective's state after an optimiser step."""
        return extra

    def after_update(self, extra: Any, update: Update) -> Any:
        """The objective's state after an update, of which everything is known; by default that of `after_step`."""
        return self.after_step(extra, update.gradients, update.context.batch)

    def evaluated(self, variables: Variables, extra: Any) -> Variables:
        """The variables that are evaluated and kept in place of those that are trained, such as their average."""
        return variables

    def before_epoch(
        self, extra: Any, variables: Variables, data: dict[str, Array], batches: Batch, num_batches: Array
    ) -> Any:
        """The objective's state before an epoch over the first `num_batches` minibatches of `batches`."""
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

    def training_inputs(self, context: Context, dtype: Any) -> Array:
        """The inputs of one stream's minibatch, changed at random where the run has an augmentation."""
        if self.augmentation is None:
            return self.inputs(context.data, context.batch.index, dtype)
        pixels = self.augmentation(context.data["images"][context.batch.index], context.key)
        return self.inputs({**context.data, "images": pixels}, jnp.arange(len(pixels)), dtype)

    def training_logits(self, params: Any, context: Context) -> tuple[Array, Any]:
        """Logits (b,k) of one stream's minibatch in training mode, with dropout, and the running statistics after."""
        dtype = jax.tree.leaves(params)[0].dtype
        logits, new_stats, _ = self.network.apply(
            {"params": params, "batch_stats": context.batch_stats},
            self.training_inputs(context, dtype),
            Pass(train=True, sample_mask=context.batch.mask),
            drop=random_dropout(context.hyper["dropout"], context.key),
            frozen=self.frozen(context),
            first_trained=self.first_trained,
        )
        return logits, new_stats

    def evaluation_sums(self, logits: Array, data: dict[str, Array], batch: Batch, constants: Any) -> Sums:
        """Sums over a minibatch (leaves (b,)) of an evaluation set, of which "correct" over "count" selects.

        The place for labels that are not the stored ones, and for a score without any; `constants` are those of the fit.
        """
        return batch_sums(logits, data["labels"][batch.index], batch.mask, batch.weight)

    def logits(self, variables: Variables, data: dict[str, Array], index: Array, step: Array | None) -> Array:
        """Logits in evaluation mode, (n,) to (n,k), of the network of time step `step` (None: the last one)."""
        dtype = jax.tree.leaves(variables["params"])[0].dtype
        return self.network.apply(variables, self.inputs(data, index, dtype), step=step)[0]


EmpiricalRisk = Objective  # the name under which users' files derive a loss from it


@dataclass(frozen=True)
class Pooled(Objective):
    """Empirical risk over all training steps as one set; `weights`, if given, has one loss weight for each step."""

    weights: tuple[float, ...] | None = None

    def risk(self, network: AnyNetwork, training: Any) -> Objective:
        """Without the weights, which act on the streams alone: stages of any weights share one compiled program."""
        return Objective.risk(replace(self, weights=None), network, training)

    def streams(self, train: Steps, rows: Rows) -> list[Stream]:
        """One stream of all steps."""
        parts, weights = [rows(step, "train") for step in train], None
        if self.weights is not None:
            weights = np.concatenate([np.full(len(p), w) for p, w in zip(parts, self.weights, strict=True)])
        steps = np.repeat(train, [len(part) for part in parts]) if self.sees_steps else None
        return [Stream(train[-1], np.concatenate(parts), weights, steps)]

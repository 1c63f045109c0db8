"""The joint model: the networks of all time steps trained at once, tied together (joint-model spec, sections 1 and 3).

A minibatch has one stream for each time step, in order of time; running statistics move in that order. A step's pass and
its gradient are one turn of a compiled loop, so compilation does not grow with the number of steps, the activations of
one step at a time are held, and of separate layers only the step's own version is touched. Few steps of summed layers
are written out instead: the versions then share what they compute of their common input.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from seqfinal_jax.models.network import Variables, random_dropout
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.per_step.versions import stack
from seqfinal_jax.training.engine.streams import EvaluationSet
from seqfinal_jax.training.objectives.fisher import sample_fisher
from seqfinal_jax.training.objectives.multi_domain import numbered, with_gradient
from seqfinal_jax.training.objectives.risk import (
    TRAIN_OVER_FORWARD,
    Batch,
    Context,
    Loss,
    Objective,
    Rows,
    Steps,
)
from seqfinal_jax.training.objectives.step_penalties import adjacent_norm, parameter_norms

# Up to so many steps of summed layers are written out; compilation grows with their square.
WRITTEN_OUT = 4


class FisherState(NamedTuple):
    """Weights Φ of the adjacent penalty, and what the epoch has gathered for the next ones (spec 1.4).

    weights and squares: trees like the parameters; count: samples of all steps so far in the epoch.
    """

    weights: Any
    squares: Any
    count: Array


@dataclass(frozen=True)
class JointSteps(Objective):
    """The joint model: (1/T)·Σ_t w_t·cross-entropy_t + weight_decay·Ω + adjacent·Δ (joint-model spec, section 1).

    w_t = 1 and hyper["final_weight"] at the last step, or 1/(T-t) if `increasing`. `power` (2 or 1) is that of Δ;
    `by_time` weighs both penalties by time. The weight of Ω for parameter-efficient versions is
    hyper["efficient_decay"] if there is one. With `fisher` Δ is weighted by the last epoch's mean of squared gradients
    of this whole objective, a minibatch at a time; 1 in the first epoch. `per_sample` takes squares of single samples'
    gradients of the cross-entropy instead, at the end of the epoch (`sample_fisher`).

    Minibatches are (T, b). The sums returned are over the samples of all steps, each of weight 1. Raises ValueError
    for other powers, and for `fisher` with layers that are no complete versions.
    """

    network_per_step = True
    power: int = 2
    by_time: bool = False
    increasing: bool = False
    fisher: bool = False
    per_sample: bool = False

    def __post_init__(self) -> None:
        """Checks the combination."""
        if self.power not in (1, 2):
            raise ValueError(f"power = {self.power}: the adjacent penalty has power 1 or 2")
        separate = self.network is None or self.network.is_separate
        if self.fisher and (self.power == 1 or not separate):
            raise ValueError(
                f"an adjacent penalty with Fisher weights needs power 2 and separate layers, found power {self.power} "
                f"and {self.network.mode if self.network else 'separate'}"
            )

    def evaluation(
        self, train: Steps, valid: Steps, rows: Rows, with_train: bool
    ) -> dict[str, EvaluationSet]:
        """Set "valid", of the final step, is used for selection; "valid_step0", "train_step0", ... are of earlier steps.

        Each is evaluated with its own step's network.
        """
        last, sets = valid[-1], {}
        for split in ("valid", "train") if with_train else ("valid",):
            for step in (last, *(t for t in train if t != last)):
                name = split if step == last else f"{split}_step{step}"
                sets[name] = EvaluationSet(step, rows(step, split))
        return sets

    def operations(
        self,
        train: Steps,
        valid: Steps,
        sizes: Sequence[int],
        forward: Callable[[int], float],
        batch_size: int,
    ) -> float:
        """Every step has as many minibatches as the longest one."""
        own = [forward(step) for step in train]
        trained = batch_size * max(math.ceil(0.8 * sizes[step] / batch_size) for step in train)
        checked = 0.2 * sum(sizes[step] * each for step, each in zip(train, own, strict=True))
        return TRAIN_OVER_FORWARD * trained * sum(own) + checked

    @property
    def is_written_out(self) -> bool:
        """Whether the steps are no loop of the program; see the module."""
        return self.network.shares and self.network.num_steps <= WRITTEN_OUT

    def init_extra(self, variables: Variables) -> FisherState | None:
        """Fisher weights 1 and nothing gathered."""
        if not self.fisher:
            return None
        params = variables["params"]
        zeros = jax.tree.map(jnp.zeros_like, params)
        count = jnp.zeros((), jax.tree.leaves(params)[0].dtype)
        return FisherState(jax.tree.map(jnp.ones_like, params), zeros, count)

    def after_step(self, extra: FisherState | None, gradients: Any, batch: Batch) -> FisherState | None:
        """Gathers squared gradients."""
        if extra is None or self.per_sample:
            return extra
        squares = jax.tree.map(lambda s, g: s + jnp.square(g), extra.squares, gradients)
        count = batch.index.size if batch.mask is None else jnp.sum(batch.mask)
        return FisherState(extra.weights, squares, extra.count + count)

    def after_epoch(
        self,
        extra: FisherState | None,
        variables: Variables,
        data: dict[str, Array],
        batches: Batch,
        num_batches: Array,
    ) -> FisherState | None:
        """What was gathered becomes the weights of the next epoch; or the squares of single samples' gradients do."""
        if extra is None:
            return None
        if self.per_sample:
            return extra._replace(weights=sample_fisher(self, variables, data, batches, num_batches))
        weights = jax.tree.map(lambda s: s / jnp.maximum(extra.count, 1), extra.squares)
        zeros = jax.tree.map(jnp.zeros_like, extra.squares)
        return FisherState(weights, zeros, jnp.zeros_like(extra.count))

    def loss(self, params: Any, context: Context) -> Loss:
        """See the class."""
        network, held = self.network, lax.stop_gradient(params)
        value_and_grad = jax.value_and_grad(self.step_loss, has_aux=True)
        weights = step_weights(network.num_steps, None if self.increasing else context.hyper["final_weight"])

        def one(carry: tuple[Any, Any], step: tuple[tuple[Array, Batch], Array]) -> Any:
            (stats, gradient), ((t, batch), weight) = carry, step
            row = network.row(stats, t)
            given = context._replace(batch_stats=stats, batch=batch)
            (loss, (moved, sums)), more = value_and_grad(network.own(held, row), given, t, weight)
            return (moved, network.add(gradient, row, more)), (loss, sums)

        start = (context.batch_stats, jax.tree.map(jnp.zeros_like, held))
        loop = in_turn if self.is_written_out else lax.scan
        (new_stats, gradient), (losses, sums) = loop(one, start, (numbered(context.batch), weights))
        loss = with_gradient(params, jnp.sum(losses), gradient)
        return loss + self.penalty(params, context), (new_stats, jax.tree.map(jnp.sum, sums))

    def step_loss(self, own: Any, context: Context, step: int | Array, weight: Array) -> Loss:
        """One step's weighted share of the data term, all running statistics after its pass, and its sums.

        `own` is what the step uses of the parameters (`StepNetwork.own`); the minibatch is the step's, the key the
        update's.
        """
        dtype = jax.tree.leaves(own)[0].dtype
        row, key = self.network.row(context.batch_stats, step), jax.random.fold_in(context.key, step)
        logits, moved, _ = self.network.apply_own(
            {"params": own, "batch_stats": self.network.own(context.batch_stats, row)},
            row,
            self.training_inputs(context._replace(key=key), dtype),
            Pass(train=True, sample_mask=context.batch.mask),
            drop=random_dropout(context.hyper["dropout"], key),
            frozen=self.frozen(context),
        )
        sums = self.sums(logits, context.labels, context)
        loss = weight.astype(dtype) * sums.loss / sums.count
        return loss, (self.network.put(context.batch_stats, row, moved), sums)

    def penalty(self, params: Any, context: Context) -> Array:
        """weight_decay·Ω + adjacent·Δ; parameter-efficient versions are never weighed by a ratio, which may be 0/0."""
        network, hyper = self.network, context.hyper
        table = network.table(context.batch_stats)
        table = None if table is network.versions else table
        decay = hyper["weight_decay"]
        plain, efficient = parameter_norms(network, params, by_time=self.by_time, table=table)
        total = decay * plain + hyper.get("efficient_decay", decay) * efficient
        weights = context.extra.weights if self.fisher else None
        delta = adjacent_norm(network, params, self.power, self.by_time, weights, table)
        return total + hyper["adjacent"] * delta


def in_turn(one: Any, start: Any, steps: tuple[tuple[Array, Batch], Array]) -> tuple[Any, Any]:
    """As `lax.scan`, with the loop written out and the steps' numbers known to the program."""
    (numbers, batch), weights = steps
    carry, outputs = start, []
    for t in range(len(numbers)):
        carry, output = one(carry, ((t, jax.tree.map(lambda leaf, t=t: leaf[t], batch)), weights[t]))
        outputs.append(output)
    return carry, stack(outputs)


def step_weights(steps: int, final: Array | float | None) -> Array:
    """w_t/T: w_t = 1 and `final` at the last step, or 1/(T-t) if there is no `final` (spec 1.1)."""
    if final is None:
        return jnp.asarray(1 / (steps - np.arange(steps)) / steps)
    return jnp.ones(steps, jnp.result_type(float)).at[-1].set(final) / steps

"""The compiled programs of a fit: an epoch, an evaluation, the keeping of the best.

Each takes trees with a leading axis of members, runs them one after another (`"map"`) or together (`"vmap"`), and
takes everything that varies as data: hyper-parameters, masks, index arrays and the number of minibatches. So one
compilation serves every fit of equal network, objective, chunk size and batch length.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from seqfinal_jax.models.network import Variables
from seqfinal_jax.training.objectives.risk import Batch, Context, Objective, Sums, batch_sums

Vectorise = Literal["map", "vmap"]

# Adam as published: the penalty's gradient goes through the moments, epsilon outside the square root.
ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


class Member(NamedTuple):
    """What distinguishes members as data, each leaf with a leading member axis.

    stream: which row of the stacked streams, constants and evaluation sets is this member's;
    key: base of its dropout keys; hyper: learning_rate, weight_decay, dropout, ...;
    trainable: for each group 1 or 0, or (versions,) of them, or a dictionary by the group's parts (`mask_groups`).
    """

    stream: Array
    key: Array
    hyper: dict[str, Array]
    trainable: dict[str, Any]


class State(NamedTuple):
    """What an epoch changes, each leaf with a leading member axis."""

    params: Any
    batch_stats: Any
    optimiser: Any
    extra: Any

    @property
    def variables(self) -> Variables:
        """The network's variables."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def over_members(function: Callable, vectorise: Vectorise, *trees: Any) -> Any:
    """Applies `function` to every entry of the leading axis, one after another or as one batch."""
    if vectorise == "vmap":
        return jax.vmap(function)(*trees)
    return lax.map(lambda entries: function(*entries), trees)


def mask_groups(tree: Any, trainable: Any) -> Any:
    """Zeros where a mask is 0, exactly, also where the entry is not finite.

    A mask holds for the whole subtree at its place: a scalar for a group, (versions,) for a stack, or a dictionary of
    them for the parts of a group.
    """
    if isinstance(trainable, dict):
        return {name: mask_groups(subtree, trainable[name]) for name, subtree in tree.items()}

    def masked(leaf: Array) -> Array:
        mask = trainable.reshape(trainable.shape + (1,) * (leaf.ndim - trainable.ndim))
        return jnp.where(mask != 0, leaf, 0)

    return jax.tree.map(masked, tree)


def all_finite(tree: Any) -> Array:
    """Whether every entry of every leaf is finite. One test of one array: one test per leaf takes long to compile."""
    return jnp.all(jnp.isfinite(jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])))


@partial(jax.jit, static_argnames=("objective", "vectorise"))
def init_state(objective: Objective, vectorise: Vectorise, variables: Variables) -> State:
    """A fresh optimiser and objective state around start variables."""

    def one(variables: Variables) -> State:
        params = variables["params"]
        return State(params, variables["batch_stats"], ADAM.init(params), objective.init_extra(variables))

    return over_members(one, vectorise, variables)


@partial(jax.jit, static_argnames=("objective", "vectorise"), donate_argnames=("state",))
def train_epoch(
    objective: Objective,
    vectorise: Vectorise,
    state: State,
    members: Member,
    data: dict[str, Array],
    constants: Any,
    batches: Batch,
    num_batches: Array,
    epoch: Array,
) -> tuple[State, Sums, Array]:
    """One epoch of every member: new states, running sums of the training passes, and whether all was finite.

    `batches` and `constants` have a leading axis of streams; `batches` is padded, `num_batches` of it are run.
    """

    def one(state: State, member: Member) -> tuple[State, Sums, Array]:
        own = jax.tree.map(lambda leaf: leaf[member.stream], constants)
        key = jax.random.fold_in(member.key, epoch)

        def step(i: Array, carry: tuple[State, Sums, Array]) -> tuple[State, Sums, Array]:
            state, sums, finite = carry
            batch = jax.tree.map(lambda leaf: leaf[member.stream, i], batches)
            context = Context(data, member.trainable, own, state.extra)
            value_and_grad = jax.value_and_grad(objective.loss, has_aux=True)
            (loss, (batch_stats, batch_sum)), gradients = value_and_grad(
                state.params, state.batch_stats, context, batch, member.hyper, jax.random.fold_in(key, i)
            )
            gradients = mask_groups(gradients, member.trainable)
            updates, optimiser = ADAM.update(gradients, state.optimiser)
            rate = member.hyper["learning_rate"]
            params = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u, state.params, updates)
            extra = objective.after_step(state.extra, gradients, batch)
            sums = jax.tree.map(jnp.add, sums, batch_sum)
            return State(params, batch_stats, optimiser, extra), sums, finite & jnp.isfinite(loss)

        dtype = jax.tree.leaves(state.params)[0].dtype
        zeros = Sums(*(jnp.zeros((), dtype) for _ in Sums._fields))
        state, sums, finite = lax.fori_loop(0, num_batches, step, (state, zeros, jnp.asarray(True)))
        own_batches = jax.tree.map(lambda leaf: leaf[member.stream], batches)
        extra = objective.after_epoch(state.extra, state.variables, data, own_batches, num_batches)
        state = state._replace(extra=extra)
        return state, sums, finite & all_finite(state.params)

    return over_members(one, vectorise, state, members)


@partial(jax.jit, static_argnames=("objective", "vectorise"))
def evaluate(
    objective: Objective,
    vectorise: Vectorise,
    variables: Variables,
    members: Member,
    data: dict[str, Array],
    batches: Batch,
    num_batches: Array,
    step: Array,
) -> Sums:
    """Sums over an evaluation set (stacked over streams), in evaluation mode, of every member."""

    def one(variables: Variables, member: Member) -> Sums:
        def add(i: Array, sums: Sums) -> Sums:
            index, mask, weight = (leaf[member.stream, i, 0] for leaf in batches)
            logits = objective.logits(variables, data, index, step)
            return jax.tree.map(jnp.add, sums, batch_sums(logits, data["labels"][index], mask, weight))

        dtype = jax.tree.leaves(variables["params"])[0].dtype
        zeros = Sums(*(jnp.zeros((), dtype) for _ in Sums._fields))
        return lax.fori_loop(0, num_batches, add, zeros)

    return over_members(one, vectorise, variables, members)


@partial(jax.jit, static_argnames=("objective",))
def predict_batch(
    objective: Objective, variables: Variables, data: dict[str, Array], index: Array, step: Array
) -> Array:
    """Logits (b,k) of one member's variables (no member axis) for rows (b,) of the data."""
    return objective.logits(variables, data, index, step)


@partial(jax.jit, donate_argnames=("best",))
def keep_best(best: Variables, current: Variables, improved: Array) -> Variables:
    """The current variables of the members that improved, the earlier best ones of the others."""

    def choose(old: Array, new: Array) -> Array:
        return jnp.where(improved.reshape(improved.shape + (1,) * (old.ndim - 1)), new, old)

    return jax.tree.map(choose, best, current)

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
from jax import Array, lax

from seqfinal_jax.models.network import Variables
from seqfinal_jax.training.augmentations import reached
from seqfinal_jax.training.engine.optimisers import ADAM, Optimiser, Progress
from seqfinal_jax.training.objectives.risk import Batch, Context, Objective, Sums, Update

Vectorise = Literal["map", "vmap"]


class Program(NamedTuple):
    """What is compiled, all of it static: how members run, one after another (`"map"`) or together (`"vmap"`)."""

    objective: Objective
    optimiser: Optimiser
    vectorise: Vectorise


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


class Epoch(NamedTuple):
    """The data of an epoch. `batches` and `constants` have a leading axis of streams.

    `batches` is padded, the first `count` of it are run; number: from 1; allowed: the limit of epochs.
    """

    data: dict[str, Array]
    constants: Any
    batches: Batch
    count: Array
    number: Array
    allowed: Array


class Evaluation(NamedTuple):
    """A padded evaluation set (stacked over streams), its number of minibatches, the time step whose network is asked."""

    batches: Batch
    count: Array
    step: Array


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
    them for the parts of a group. What has no mask, such as parameters of an objective's own, is trained.
    """
    if isinstance(trainable, dict):
        return {
            name: mask_groups(subtree, trainable[name]) if name in trainable else subtree
            for name, subtree in tree.items()
        }

    def masked(leaf: Array) -> Array:
        mask = trainable.reshape(trainable.shape + (1,) * (leaf.ndim - trainable.ndim))
        return jnp.where(mask != 0, leaf, 0)

    return jax.tree.map(masked, tree)


def scale_groups(tree: Any, factors: Any) -> Any:
    """The tree with every leaf times its factor: one for a subtree, or a dictionary of them for some of its parts."""
    if isinstance(factors, dict):
        return {
            name: scale_groups(subtree, factors[name]) if name in factors else subtree
            for name, subtree in tree.items()
        }

    def scaled(leaf: Array) -> Array:
        factor = jnp.asarray(factors, leaf.dtype)
        return leaf * factor.reshape(factor.shape + (1,) * (leaf.ndim - factor.ndim))

    return jax.tree.map(scaled, tree)


def all_finite(tree: Any) -> Array:
    """Whether every entry of every leaf is finite. One test of one array: one test per leaf takes long to compile."""
    return jnp.all(jnp.isfinite(jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])))


def zero_sums(params: Any) -> Sums:
    """Sums over no samples, in the parameters' dtype."""
    dtype = jax.tree.leaves(params)[0].dtype
    return Sums(*(jnp.zeros((), dtype) for _ in Sums._fields))


@partial(jax.jit, static_argnames=("program",))
def init_state(program: Program, variables: Variables) -> State:
    """A fresh optimiser and objective state around start variables."""

    def one(variables: Variables) -> State:
        params = variables["params"]
        optimiser, extra = program.optimiser.init(params), program.objective.init_extra(variables)
        return State(params, variables["batch_stats"], optimiser, extra)

    return over_members(one, program.vectorise, variables)


@partial(jax.jit, static_argnames=("program",), donate_argnames=("state",))
def train_epoch(program: Program, state: State, members: Member, epoch: Epoch) -> tuple[State, Sums, Array]:
    """One epoch of every member: new states, running sums of the training passes, and whether all was finite."""
    return over_members(partial(_train_one, program, epoch), program.vectorise, state, members)


def _train_one(program: Program, epoch: Epoch, state: State, member: Member) -> tuple[State, Sums, Array]:
    """`train_epoch` of one member."""
    constants = jax.tree.map(lambda leaf: leaf[member.stream], epoch.constants)
    key = jax.random.fold_in(member.key, epoch.number)
    batches = jax.tree.map(lambda leaf: leaf[member.stream], epoch.batches)
    state = state._replace(
        extra=program.objective.before_epoch(state.extra, state.variables, epoch.data, batches, epoch.count)
    )
    before = (epoch.number - 1) * epoch.count  # updates of earlier epochs

    def step(i: Array, carry: tuple[State, Sums, Array]) -> tuple[State, Sums, Array]:
        state, sums, finite = carry
        context = Context(
            data=epoch.data,
            trainable=member.trainable,
            batch_stats=state.batch_stats,
            batch=jax.tree.map(lambda leaf: leaf[member.stream, i], epoch.batches),
            hyper=member.hyper,
            key=jax.random.fold_in(key, i),
            constants=constants,
            extra=state.extra,
        )
        progress = Progress(epoch.number, before + i, epoch.allowed * epoch.count)
        state, loss, more = _update(program, state, context, progress)
        return state, jax.tree.map(jnp.add, sums, more), finite & jnp.isfinite(loss)

    start = (state, zero_sums(state.params), jnp.asarray(True))
    state, sums, finite = lax.fori_loop(0, epoch.count, step, start)
    extra = program.objective.after_epoch(state.extra, state.variables, epoch.data, batches, epoch.count)
    return state._replace(extra=extra), sums, finite & all_finite(state.params)


def _update(
    program: Program, state: State, context: Context, progress: Progress
) -> tuple[State, Array, Sums]:
    """The state after a step of the optimiser; the loss and the sums before it."""
    objective, seen = program.objective, context._replace(hyper=program.optimiser.in_loss(context.hyper))
    loss_of = reached(objective) if objective.augmentation else objective.loss
    (loss, (batch_stats, sums, *more)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
        state.params, seen
    )
    gradients = mask_groups(gradients, context.trainable)
    steps, optimiser = program.optimiser.update(
        state.params, gradients, state.optimiser, context.hyper, progress
    )
    if program.optimiser.transformation is not ADAM.transformation:  # which leaves frozen tensors as they are
        steps = mask_groups(steps, context.trainable)
    if (factors := objective.rates(state.extra, seen)) is not None:
        steps = scale_groups(steps, factors)
    params = jax.tree.map(jnp.subtract, state.params, steps)
    variables = {"params": params, "batch_stats": batch_stats}
    extra = objective.after_update(state.extra, Update(variables, gradients, seen, *more))
    return State(params, batch_stats, optimiser, extra), loss, sums


@partial(jax.jit, static_argnames=("program",))
def evaluated_variables(program: Program, state: State) -> Variables:
    """The variables of every member that are evaluated and kept, where an objective says so itself."""
    return over_members(
        lambda one: program.objective.evaluated(one.variables, one.extra), program.vectorise, state
    )


@partial(jax.jit, static_argnames=("program",))
def evaluate(
    program: Program,
    variables: Variables,
    members: Member,
    data: dict[str, Array],
    chosen: Evaluation,
    constants: Any = None,
) -> Sums:
    """Sums over an evaluation set, in evaluation mode, of every member; `constants` as of an epoch."""

    def one(variables: Variables, member: Member) -> Sums:
        own = jax.tree.map(lambda leaf: leaf[member.stream], constants)

        def add(i: Array, sums: Sums) -> Sums:
            batch = jax.tree.map(lambda leaf: leaf[member.stream, i, 0], chosen.batches)
            step = chosen.step if batch.step is None else batch.step
            logits = program.objective.logits(variables, data, batch.index, step)
            more = program.objective.evaluation_sums(logits, data, batch, own)
            return jax.tree.map(jnp.add, sums, more)

        return lax.fori_loop(0, chosen.count, add, zero_sums(variables["params"]))

    return over_members(one, program.vectorise, variables, members)


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

"""Objectives over domains: worked examples, masks, gradients, and fits through the engine."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqfinal_jax.models.network import apply_network
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, driving_first, epoch_batches, shuffled
from seqfinal_jax.training.objectives.multi_domain import (
    Invariant,
    WorstDomain,
    half_gradients,
    invariance_penalty,
    random_halves,
)
from seqfinal_jax.training.objectives.risk import Batch, Context, Sums, batch_of
from tests.training.tiny import BATCH, grid, member, settings, tiny_network, tiny_problem

LOGITS = jnp.asarray([[0.5, -0.5], [1, 0], [0, 2], [-1, 1]])
LABELS = jnp.asarray([0, 1, 1, 0])
PENALTIES = {(0, 1, 2, 3): -0.13629398888, (0, 2, 1, 3): 0.10977251127}


def halves_of(order, size=4):
    halves = np.zeros((2, size), bool)
    halves[0, list(order[0::2])] = halves[1, list(order[1::2])] = True
    return jnp.asarray(halves)


@pytest.mark.parametrize("order", list(PENALTIES))
def test_the_worked_examples_of_the_penalty(order):
    """Spec, section 9."""
    halves = halves_of(order)
    np.testing.assert_allclose(
        invariance_penalty(LOGITS, LABELS, halves), PENALTIES[order], rtol=1e-5, atol=1e-7
    )
    swapped = invariance_penalty(LOGITS, LABELS, halves[::-1])
    np.testing.assert_allclose(swapped, PENALTIES[order], rtol=1e-5, atol=1e-7)


def test_the_worked_terms():
    """One sample a half: the terms (softmax - onehot)·z of the spec's first two samples; weights multiply them."""
    terms = half_gradients(LOGITS, LABELS, halves_of((0, 1)))
    np.testing.assert_allclose(terms, [[-0.1345, -0.1345], [0.7311, 0]], atol=1e-4)
    weighted = half_gradients(LOGITS, LABELS, halves_of((0, 1)), jnp.asarray([2.0, 0.5, 1, 1]))
    np.testing.assert_allclose(weighted, [[-0.2689, -0.2689], [0.3655, 0]], atol=1e-4)


def test_a_single_sample_has_no_penalty_and_no_gradient_of_it():
    halves = random_halves(jax.random.key(0), 1)
    value, gradient = jax.value_and_grad(invariance_penalty)(LOGITS[:1], LABELS[:1], halves)
    assert value == 0 and (gradient == 0).all()
    mask = jnp.asarray([False, True, False, False])
    assert invariance_penalty(LOGITS, LABELS, random_halves(jax.random.key(0), 4, mask)) == 0


def test_samples_in_neither_half_take_no_part():
    halves = jnp.pad(halves_of((0, 1, 2, 3)), [(0, 0), (0, 2)])
    logits = jnp.concatenate([LOGITS, jnp.full((2, 2), jnp.nan)])
    padded = invariance_penalty(logits, jnp.pad(LABELS, (0, 2)), halves)
    np.testing.assert_allclose(padded, PENALTIES[0, 1, 2, 3], rtol=1e-5)


@pytest.mark.parametrize("valid", [1, 4, 5, 7])
def test_halves_share_the_valid_samples_out(valid):
    mask = jnp.arange(7) % 7 < valid
    draws = jax.vmap(lambda key: random_halves(key, 7, mask))(jax.random.split(jax.random.key(3), 400))
    assert (draws.sum(2) == jnp.asarray([(valid + 1) // 2, valid // 2])).all()
    assert (draws.sum(1) == mask).all()
    share = np.asarray(draws[:, 0].mean(0))[:valid]
    np.testing.assert_allclose(share, (valid + 1) // 2 / valid, atol=0.1)


DOMAIN_SIZES = (5, 12, 9)


def domain_problem(objective, sizes=DOMAIN_SIZES, role="all"):
    """Domains of 5, 12 and 9 samples (minibatches 5 | 8, 4 | 8, 1) and 10 of validation; the second drives."""
    problem = tiny_problem()

    def streams(seed):
        parts = np.split(seed * 36 + np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        return driving_first([Stream(step, rows) for step, rows in enumerate(parts)], BATCH)

    return replace(
        problem,
        objective=objective(network=tiny_network(), scaling=problem.objective.scaling),
        batches=lambda seed, epoch: epoch_batches(streams(seed), shuffled(seed, role), epoch, BATCH),
        evaluation=lambda seed: {"valid": EvaluationSet(0, seed * 36 + np.arange(sum(sizes), 36))},
        role=role,
    )


@dataclass(frozen=True)
class EvenPlaces(Invariant):
    """IRM whose first half are the even places of a minibatch; short ones are padded at their end."""

    def halves(self, context, domain, key):
        even = jnp.arange(len(context.batch.index)) % 2 == 0
        return jnp.stack([even, ~even]) & context.batch.mask


def step_arguments(objective, step, dropout=0.0):
    """The arguments of `loss` at a minibatch of the first epoch, from random parameters."""
    problem = domain_problem(objective)
    batches = problem.batches(0, 1)
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[step]), batch_of(batches))
    start = problem.start(member())
    data = jax.tree.map(jnp.asarray, problem.data)
    hyper = {"weight_decay": jnp.float32(0.01), "dropout": jnp.float32(dropout)}
    masks = {"conv1": 1, "layer1": 1, "fc": 1}
    context = Context(data, masks, start["batch_stats"], batch, hyper, jax.random.key(5))
    return problem.objective, (start["params"], context)


def plain_losses(objective, params, context):
    """Each domain's mean loss and penalty, one network call after another, with short batches as they are."""
    losses, penalties, batch, stats = [], [], context.batch, context.batch_stats
    for d in range(batch.index.shape[0]):
        rows = np.asarray(batch.index)[d][np.asarray(batch.mask)[d]]
        images = objective.inputs(context.data, rows, jnp.float32)
        variables = {"params": params, "batch_stats": stats}
        logits, stats, _ = apply_network(objective.network, variables, images, Pass(train=True))
        labels = context.data["labels"][rows]
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        losses.append(jnp.mean(each))
        penalties.append(plain_penalty(logits, labels))
    return jnp.stack(losses), jnp.stack(penalties), stats


def plain_penalty(logits, labels):
    """The definition: derivatives of both halves' losses for factors on the logits."""
    if len(labels) == 1:
        return jnp.zeros(())

    def loss(factor, part):
        each = optax.softmax_cross_entropy_with_integer_labels(factor * logits[part::2], labels[part::2])
        return jnp.mean(each)

    ones = jnp.ones(logits.shape[-1])
    return jnp.sum(jax.grad(loss)(ones, 0) * jax.grad(loss)(ones, 1))


def plain_norm(params):
    kernels = [params["conv1"]["conv"]["kernel"], params["layer1"]["conv"]["kernel"]]
    kernels += list(params["fc"]["linear"].values())
    return sum(jnp.sum(kernel**2) for kernel in kernels)


def assert_close(first, second):
    """Equal up to the order of float32 sums: a small element of a large array carries the large ones' rounding."""

    def compare(found, wanted):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-6 + 5e-5 * np.max(np.abs(wanted)))

    jax.tree.map(compare, first, second)


@pytest.mark.parametrize("step", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("objective", [WorstDomain, EvenPlaces])
def test_losses_gradients_and_statistics_are_those_of_plain_passes(objective, step):
    built, (params, context) = step_arguments(objective, step)

    def plain(params):
        losses, penalties, new_stats = plain_losses(built, params, context)
        total = jnp.max(losses) if objective is WorstDomain else jnp.sum(losses + penalties)
        return total + 0.01 * plain_norm(params), (losses, new_stats)

    (wanted, (losses, moved)), slope = jax.jit(jax.value_and_grad(plain, has_aux=True))(params)
    value_and_grad = jax.jit(jax.value_and_grad(built.loss, has_aux=True))
    (found, (stats_found, sums)), gradient = value_and_grad(params, context)
    assert_close((found, stats_found, gradient), (wanted, moved, slope))
    sizes = np.asarray(context.batch.mask).sum(1)
    np.testing.assert_allclose(sums.loss, (losses * sizes).sum(), rtol=1e-5)
    assert sums.count == sizes.sum() == (21, 10)[step]


def test_the_worst_domain_is_rerun_with_its_own_dropout():
    objective, arguments = step_arguments(WorstDomain, 0, dropout=0.5)
    value, (_, sums) = jax.jit(objective.loss)(*arguments)
    passes = jax.jit(objective.passes)(*arguments)
    assert len(set(np.asarray(passes.losses).tolist())) == 3
    assert_close(value, jnp.max(passes.losses) + 0.01 * plain_norm(arguments[0]))
    assert_close(sums, passes.total)


@dataclass(frozen=True)
class Scripted(WorstDomain):
    """Losses (0.9, 0.7, 0.9) and so on from a table; the domain's own parameter has the derivative 1."""

    def domain_loss(self, params, context, domain):
        own = params["fc"]["bias"][domain]
        loss = context.constants[context.extra, domain] + own - jax.lax.stop_gradient(own)
        sums = Sums(loss, loss, jnp.float32(1))
        return loss, (jax.tree.map(lambda moves: moves + 1, context.batch_stats), sums)


@pytest.mark.parametrize(
    ("losses", "worst"), [((0.9, 0.7, 0.9), 0), ((0.2, 0.8, 0.1), 1), ((0.5, 0.5, 0.6), 2)]
)
def test_the_worked_choices(losses, worst):
    """Spec, section 9: the first of equals; nothing is carried from step to step, and all move the statistics."""
    batch = Batch(jnp.zeros((3, 1), jnp.int32), None, jnp.ones((3, 1)))
    moves, hyper = {"moves": jnp.int32(0)}, {"weight_decay": 0.0}
    constants, extra = jnp.asarray([losses]), jnp.int32(0)
    context = Context({}, {}, moves, batch, hyper, jax.random.key(0), constants, extra)
    params = {"fc": {"bias": jnp.zeros(3)}}
    objective = Scripted(network=tiny_network())
    (value, (stats, _)), gradient = jax.value_and_grad(objective.loss, has_aux=True)(params, context)
    assert value == jnp.float32(max(losses))
    assert gradient["fc"]["bias"].tolist() == [float(d == worst) for d in range(3)]
    assert stats["moves"] == 3


@pytest.mark.parametrize("objective", [Invariant, WorstDomain])
@pytest.mark.parametrize("vectorise", ["map", pytest.param("vmap", marks=pytest.mark.slow)])
def test_fits_stay_finite_with_short_and_one_sample_batches(objective, vectorise):
    problem = domain_problem(objective)
    results = fit(problem, grid(), settings(3, members_per_program=8, vectorise=vectorise))
    for result in results:
        assert not result.failed
        assert np.isfinite(result.history["train_loss"][1:]).all()
        finite = jax.tree.map(lambda leaf: np.isfinite(leaf).all(), result.last)
        assert all(jax.tree.leaves(finite))
    first = results[0].history["train_loss"]
    assert first[-1] < first[1]


@pytest.mark.parametrize("objective", [Invariant, pytest.param(WorstDomain, marks=pytest.mark.slow)])
def test_one_compilation_for_stages_of_other_lengths(objective, compilations):
    fit(domain_problem(objective), grid(), settings(2))
    fit(domain_problem(objective, (17, 3, 6), role="history"), grid(), settings(1))
    assert compilations["train_epoch"] == 1


def test_a_member_s_halves_do_not_depend_on_its_place():
    problem = domain_problem(Invariant)
    together = fit(problem, grid(), settings(2))[5]
    alone = fit(problem, [grid()[5]], settings(2))[0]
    np.testing.assert_array_equal(together.history["train_loss"], alone.history["train_loss"])

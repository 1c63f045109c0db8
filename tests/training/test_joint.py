"""The joint model's objective: plain passes, penalties by hand, dropout, tables as data, fits through the engine."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqfinal_jax.models import Adapter, NetworkConfig, build_network, build_steps, init_steps
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.per_step.network import apply_step
from seqfinal_jax.models.per_step.versions import version_table
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import MemberSpec
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, epoch_batches, fold, shuffled
from seqfinal_jax.training.objectives.joint_risk import JointSteps, step_weights
from seqfinal_jax.training.objectives.risk import Context, batch_of
from seqfinal_jax.training.objectives.step_penalties import adjacent_norm, parameter_norm
from tests.training.tiny import BATCH, CLASSES, settings, tiny_network, tiny_problem

SIZES = (5, 12, 9)
FORMS = {
    "separate": {},
    "partial": {"separate": "layer1:fc"},
    "block": {"mode": "side_tune", "side": "block", "all_layers_efficient": True},
    "add": {"mode": "low_rank_adapt", "adapter": Adapter("add", 1)},
}
HYPER = {
    "learning_rate": 1e-2, "weight_decay": 0.01, "dropout": 0.0, "adjacent": 0.1, "final_weight": 3.0,
}  # fmt: skip


def tiny_steps(form="separate", steps=3):
    return build_steps(tiny_network(), steps, **FORMS[form])


def joint_problem(network, sizes=SIZES, role="joint", **fields):
    """Steps of 5, 12 and 9 samples (minibatches 5 | 8, 4 | 8, 1); the last 10 of 36 are for validation."""
    problem = tiny_problem()
    parts = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])

    def streams(seed):
        return [Stream(t, seed * 36 + rows) for t, rows in enumerate(parts)]

    return replace(
        problem,
        objective=JointSteps(network=network, scaling=problem.objective.scaling, **fields),
        batches=lambda seed, epoch: epoch_batches(streams(seed), shuffled(seed, role), epoch, BATCH),
        evaluation=lambda seed: {
            "valid": EvaluationSet(len(sizes) - 1, seed * 36 + np.arange(26, 36)),
            "valid_step0": EvaluationSet(0, seed * 36 + np.arange(26, 36)),
        },
        start=lambda member: init_steps(network, jax.random.key(fold(member.seed, "init"))),
        role=role,
    )


def spec(network, seed=0, **changes):
    return MemberSpec(seed, {**HYPER, **changes}, dict.fromkeys(network.group_names, 1), group=seed)


def step_arguments(problem, step, seed=0, **changes):
    """The arguments of `loss` at a minibatch of the first epoch."""
    batches = problem.batches(0, 1)
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[step]), batch_of(batches))
    network = problem.objective.network
    start = jax.tree.map(jnp.asarray, problem.start(spec(network, seed)))
    data = jax.tree.map(jnp.asarray, problem.data)
    masks, extra = dict.fromkeys(network.group_names, 1), problem.objective.init_extra(start)
    hyper = {name: jnp.float32(value) for name, value in {**HYPER, **changes}.items()}
    context = Context(data, masks, start["batch_stats"], batch, hyper, jax.random.key(5), extra=extra)
    return start["params"], context


def plain_losses(objective, params, context):
    """Each step's mean loss, one pass after another, with short batches as they are."""
    losses, batch, stats = [], context.batch, context.batch_stats
    for t in range(objective.network.num_steps):
        rows = np.asarray(batch.index)[t][np.asarray(batch.mask)[t]]
        x = objective.inputs(context.data, rows, jnp.float32)
        tree = {"params": params, "batch_stats": stats}
        logits, stats, _ = apply_step(objective.network, tree, t, x, Pass(train=True))
        each = optax.softmax_cross_entropy_with_integer_labels(logits, context.data["labels"][rows])
        losses.append(jnp.mean(each))
    return jnp.stack(losses), stats


def assert_close(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=5e-4, atol=5e-6), first, second)


@pytest.mark.parametrize(
    "form, steps, step",
    [
        ("separate", 3, 0),
        pytest.param("separate", 3, 1, marks=pytest.mark.slow),
        ("partial", 3, 1),
        pytest.param("block", 3, 0, marks=pytest.mark.slow),
        pytest.param("block", 5, 1, marks=pytest.mark.rare),
        ("add", 3, 0),
    ],
)
def test_value_gradient_and_statistics_are_those_of_plain_passes(form, steps, step):
    """Five steps of summed layers are a loop, three are written out."""
    sizes = (*SIZES, 3, 8)[:steps]
    problem = joint_problem(tiny_steps(form, steps), sizes)
    objective, arguments = problem.objective, step_arguments(problem, step)
    params, context = arguments
    weights = np.asarray([*[1.0] * (steps - 1), 3.0]) / steps

    def plain(params):
        losses, moved = plain_losses(objective, params, context)
        penalty = 0.01 * parameter_norm(objective.network, params)
        penalty += 0.1 * adjacent_norm(objective.network, params)
        return jnp.sum(weights * losses) + penalty, (losses, moved)

    (wanted, (losses, moved)), slope = jax.jit(jax.value_and_grad(plain, has_aux=True))(params)
    value_and_grad = jax.jit(jax.value_and_grad(objective.loss, has_aux=True))
    (found, (stats_found, sums)), gradient = value_and_grad(*arguments)
    assert_close((found, stats_found, gradient), (wanted, moved, slope))
    counts = np.asarray(context.batch.mask).sum(1)
    np.testing.assert_allclose(sums.loss, (losses * counts).sum(), rtol=1e-5)
    assert sums.count == counts.sum()


@pytest.mark.slow
def test_a_shared_network_moves_its_statistics_once_a_step_in_order():
    network = build_steps(tiny_network(), 3, separate="fc")
    problem = joint_problem(network)
    arguments = step_arguments(problem, 0)
    _, (moved, _) = jax.jit(problem.objective.loss)(*arguments)
    _, expected = plain_losses(problem.objective, *arguments)
    assert_close(moved["conv1"], expected["conv1"])
    assert len(moved["conv1"]["bn"]["mean"]) == 1


def test_weights_of_the_steps():
    """Spec 10.1: the divisor is T in all cases."""
    np.testing.assert_allclose(step_weights(4, 3.0) * 4, [1, 1, 1, 3])
    np.testing.assert_allclose(step_weights(4, None) * 4, [1 / 4, 1 / 3, 1 / 2, 1], rtol=1e-6)


def scalar_steps(values):
    """Three steps of the tiny network whose parameters are 0 but for one kernel weight of the stem."""
    network = tiny_steps()
    params = jax.tree.map(jnp.zeros_like, init_steps(network, jax.random.key(0))["params"])
    kernel = params["conv1"]["conv"]["kernel"].at[:, 0, 0, 0, 0].set(jnp.asarray(values))
    params["conv1"]["conv"]["kernel"] = kernel
    return network, params


def test_penalties_by_hand():
    """Spec 10.1: one weight over three steps, with values 1, 2, 4."""
    network, params = scalar_steps([1.0, 2.0, 4.0])
    assert adjacent_norm(network, params) == 5
    assert adjacent_norm(network, params, power=1) == 3
    np.testing.assert_allclose(adjacent_norm(network, params, by_time=True), 1 / 3 + 4 / 2, rtol=1e-6)
    assert parameter_norm(network, params) == 21
    np.testing.assert_allclose(parameter_norm(network, params, by_time=True), 1 + 4 / 2 + 16 / 3, rtol=1e-6)
    scale = params["conv1"]["bn"]["scale"].at[:, 0].set(jnp.asarray([1.0, 2.0, 4.0]))
    params["conv1"] = {"conv": jax.tree.map(jnp.zeros_like, params["conv1"]["conv"]),
                       "bn": {**params["conv1"]["bn"], "scale": scale}}  # fmt: skip
    assert adjacent_norm(network, params) == 5
    assert parameter_norm(network, params) == 0


def test_a_shared_layer_is_penalised_once_a_step_and_never_tied():
    network = build_steps(tiny_network(), 2, separate="fc")
    params = jax.tree.map(jnp.zeros_like, init_steps(network, jax.random.key(0))["params"])
    params["conv1"]["conv"]["kernel"] = params["conv1"]["conv"]["kernel"].at[0, 0, 0, 0, 0].set(3.0)
    assert parameter_norm(network, params) == 18
    assert adjacent_norm(network, params) == 0


@pytest.mark.parametrize("decay, efficient", [(0.01, 0.5), (0.0, 0.5), (0.0, 0.0)])
def test_a_decay_of_its_own_for_efficient_versions(decay, efficient):
    network = tiny_steps("add")
    problem = joint_problem(network)
    loss = jax.jit(problem.objective.loss)
    arguments = step_arguments(problem, 0, weight_decay=decay, efficient_decay=efficient)
    without = step_arguments(problem, 0, weight_decay=0)
    plain = parameter_norm(network, arguments[0], efficient_weight=0.0)
    added = parameter_norm(network, arguments[0]) - plain
    assert added > 1
    found = loss(*arguments)[0] - loss(*without)[0]
    np.testing.assert_allclose(found, decay * plain + efficient * added, rtol=1e-3, atol=1e-4)


def test_steps_have_dropout_of_their_own():
    """Equal weights and samples at every step, so that only the masks can differ."""
    network = tiny_steps()
    problem = joint_problem(network, (7, 7, 7))
    params, context = step_arguments(problem, 0)
    same = lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape)  # noqa: E731
    params, batch = jax.tree.map(same, params), jax.tree.map(same, context.batch)
    loss = jax.jit(problem.objective.step_loss)

    def losses(rate):
        own = jax.tree.map(lambda leaf: leaf[0], params)
        hyper = {**context.hyper, "dropout": jnp.float32(rate)}
        given = context._replace(batch=batch.stream(0), hyper=hyper)
        each = [loss(own, given, jnp.int32(t), jnp.float32(1)) for t in range(3)]
        return {float(value) for value, _ in each}

    assert len(losses(0.0)) == 1
    assert len(losses(0.5)) == 3


def test_gradients_of_a_step_do_not_depend_on_other_steps_data():
    problem = joint_problem(tiny_steps())
    params, context = step_arguments(problem, 0, adjacent=0)
    gradient = jax.jit(jax.grad(lambda *a: problem.objective.loss(*a)[0]))
    first, batch = gradient(params, context), context.batch
    other = batch._replace(index=batch.index.at[0].set(batch.index[1]))
    second = gradient(params, context._replace(batch=other))
    last = lambda tree: jax.tree.map(lambda leaf: leaf[-1], tree)  # noqa: E731
    jax.tree.map(np.testing.assert_array_equal, last(first), last(second))
    assert np.any(first["fc"]["linear"]["bias"][0] != second["fc"]["linear"]["bias"][0])


def test_fisher_weights_of_the_next_epoch():
    problem = joint_problem(tiny_steps(), fisher=True)
    objective = problem.objective
    params, context = step_arguments(problem, 0)
    grad = jax.jit(jax.value_and_grad(objective.loss, has_aux=True))
    plain = joint_problem(tiny_steps()).objective
    (value, _), gradient = grad(params, context)
    np.testing.assert_allclose(value, jax.jit(plain.loss)(params, context)[0], rtol=1e-6)
    batch = context.batch
    extra = objective.after_step(context.extra, gradient, batch)
    extra = objective.after_step(extra, gradient, batch)
    assert extra.count == 2 * 21
    jax.tree.map(lambda w: np.testing.assert_array_equal(w, 1), extra.weights)
    extra = objective.after_epoch(extra, {}, {}, batch, jnp.int32(1))
    assert extra.count == 0
    expected = jax.tree.map(lambda g: 2 * g**2 / 42, gradient)
    assert_close(extra.weights, expected)
    (weighted, _), _ = grad(params, context._replace(extra=extra))
    network = objective.network
    change = adjacent_norm(network, params, weights=expected) - adjacent_norm(network, params)
    np.testing.assert_allclose(weighted - value, 0.1 * change, rtol=1e-4)


def test_fisher_weights_of_single_samples():
    """Of a version the mean over its samples of squared gradients, one at a time; a shared layer has all steps'."""
    problem = joint_problem(
        build_steps(tiny_network(), 3, separate="layer1:fc"), fisher=True, per_sample=True
    )
    objective, network = problem.objective, problem.objective.network
    params, context = step_arguments(problem, 0)
    batch, stats = context.batch, context.batch_stats
    variables = {"params": params, "batch_stats": stats}
    batches = jax.tree.map(
        lambda leaf: jnp.stack([leaf, leaf[::-1]]), batch
    )  # the second one is never reached
    extra = objective.after_epoch(context.extra, variables, context.data, batches, jnp.int32(1))

    @jax.jit
    def gradient(params, row, step):
        def loss(params):
            logits = objective.logits({"params": params, "batch_stats": stats}, context.data, row[None], step)
            return optax.softmax_cross_entropy_with_integer_labels(logits, context.data["labels"][row][None])[
                0
            ]

        return jax.grad(loss)(params)

    total, users = jax.tree.map(jnp.zeros_like, params), {"conv1": [21], "layer1": [5, 16], "fc": [13, 8]}
    for step in range(3):
        for row in np.asarray(batch.index)[step][np.asarray(batch.mask)[step]]:
            total = jax.tree.map(lambda s, g: s + g**2, total, gradient(params, jnp.asarray(row), step))
    for group in network.group_names:
        counts = np.array(users[group], np.float32)
        expected = jax.tree.map(lambda s, n=counts: s / n.reshape(-1, *(1,) * (s.ndim - 1)), total[group])
        assert_close(extra.weights[group], expected)
    assert objective.after_step(context.extra, params, batch) is context.extra


@pytest.mark.parametrize("fields", [{"power": 3}, {"fisher": True, "power": 1}])
def test_what_does_not_go_together_is_refused(fields):
    with pytest.raises(ValueError, match="power"):
        JointSteps(network=tiny_steps(), **fields)
    with pytest.raises(ValueError, match="needs power 2 and separate layers"):
        JointSteps(network=tiny_steps("block"), fisher=True)


def search_problem(fields=None):
    """Members by `hyper["set"]`: which layers are separate is data."""
    network = tiny_steps()
    problem = joint_problem(network, **(fields or {}))
    sets = ("all", "fc", "conv1,layer1")

    def start(member):
        table = version_table(network.group_names, 3, sets[int(member.hyper["set"])])
        return network.with_table(problem.start(member), table)

    return replace(problem, start=start), sets


@pytest.mark.parametrize("place", [0, *(pytest.param(p, marks=pytest.mark.slow) for p in (1, 2))])
def test_a_table_that_is_data_gives_what_a_static_one_gives(place):
    problem, sets = search_problem()
    static = build_steps(tiny_network(), 3, separate=sets[place])
    found = fit(problem, [spec(static, set=place)], settings(2))[0]
    plain = joint_problem(static)

    def first_versions(member):  # the versions that the static network has are the first ones of the stacks
        full = joint_problem(tiny_steps()).start(member)
        shapes = init_steps(static, jax.random.key(0))
        return jax.tree.map(lambda leaf, shape: leaf[: len(shape)], full, shapes)

    expected = fit(replace(plain, start=first_versions), [spec(static)], settings(2))[0]
    for name, values in expected.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-4, atol=1e-5)
    used = jax.tree.map(lambda leaf, few: leaf[: len(few)], found.last["params"], expected.last["params"])
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), used, expected.last["params"])


@pytest.mark.parametrize("vectorise", ["map", pytest.param("vmap", marks=pytest.mark.slow)])
def test_sets_of_layers_share_one_compilation(vectorise, compilations):
    problem, sets = search_problem()
    specs = [spec(tiny_steps(), set=place) for place in range(len(sets))]
    sizes = {"members_per_program": 4, "vectorise": "vmap"} if vectorise == "vmap" else {}
    results = fit(problem, specs, settings(2, **sizes))
    assert compilations["train_epoch"] == 1
    assert not any(result.failed for result in results)
    assert len({float(result.history["train_loss"][-1]) for result in results}) == 3


def test_a_table_needs_a_version_of_every_layer_for_every_step():
    network = tiny_steps("partial")
    with pytest.raises(ValueError, match="all separate at every step"):
        network.with_table(init_steps(network, jax.random.key(0)), network.versions)


@pytest.mark.parametrize(
    "form",
    [pytest.param(form, marks=pytest.mark.slow if form in ("block", "partial") else ()) for form in FORMS],
)
def test_fits_stay_finite_and_compile_once(form, compilations):
    """Over a grid, and for other numbers of samples; with short batches and one of a single sample."""
    network = tiny_steps(form)
    specs = [
        spec(network, seed, dropout=rate, adjacent=adjacent)
        for seed, rate, adjacent in ((0, 0.0, 0.0), (0, 0.5, 1.0), (1, 0.5, 0.1))
    ]
    results = fit(joint_problem(network), specs, settings(3))
    fit(joint_problem(network, (9, 4, 13), role="other"), specs[:1], settings(1))
    assert compilations["train_epoch"] == 1
    for result in results:
        assert not result.failed
        assert np.isfinite(result.history["train_loss"][1:]).all()
        assert {"valid_accuracy", "valid_step0_accuracy"} <= result.history.keys()
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.last))


@pytest.mark.parametrize(
    "form, fields",
    [
        pytest.param("separate", {"fisher": True}, marks=pytest.mark.slow),
        pytest.param("block", {}, marks=pytest.mark.slow),
        pytest.param("add", {"by_time": True}, marks=pytest.mark.slow),
    ],
)
def test_members_trained_together_are_those_trained_alone(form, fields):
    network = tiny_steps(form)
    problem = joint_problem(network, **fields)
    specs = [spec(network, 0, dropout=0.5), spec(network, 1), spec(network, 0, adjacent=1.0)]
    alone = fit(problem, specs, settings(2))
    together = fit(problem, specs, settings(2, members_per_program=4, vectorise="vmap"))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.history["train_loss"], other.history["train_loss"], rtol=2e-3)


def test_a_strong_adjacent_penalty_ties_neighbours():
    network = tiny_steps()
    result = fit(joint_problem(network), [spec(network, adjacent=1e4)], settings(60, patience=60))[0]
    start = joint_problem(network).start(spec(network))
    far, near = (float(adjacent_norm(network, params)) for params in (start["params"], result.last["params"]))
    assert near < 0.01 * far


@pytest.mark.slow
def test_a_residual_network_with_small_side_modules_trains():
    config = NetworkConfig(image_shape=(16, 16, 3), stem_width=4, widths=(6,), strides=(2,), units=1)
    base = build_network("resnet-1", CLASSES, config)
    network = build_steps(base, 3, "side_tune", all_layers_efficient=True)
    result = fit(joint_problem(network), [spec(network, efficient_decay=0.1, dropout=0.5)], settings(2))[0]
    assert not result.failed

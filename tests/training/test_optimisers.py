"""Optimisers: hand-worked steps, one from outside the package, schedules, and rates of single layers."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.results.checkpoints import ProgressStore, SaveBudget
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import MemberSpec
from seqfinal_jax.training.engine.optimisers import OPTIMISERS, Optimiser, Progress, optimiser, rate_factor
from seqfinal_jax.training.objectives.risk import EmpiricalRisk
from tests.runs import smoke_run
from tests.training.test_resume import Killed, everything, killed_at
from tests.training.tiny import assert_equal, member, settings, tiny_problem

MOMENTUM = Optimiser(
    "momentum", (("momentum", (0.5, 0.9)),), lambda hyper, progress: optax.trace(decay=hyper["momentum"])
)


def members():
    """One for each value of the optimiser's own axis, in the order of the grid."""
    grid = Grid(weight_decay=(0.0,), dropout=(0.0,), learning_rate=(1e-2,)).with_axes(MOMENTUM.axes)
    return [MemberSpec(0, point, member().trainable, group=0) for point in grid.points()]


def at(update, updates=100):
    """The progress at an update of a fit of one long epoch."""
    return Progress(jnp.int32(1), jnp.int32(update), jnp.int32(updates))


def steps_of(name, gradients, hyper, start=1.0, bn=1.0):
    """What an optimiser subtracts, a step for each gradient, from a kernel and a batch norm's scale."""
    record, found = OPTIMISERS.get(name), []
    params = {"block": {"conv": {"kernel": jnp.full(1, start)}, "bn1": {"scale": jnp.full(1, bn)}}}
    state = record.init(params)
    for number, gradient in enumerate(gradients):
        tree = jax.tree.map(lambda leaf, g=gradient: jnp.full_like(leaf, g), params)
        steps, state = record.update(params, tree, state, jax.tree.map(jnp.float32, hyper), at(number))
        params = jax.tree.map(jnp.subtract, params, steps)
        found.append([float(leaf[0]) for leaf in jax.tree.leaves(steps)])
    return np.array(found)  # (steps, [scale, kernel])


def test_momentum_by_hand():
    """Momentum 0.5, gradients of 1: directions 1, 1.5 and 1.75; with Nesterov's look ahead 1.5, 1.75 and 1.875."""
    hyper = {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.3}
    np.testing.assert_allclose(steps_of("sgd", [1, 1, 1], hyper)[:, 1], [0.1, 0.15, 0.175], rtol=1e-6)
    np.testing.assert_allclose(
        steps_of("sgd_nesterov", [1, 1, 1], hyper)[:, 1], [0.15, 0.175, 0.1875], rtol=1e-6
    )


def test_decoupled_decay_by_hand():
    """The first step of Adam is the sign of the gradient; AdamW adds decay·weight, but not to batch norms."""
    hyper = {"learning_rate": 0.1, "weight_decay": 0.25}
    scale, kernel = steps_of("adamw", [3.0], hyper, start=2.0, bn=2.0)[0]
    np.testing.assert_allclose([scale, kernel], [0.1, 0.1 * (1 + 0.5)], rtol=1e-5)
    assert float(OPTIMISERS.get("adamw").in_loss({"weight_decay": jnp.float32(0.25)})["weight_decay"]) == 0
    assert OPTIMISERS.get("adam").in_loss({"weight_decay": 0.25}) == {"weight_decay": 0.25}


@pytest.mark.parametrize(
    "schedule, update, expected",
    [
        ("constant", 50, 1.0), ("cosine", 0, 1.0), ("cosine", 50, 0.5), ("cosine", 100, 0.0),
        ("linear_warmup", 0, 0.1), ("linear_warmup", 4, 0.5), ("linear_warmup", 9, 1.0),
        ("linear_warmup", 80, 1.0), ("warmup_cosine", 4, 0.5 * 0.5 * (1 + np.cos(0.04 * np.pi))),
    ],
)  # fmt: skip
def test_schedules_by_hand(schedule, update, expected):
    np.testing.assert_allclose(rate_factor(schedule, at(update)), expected, atol=1e-6)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="schedule = 'step'; expected one of constant, cosine"):
        replace(MOMENTUM, schedule="step")


def test_a_schedule_counts_the_updates_of_all_allowed_epochs():
    """Steps of length 1 in one direction, times half a cosine over four epochs, of which the stopping rule ends none."""
    ones = optax.stateless(lambda updates, params: jax.tree.map(jnp.ones_like, updates))
    along = Optimiser("along", (), lambda hyper, progress: ones, schedule="cosine")
    spec = MemberSpec(0, {"learning_rate": 1e-3, "weight_decay": 0.0, "dropout": 0.0}, member().trainable)
    problem, chosen = replace(tiny_problem(), optimiser=along), settings(4)
    [found] = fit(problem, [spec], replace(chosen, rule=replace(chosen.rule, patience=4)))
    count = 4 * problem.batches(0, 1).count
    expected = 1e-3 * sum(0.5 * (1 + np.cos(np.pi * update / count)) for update in range(count))
    moved = jax.tree.map(jnp.subtract, problem.start(spec)["params"], found.last["params"])
    for leaf in jax.tree.leaves(moved):
        np.testing.assert_allclose(leaf, expected, rtol=1e-3)


def test_members_have_their_own_values_of_its_axis_in_one_program(compilations):
    low, high = fit(replace(tiny_problem(), optimiser=MOMENTUM), members(), settings(3))
    assert compilations["train_epoch"] == 1
    assert np.isfinite(low.history["train_loss"][1:]).all()
    assert low.history["train_loss"][-1] < low.history["train_loss"][1]
    assert low.history["train_loss"][-1] != high.history["train_loss"][-1]
    same = replace(MOMENTUM, transformation=lambda hyper, progress: optax.trace(decay=0.5))
    alone = fit(replace(tiny_problem(), optimiser=same), members()[:1], settings(3))[0]
    np.testing.assert_allclose(alone.history["train_loss"], low.history["train_loss"], rtol=1e-5)


@pytest.mark.parametrize("record", [MOMENTUM, replace(OPTIMISERS.get("adamw"), schedule="warmup_cosine")])
def test_its_state_outlives_a_kill(tmp_path, record):
    problem, chosen = replace(tiny_problem(), optimiser=record), settings(4)
    unbroken = fit(problem, members(), chosen)
    store = ProgressStore(tmp_path / "progress", SaveBudget(share=1e9))
    with pytest.raises(Killed):
        fit(problem, members(), chosen, killed_at(2), store)
    assert_equal(everything(fit(problem, members(), chosen, None, store)), everything(unbroken))


@dataclass(frozen=True)
class HeadOnly(EmpiricalRisk):
    """Every group but the head stands still."""

    def rates(self, extra, context):
        return {name: 0.0 for name in self.network.group_names if name != "fc"}


def test_rates_act_on_the_groups_that_they_name():
    problem = tiny_problem()
    own = HeadOnly(network=problem.objective.network, scaling=problem.objective.scaling)
    start = problem.start(member())["params"]
    [found] = fit(replace(problem, objective=own), [member()], settings(1))
    for name, group in found.last["params"].items():
        same = [
            np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (group, start[name])), strict=True)
        ]
        assert all(same) if name != "fc" else not any(same)


def test_frozen_groups_stay_under_decoupled_decay():
    problem = replace(tiny_problem(), optimiser=OPTIMISERS.get("adamw"))
    spec = member(conv1=0)
    [found] = fit(problem, [spec], settings(1))
    assert_equal(
        found.last["params"]["conv1"], jax.tree.map(np.asarray, problem.start(spec)["params"]["conv1"])
    )


@pytest.mark.parametrize(
    ("methods", "fields", "objective"),
    [
        (("joint",), {}, "JointSteps"),
        (("erm_fine_tune",), {"fine_tune__regularization": "previous"}, "Anchored"),
    ],
)
def test_a_penalty_that_decoupled_decay_would_leave_out_is_refused(tmp_path, methods, fields, objective):
    smoke_run(tmp_path, dry_run=True, methods=("erm_fine_tune",), training__optimiser="adamw")
    with pytest.raises(
        ValueError, match=f"'adamw' applies the weight decay itself, and the objective {objective} of"
    ):
        smoke_run(tmp_path, dry_run=True, methods=methods, training__optimiser="adamw", **fields)


def test_a_transformation_may_read_every_usual_hyper_parameter():
    """Of the learning rate too, before there is a value of it."""
    own = Optimiser("scaled", (), lambda hyper, progress: optax.scale(1 + 0 * hyper["learning_rate"]))
    [found] = fit(replace(tiny_problem(), optimiser=own), [member()], settings(1))
    assert not found.failed


def test_an_axis_needs_a_value():
    with pytest.raises(ValueError, match="axis 'b1' has no value"):
        optimiser("empty", axes={"b1": ()})(lambda hyper, progress: optax.identity())

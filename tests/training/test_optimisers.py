"""An optimiser from outside the package: its record is all that the engine needs."""

from dataclasses import replace

import numpy as np
import optax
import pytest

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.results.checkpoints import ProgressStore, SaveBudget
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import MemberSpec
from seqfinal_jax.training.engine.optimisers import ADAM, Optimiser
from tests.training.test_resume import Killed, everything, killed_at
from tests.training.tiny import assert_equal, member, settings, tiny_problem

MOMENTUM = Optimiser(
    "momentum",
    (("learning_rate", (1e-2,)), ("momentum", (0.5, 0.9))),
    lambda hyper: optax.trace(decay=hyper["momentum"]),
)


def members():
    """One for each value of the optimiser's own axis, in the order of the grid."""
    grid = Grid(weight_decay=(0.0,), dropout=(0.0,), learning_rate=(1e-2,)).with_axes(MOMENTUM.axes[1:])
    return [MemberSpec(0, point, member().trainable, group=0) for point in grid.points()]


def test_a_hand_worked_example():
    """Momentum 0.5, gradients of 1: directions 1, 1.5 and 1.75."""
    params, hyper = {"w": np.zeros(1, np.float32)}, {"learning_rate": np.float32(0.1), "momentum": 0.5}
    state, found = MOMENTUM.init(params), []
    for _ in range(3):
        params, state = MOMENTUM.update(params, {"w": np.ones(1, np.float32)}, state, hyper)
        found.append(float(params["w"][0]))
    np.testing.assert_allclose(found, [-0.1, -0.25, -0.425], rtol=1e-6)


def test_members_have_their_own_values_of_its_axis_in_one_program(compilations):
    low, high = fit(replace(tiny_problem(), optimiser=MOMENTUM), members(), settings(3))
    assert compilations["train_epoch"] == 1
    assert np.isfinite(low.history["train_loss"][1:]).all()
    assert low.history["train_loss"][-1] < low.history["train_loss"][1]
    assert low.history["train_loss"][-1] != high.history["train_loss"][-1]
    same = replace(MOMENTUM, transformation=lambda hyper: optax.trace(decay=0.5))
    alone = fit(replace(tiny_problem(), optimiser=same), members()[:1], settings(3))[0]
    np.testing.assert_allclose(alone.history["train_loss"], low.history["train_loss"], rtol=1e-5)


def test_its_state_outlives_a_kill(tmp_path):
    problem, chosen = replace(tiny_problem(), optimiser=MOMENTUM), settings(4)
    unbroken = fit(problem, members(), chosen)
    store = ProgressStore(tmp_path / "progress", SaveBudget(share=1e9))
    with pytest.raises(Killed):
        fit(problem, members(), chosen, killed_at(2), store)
    assert_equal(everything(fit(problem, members(), chosen, None, store)), everything(unbroken))


def test_the_learning_rates_of_the_grid_are_adam_s():
    assert Grid().learning_rate == dict(ADAM.axes)["learning_rate"] == (1e-3, 1e-4)

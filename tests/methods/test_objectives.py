"""Objectives of stages: how they are described in fingerprints, what the run fills in, and losses of users' own."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.methods.nodes import described
from seqfinal_jax.methods.stages.objectives import (
    Anchored,
    Domains,
    Invariant,
    JointSteps,
    LastStep,
    Pooled,
    StageObjective,
    WorstDomain,
)
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.objectives.risk import Batch, Context, EmpiricalRisk, InputScaling
from tests.training.tiny import member, tiny_network, tiny_problem

SCALING = InputScaling((0.5,) * 3, (0.25,) * 3)
SETTINGS = Training(StopRule(1), 8, SCALING, penalise_bn="by_name", freeze_batch_stats=True)
JOINT = {"power": 2, "by_time": False, "increasing": True, "fisher": False, "per_sample": False}


@pytest.mark.parametrize(
    "objective, fields",
    [
        (Pooled((0.5, 1.0)), {"weights": [0.5, 1.0]}),
        (Domains(), {}),
        (Invariant(), {}),
        (WorstDomain(), {}),
        (LastStep(), {"weights": None}),
        (Anchored(weighted=True, places=3), {"weights": None, "power": 2, "weighted": True, "places": 3}),
        (JointSteps(increasing=True), JOINT),
    ],
)
def test_fingerprints_know_an_objective_by_the_name_and_fields_it_always_had(objective, fields):
    name = f"seqfinal_jax.methods.stages.objectives.{type(objective).__name__}"
    wanted = {"class": [name, ""], "version": 1, **fields}
    assert described(objective) == wanted
    if not objective.network_per_step:
        assert described(objective.risk(tiny_network(), SETTINGS)) == {**wanted, **_without_weights(fields)}


def _without_weights(fields):
    return {"weights": None} if "weights" in fields else {}


def test_the_run_fills_in_the_network_and_its_settings():
    objective = Anchored(power=1).risk(tiny_network(), SETTINGS)
    assert (objective.network, objective.scaling, objective.power) == (tiny_network(), SCALING, 1)
    assert (objective.penalise_bn, objective.freeze_batch_stats) == ("by_name", True)
    assert Pooled((1.0, 2.0)) != Pooled()
    assert Pooled((1.0, 2.0)).risk(tiny_network(), SETTINGS) == Pooled().risk(tiny_network(), SETTINGS)


class SquaredLoss:
    """The square of the cross-entropy, times an axis of the grid."""

    def sample_losses(self, logits, labels, hyper):
        return hyper["strength"] * EmpiricalRisk().sample_losses(logits, labels, hyper) ** 2


@dataclass(frozen=True)
class OneClass(SquaredLoss, Pooled):
    """A loss of one's own in the objective itself."""


@dataclass(frozen=True)
class SquaredRisk(SquaredLoss, EmpiricalRisk):
    """The loss in a class of its own, as users' files had to write it before."""


@dataclass(frozen=True)
class TwoClasses(Pooled):
    """The objective that names it."""

    risk_class = SquaredRisk


def context_of(streams=1):
    """The parameters and a minibatch of 8 samples of the tiny problem, for every stream."""
    problem = tiny_problem()
    start = problem.start(member())
    shape = (streams, 8)
    batch = Batch(jnp.arange(8 * streams, dtype=jnp.int32).reshape(shape), None, jnp.ones(shape))
    hyper = {"weight_decay": 0.0, "dropout": 0.0, "strength": 0.5}
    data = jax.tree.map(jnp.asarray, problem.data)
    masks = dict.fromkeys(start["params"], 1)
    return start["params"], Context(data, masks, start["batch_stats"], batch, hyper, jax.random.key(0))


@pytest.mark.parametrize("kind", [OneClass, TwoClasses])
def test_a_loss_of_ones_own_in_one_class_or_in_two(kind):
    built = kind((1.0,)).risk(tiny_network(), SETTINGS)
    params, context = context_of()
    loss, _ = built.loss(params, context)
    logits, _ = built.training_logits(params, context._replace(batch=context.batch.stream(0)))
    log_probabilities = jax.nn.log_softmax(logits)[jnp.arange(8), context.labels[0]]
    np.testing.assert_allclose(loss, np.mean(0.5 * np.square(log_probabilities)), rtol=1e-5)


def test_several_streams_need_a_loss_of_their_own():
    params, context = context_of(streams=2)
    with pytest.raises(TypeError, match="Objective defines no loss of 2 streams"):
        StageObjective().risk(tiny_network(), SETTINGS).loss(params, context)

"""Penalties towards earlier models: by hand, filled-up places, and fits through the engine."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.objectives.anchored import Anchored, anchor_constants
from seqfinal_jax.training.objectives.risk import Context
from seqfinal_jax.training.objectives.step_penalties import neighbour_distances
from tests.training.tiny import assert_equal, grid, member, settings, tiny_network, tiny_problem


def tree(kernel, scale, bias, inner=0.0):
    """A stem with kernel and batch norm, a residual unit's batch norm, and a head's bias."""
    return {
        "conv1": {
            "conv": {"kernel": jnp.asarray(kernel)},
            "bn": {"scale": jnp.asarray([scale])},
            "unit": {"bn1": {"scale": jnp.asarray([inner])}},
        },
        "fc": {"linear": {"bias": jnp.asarray([bias])}},
    }


PARAMS = tree([1.0, -2.0], 3.0, 0.5, 7.0)
ANCHORS = [tree([0.0, 0.0], 1.0, 0.0), tree([1.0, 1.0], 3.0, 1.5)]
WEIGHTS = [tree([1.0, 2.0], 0.5, 4.0, 9.0), tree([5.0, 1.0], 8.0, 0.0, 9.0)]


def penalty(constants, params=PARAMS, **fields):
    objective = Anchored(network=tiny_network(), **fields)
    context = Context({}, {}, None, None, {"weight_decay": 0.1}, None, constants)
    return objective.penalty(params, context)


@pytest.mark.parametrize(
    ("fields", "anchors", "wanted"),
    [
        ({}, 1, 5.25),  # (1 + 4) + 0.25
        ({"power": 1}, 1, 3.5),  # (1 + 2) + 0.5
        (
            {"penalise_bn": "by_name"},
            1,
            9.25,
        ),  # the stem's scale too: (3 - 1)^2; that of the unit's bn1 never
        ({"weighted": True}, 1, 10.0),  # (1 + 8) + 4 x 0.25
        ({"weighted": True}, 2, 19.0),  # and (5 x 0 + 1 x 9) + 0 x 1
        ({"weighted": True, "penalise_bn": "by_name"}, 2, 21.0),  # and 0.5 x 4 + 8 x 0
    ],
)
def test_penalties_by_hand(fields, anchors, wanted):
    constants = anchor_constants(ANCHORS[:anchors], WEIGHTS[:anchors] if fields.get("weighted") else None)
    np.testing.assert_allclose(penalty(constants, **fields), 0.1 * wanted, rtol=1e-6)


def test_the_gradient_by_hand():
    constants = anchor_constants(ANCHORS, WEIGHTS)
    gradient = jax.grad(lambda params: penalty(constants, params, weighted=True))(PARAMS)
    np.testing.assert_allclose(gradient["conv1"]["conv"]["kernel"], [0.2, -1.4], rtol=1e-6)
    np.testing.assert_allclose(gradient["fc"]["linear"]["bias"], [0.4], rtol=1e-6)
    assert gradient["conv1"]["bn"]["scale"] == 0


def test_no_gradient_of_the_absolute_penalty_at_the_anchor():
    gradient = jax.grad(lambda params: penalty(anchor_constants([PARAMS]), params, power=1))(PARAMS)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PARAMS)
    between_steps = jax.grad(lambda stack: neighbour_distances(stack, power=1)[0])(twice)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(between_steps))


def test_places_that_are_filled_up_cost_nothing():
    filled = anchor_constants(ANCHORS, WEIGHTS, places=5)
    assert filled["weights"]["fc"]["linear"]["bias"].shape == (5, 1)
    plain = anchor_constants(ANCHORS, WEIGHTS)
    assert penalty(filled, weighted=True) == penalty(plain, weighted=True)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="0 anchors and no trees of weights"):
        anchor_constants([])
    with pytest.raises(ValueError, match="2 anchors and 1 trees of weights"):
        anchor_constants(ANCHORS, WEIGHTS[:1])
    with pytest.raises(ValueError, match="2 anchors for 1 places"):
        anchor_constants(ANCHORS, WEIGHTS, places=1)
    with pytest.raises(ValueError, match="filling up needs weights"):
        anchor_constants(ANCHORS, places=3)
    with pytest.raises(ValueError, match="power = 3"):
        Anchored(network=tiny_network(), power=3)


def anchored_problem(anchors, weights=None, places=None, **fields):
    """The tiny problem; `anchors` are factors on the start parameters."""
    problem = tiny_problem()
    objective = Anchored(network=problem.objective.network, scaling=problem.objective.scaling, **fields)

    def constants(seed):
        start = problem.start(member(seed))["params"]
        scaled = [
            [jax.tree.map(lambda leaf, f=f: f * leaf, start) for f in each]
            for each in (anchors, weights or ())
        ]
        return anchor_constants(scaled[0], scaled[1] if weights else None, places)

    return replace(problem, objective=objective, constants=constants)


def test_an_anchor_at_the_origin_is_weight_decay():
    plain = fit(tiny_problem(), grid((0,)), settings(3))
    anchored = fit(anchored_problem([0.0]), grid((0,)), settings(3))
    for one, other in zip(plain, anchored, strict=True):
        np.testing.assert_allclose(one.history["valid_loss"], other.history["valid_loss"], rtol=1e-4)


@pytest.mark.parametrize("power", [1, 2])
def test_a_strong_penalty_holds_the_kernels_and_not_the_batch_norm(power):
    problem = anchored_problem([1.0], power=power)
    start = problem.start(member())["params"]

    def moved(decay):
        last = fit(problem, [member(decay=decay, lr=1e-3)], settings(4, patience=9))[0].last["params"]
        both = (params["layer1"]["conv"]["kernel"] for params in (last, start))
        return np.abs(np.subtract(*both)).mean(), np.abs(last["layer1"]["bn"]["scale"] - 1).mean()

    (free, _), (held, scale) = moved(0.0), moved(10.0)
    assert held < 0.6 * free
    assert scale > 1e-3


@pytest.mark.slow
def test_one_compilation_for_few_and_many_anchors(compilations):
    fields = {"weighted": True, "penalise_bn": "by_name", "places": 3}
    few = fit(anchored_problem([1.0], [0.0], **fields), grid(), settings(2))
    many = fit(anchored_problem([1.0, 0.5, 0.0], [0.1, 0.0, 0.3], **fields), grid(), settings(2))
    assert compilations["train_epoch"] == 1
    assert not any(result.failed for result in (*few, *many))
    without = fit(anchored_problem([0.5, 0.1, 0.0], [0.0] * 3, **fields), grid(), settings(2))
    assert_equal([result.history for result in few], [result.history for result in without])

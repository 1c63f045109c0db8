"""Surgical scores and the sets that follow from them."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqfinal_jax.models import init_variables
from seqfinal_jax.training.engine.streams import EvaluationSet
from seqfinal_jax.training.objectives.risk import Batch, EmpiricalRisk, Objective, batch_of
from seqfinal_jax.training.objectives.surgical import (
    layer_scores,
    nested_sets,
    rank_groups,
    signal_to_noise,
    tensor_scores,
)
from tests.training.tiny import CLASSES, tiny_network

DATA = {
    "images": jnp.asarray([[1.0, 2], [0, 1], [-1, 1], [2, 0], [1, 1]]),
    "labels": jnp.asarray([0, 1, 1, 0, 1], jnp.int32),
}


@dataclass(frozen=True)
class TwoLinear(Objective):
    """Logits b(a(x)) of two linear groups; a has a bias."""

    def logits(self, variables, data, index, step):
        a, b = variables["params"]["a"], variables["params"]["b"]
        return (data["images"][index] @ a["kernel"] + a["bias"]) @ b["kernel"]


def linear_variables(dtype=np.float32):
    """The worked example's weights, written (out, in) there and (in, out) here."""
    params = {
        "a": {"kernel": np.asarray([[1, 0], [0.5, -1]], dtype).T, "bias": np.asarray([0.1, -0.2], dtype)},
        "b": {"kernel": np.asarray([[1, -1], [0, 2]], dtype).T},
    }
    return {"params": params, "batch_stats": {}}


def linear_scores(rows, variables=None, batch_size=2):
    batches, count = batches_of(rows, batch_size)
    return layer_scores(
        TwoLinear(network=tiny_network()), variables or linear_variables(), DATA, batches, count
    )


def batches_of(rows, batch_size):
    stored = EvaluationSet(0, np.asarray(rows)).batches(batch_size)
    arrays = jax.tree.map(jnp.asarray, batch_of(stored))
    return arrays, jnp.int32(stored.count)


def test_the_worked_example():
    """Spec, section 9: two groups, minibatches of 2, 2 and 1 samples in order."""
    scores = linear_scores(range(5))
    assert scores["rgn"] == pytest.approx({"a": 2.97458169323, "b": 0.38488813324}, rel=1e-5)
    assert scores["snr"] == pytest.approx({"a": 0.37496195177, "b": 0.29999988807}, rel=1e-5)


def test_samples_may_change_places_within_a_minibatch_but_not_between_them():
    scores, swapped, regrouped = (linear_scores(rows) for rows in ([0, 1, 2, 3], [1, 0, 3, 2], [0, 2, 1, 3]))
    for metric in ("rgn", "snr"):
        assert swapped[metric] == pytest.approx(scores[metric], rel=1e-5)
    assert regrouped["rgn"]["a"] != pytest.approx(scores["rgn"]["a"], rel=1e-2)


def test_full_minibatches_need_no_mask_and_weights_take_no_part():
    batches, count = batches_of(range(4), 2)
    objective = TwoLinear(network=tiny_network())
    masked = layer_scores(objective, linear_variables(), DATA, batches, count)
    plain = Batch(batches.index[:2], None, 3 * batches.weight[:2])
    assert layer_scores(objective, linear_variables(), DATA, plain, count) == masked


def test_a_zero_tensor_ranks_its_group_first():
    variables = linear_variables()
    variables["params"]["b"]["kernel"][:] = 0
    rgn = linear_scores(range(5), variables)["rgn"]
    assert rgn["a"] == 0 and math.isinf(rgn["b"])
    assert rank_groups(rgn, ("a", "b")) == ("b", "a")


def test_noise_is_the_variance_between_output_channels():
    """Channels (last axis) with gradients 1 and 3: variance 2; of entries that do not vary only 1e-8 remains."""
    kernel = jnp.broadcast_to(jnp.asarray([1.0, 3.0]), (3, 3, 5, 2))
    assert float(signal_to_noise(kernel)) == pytest.approx((1 / 2 + 9 / 2) / 2)
    assert float(signal_to_noise(jnp.asarray([1.0, 3.0]))) == pytest.approx(2.5)
    assert float(signal_to_noise(jnp.full((2, 4), 1e-3))) == pytest.approx(1e-6 / 1e-8, rel=1e-3)
    assert math.isnan(float(signal_to_noise(jnp.ones((3, 1)))))


def test_a_network_is_scored_in_evaluation_mode():
    """Running statistics are used, and every tensor of every group has a score."""
    network = tiny_network()
    random = np.random.RandomState(0)
    data = {
        "images": random.normal(size=(10, 16, 16, 3)).astype(np.float32),
        "labels": np.arange(10, dtype=np.int32) % CLASSES,
    }
    variables = init_variables(network, jax.random.key(0))
    batches, count = batches_of(range(10), 4)
    objective = EmpiricalRisk(network=network)
    tensors = tensor_scores(objective, variables, data, batches, count)
    assert jax.tree.structure(tensors["rgn"]) == jax.tree.structure(variables["params"])
    scores = layer_scores(objective, variables, data, batches, count)
    assert scores["snr"]["fc"] == pytest.approx(np.mean(jax.tree.leaves(tensors["snr"]["fc"])), rel=1e-6)
    variables["batch_stats"]["layer1"]["bn"]["var"] *= 9
    moved = layer_scores(objective, variables, data, batches, count)
    assert moved["snr"]["conv1"] != pytest.approx(scores["snr"]["conv1"], rel=1e-3)


def test_ranks():
    groups = ("conv1", "layer1", "layer2", "fc")
    assert rank_groups(dict(zip(groups, (1.0, 3.0, 2.0, 0.0), strict=True)), groups) == (
        "layer1", "layer2", "conv1", "fc",
    )  # fmt: skip
    assert rank_groups(dict(zip(groups, (1.0, 2.0, 1.0, 2.0), strict=True)), groups) == (
        "layer1", "fc", "conv1", "layer2",
    )  # fmt: skip
    odd = (math.nan, -1.0, math.inf, math.nan)
    assert rank_groups(dict(zip(groups, odd, strict=True)), groups) == ("layer2", "layer1", "conv1", "fc")


def test_nested_sets_are_in_group_order():
    groups = ("conv1", "layer1", "fc")
    assert nested_sets(("fc", "conv1", "layer1"), groups) == (("fc",), ("conv1", "fc"), groups)

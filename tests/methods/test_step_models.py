"""How far the models of neighbouring time steps are apart, by hand."""

import numpy as np
import pytest

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.nodes import Stage, StepForm
from seqfinal_jax.methods.stages.objectives import JointSteps, Pooled
from seqfinal_jax.methods.stages.step_models import distance, layer_changes
from seqfinal_jax.models import build_network
from seqfinal_jax.models.network import NetworkConfig
from seqfinal_jax.models.per_step.network import TABLE
from seqfinal_jax.results.store import StageResult

NETWORK = build_network("convnet-1", 2, NetworkConfig(stem_width=4, widths=(4,)))


def result(params, **batch_stats):
    tree = {"params": params, "batch_stats": batch_stats}
    return StageResult(tree, tree, {}, 0, [], [])


def stage(steps, objective=Pooled(), form=None, name="x"):
    return Stage(name, "final", steps, steps[-1:], Grid(), objective, form=form)


def test_distance_is_over_all_entries():
    one = {"kernel": np.array([[1.0, 2.0]]), "bias": np.array([3.0])}
    other = {"kernel": np.array([[1.0, 0.0]]), "bias": np.array([2.0])}
    assert distance(one, other) == pytest.approx(5**0.5)


def groups(**values):
    return {group: {"w": np.array(value)} for group, value in values.items()}


def test_versions_of_separate_layers():
    params = groups(
        conv1=[[1.0], [2.0], [4.0]], layer1=[[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]], fc=[[1.0], [1.0], [0.0]]
    )
    joint = stage((0, 1, 2), JointSteps(), StepForm("separate", 3))
    rows = layer_changes(NETWORK, {joint: result(params)})
    assert [(r["layer"], r["step"], r["distance"]) for r in rows] == [
        ("conv1", 1, 1.0), ("conv1", 2, 2.0), ("layer1", 1, 5.0), ("layer1", 2, 0.0), ("fc", 1, 0.0), ("fc", 2, 1.0),
    ]  # fmt: skip


def test_a_searched_table_tells_which_versions_a_step_uses():
    params = groups(conv1=[[1.0], [9.0]], layer1=[[1.0], [2.0]], fc=[[0.0], [5.0]])
    table = np.array([[0, 0, 0], [0, 0, 1]])
    joint = stage((0, 1), JointSteps(), StepForm("separate", 2))
    rows = layer_changes(NETWORK, {joint: result(params, **{TABLE: table})})
    assert [(r["layer"], r["distance"]) for r in rows] == [("conv1", 0.0), ("layer1", 0.0), ("fc", 5.0)]


def test_models_of_a_sequential_method_the_last_of_a_step_counts():
    chain = {
        stage((0,), name="source"): result(groups(conv1=[0.0], layer1=[0.0], fc=[0.0])),
        stage((1,), name="probe"): result(groups(conv1=[7.0], layer1=[7.0], fc=[7.0])),
        stage((1,), name="tuned"): result(groups(conv1=[1.0], layer1=[2.0], fc=[3.0])),
    }
    rows = layer_changes(NETWORK, chain)
    assert [(r["layer"], r["step"], r["distance"]) for r in rows] == [
        ("conv1", 1, 1.0), ("layer1", 1, 2.0), ("fc", 1, 3.0),
    ]  # fmt: skip


def test_other_methods_have_no_such_models():
    pooled = {stage((0, 1)): result(groups(fc=[0.0])), stage((2,)): result(groups(fc=[1.0]))}
    assert layer_changes(NETWORK, pooled) == []
    assert layer_changes(NETWORK, {stage((2,)): result(groups(fc=[1.0]))}) == []
    side = {stage((0,)): result({}), stage((1,), form=StepForm("side_tune", 2)): result({})}
    assert layer_changes(NETWORK, side) == []

"""Stages as problems of the engine: the equalities between forms, starts, and what a fingerprint depends on."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from seqfinal_jax.config import base_config
from seqfinal_jax.config.parse import parse, scaling_of
from seqfinal_jax.data.sequences.pool import pool_sequences
from seqfinal_jax.data.sequences.sequence import build_sequence
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.joint_options import JointOptions
from seqfinal_jax.methods.nodes import all_stages
from seqfinal_jax.methods.options import Options
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.fingerprint import node_fingerprint
from seqfinal_jax.methods.stages.network import stage_network
from seqfinal_jax.methods.stages.objectives import Anchor
from seqfinal_jax.methods.stages.problem import lowest_trained, stage_problem, training_set
from seqfinal_jax.methods.stages.start import initial_variables, member_masks, start_variables
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models import NetworkConfig, build_network
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings, MemberSpec

NETWORK = build_network("convnet-1", 10, NetworkConfig(width_factor=0.0625))
GRID = Grid((1e-3,), (1e-2,), (), (0.5,))


@pytest.fixture
def double_precision():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="module")
def pool():
    sequence = build_sequence(
        "digits", "rotation:corruption:label_flip", 100, (100, 100, 115), test_size=20, seed=0
    )
    return pool_sequences({("main", 0): sequence})


def training(**changes) -> Training:
    scaling = scaling_of(parse(base_config("x", "digits", "rotation", 10, (10,), 10, 10)))
    return dataclasses.replace(Training(StopRule(1), 20, scaling, penalise_bn="by_name"), **changes)


def final_stage(method: str, grid: Grid = GRID, **options):
    node = METHODS.get(method).recipe(Setting(4, grid, "convnet", 1, Options(**options)))
    *_, stage = all_stages(node)
    return stage


def trained(stage, pool, rules):
    """The last step's plain variables after one epoch, from one and the same model of history."""
    history = jax.tree.map(lambda leaf: leaf + 0.01, initial_variables(NETWORK, rules, 7, {}))
    data = {"images": pool.images, "labels": pool.labels}
    point = stage.grid.points()[0]
    member = MemberSpec(0, point, member_masks(stage, NETWORK, ()), group=0)
    anchors = [Anchor(history, training_set(stage.start, pool, 0))] if stage.anchors else []
    problem = stage_problem(
        stage, NETWORK, rules, pool, data,
        lambda spec: start_variables(stage, NETWORK, rules, history if stage.start else None, None, spec),
        lambda seed: stage.objective.constants(NETWORK, rules, data, anchors),
    )  # fmt: skip
    last = fit(problem, [member], FitSettings(StopRule(1)))[0].last
    network = stage_network(NETWORK, stage.form)
    return network.plain(last)


PREVIOUS_GRID = Grid(
    (1e-3,), (1e-4,), (), (0.5,)
)  # the strengths that forms with `prev_reg` give to the adjacent penalty
EQUAL = [
    pytest.param("standard_using_joint", "erm_final", {}, GRID, marks=pytest.mark.slow),
    ("standard_using_joint_with_init", "erm_fine_tune", {}, GRID),
    (
        "standard_using_joint_with_prev_reg",
        "erm_fine_tune",
        {"regularization": "previous", "ablate_init": True},
        PREVIOUS_GRID,
    ),
    (
        "standard_using_joint_with_init_and_prev_reg",
        "erm_fine_tune",
        {"regularization": "previous"},
        PREVIOUS_GRID,
    ),
]


@pytest.mark.parametrize("mode, method, options, grid", EQUAL)
def test_frozen_joint_forms_equal_plain_methods(double_precision, pool, mode, method, options, grid):
    """The equalities of the published debugging modes, with the same start, shuffles and dropout keys."""
    rules = training()
    form = trained(final_stage("erm_fine_tune", GRID, mode=mode), pool, rules)
    plain = trained(final_stage(method, grid, **options), pool, rules)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), form, plain)
    assert jax.tree.leaves(form)[0].dtype == np.float64


def test_methods_of_a_seed_start_from_the_same_weights():
    rules, member = training(), MemberSpec(0, {"learning_rate": 1e-3}, {})
    first = start_variables(final_stage("erm_final"), NETWORK, rules, None, None, member)
    other = MemberSpec(0, {"learning_rate": 1e-4}, {})
    second = start_variables(final_stage("dro_all"), NETWORK, rules, None, None, other)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    own = dataclasses.replace(rules, init_per_grid_point=True)
    third = start_variables(final_stage("dro_all"), NETWORK, own, None, None, other)
    assert np.any(third["params"]["conv1"]["conv"]["kernel"] != first["params"]["conv1"]["conv"]["kernel"])


def test_a_fingerprint_depends_on_start_anchors_training_and_data_but_not_on_the_role():
    def of(stage, rules=None, data="d"):
        return node_fingerprint(stage, NETWORK, rules or training(), {"main": data, "oracle": "o"})

    stage = final_stage("erm_fine_tune")
    changes = [
        of(dataclasses.replace(stage, start=None)),
        of(final_stage("erm_fine_tune", regularization="previous")),
        of(final_stage("erm_fine_tune", layers="fc")),
        of(final_stage("erm_fine_tune", mode="standard_using_joint")),
        of(stage, training(batch_size=21)),
        of(final_stage("erm_final"), training(pretrained=("a.npz", "digest"))),
        of(stage, data="e"),
    ]
    assert len({of(stage), *changes}) == 8
    assert of(dataclasses.replace(stage, role="probe")) == of(stage)
    assert of(stage, training(pretrained=("b.npz", "digest"))) == of(
        stage, training(pretrained=("a.npz", "digest"))
    )
    ewc = final_stage("sequential_ewc", regularization="fisher_all")
    fewer = dataclasses.replace(ewc, anchors=ewc.anchors[:2])
    assert of(fewer) != of(ewc)


def test_a_joint_model_may_start_all_steps_from_the_same_weights():
    rules, member = training(), MemberSpec(7, {}, {})
    stage = final_stage("joint", joint=JointOptions(same_init_over_time=True))
    started = start_variables(stage, NETWORK, rules, None, None, member)
    own = initial_variables(NETWORK, rules, 7, {})
    for step in range(4):
        jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda leaf, t=step: leaf[t], started), own)
    usual = start_variables(final_stage("joint"), NETWORK, rules, None, None, member)
    kernels = usual["params"]["conv1"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernels[3], own["params"]["conv1"]["conv"]["kernel"])
    assert np.all(kernels[0] != kernels[3])


DEEPER = [pytest.param(name, marks=pytest.mark.rare) for name in ("resnet-2", "densenet-1")]


@pytest.mark.parametrize("together", ["map", pytest.param("vmap", marks=pytest.mark.rare)])
@pytest.mark.parametrize("name", [pytest.param("convnet-1", marks=pytest.mark.slow), *DEEPER])
def test_a_linear_probe_without_gradients_below_the_head_ends_at_the_same_weights(pool, name, together):
    """Leaving the backward pass of frozen groups out changes not one bit where members run one after another."""
    rules, sizes = training(), NetworkConfig(width_factor=0.0625)
    network = build_network(name, 10, sizes)
    options = Options(layers="linear_probe_fine_tune")
    node = METHODS.get("erm_fine_tune").recipe(Setting(4, GRID, network.family, network.num_blocks, options))
    probe = next(stage for stage in all_stages(node) if stage.layers == (("fc",),))
    assert lowest_trained(probe, network) == len(network.group_names) - 1
    history = jax.tree.map(lambda leaf: leaf + 0.01, initial_variables(network, rules, 7, {}))
    data = {"images": pool.images, "labels": pool.labels}
    masks = member_masks(probe, network, ("fc",))
    members = [
        MemberSpec(0, {**probe.grid.points()[0], "dropout": rate}, masks, group=0) for rate in (0.0, 0.5)
    ]
    problem = stage_problem(
        probe, network, rules, pool, data,
        lambda spec: start_variables(probe, network, rules, history, None, spec), lambda seed: None,
    )  # fmt: skip
    whole = dataclasses.replace(problem, objective=dataclasses.replace(problem.objective, first_trained=0))
    settings = FitSettings(StopRule(2), members_per_program=2, vectorise=together, keep_all=True)
    ours, plain = ([each.last for each in fit(one, members, settings)] for one in (problem, whole))
    near = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal if together == "map" else near, ours, plain)
    kernel = ours[1]["params"]["fc"]["linear"]["kernel"]
    assert np.any(kernel != history["params"]["fc"]["linear"]["kernel"])

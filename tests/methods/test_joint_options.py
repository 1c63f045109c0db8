"""Options of the joint model: ids, grids, layer search, what goes together, and what would do nothing."""

import dataclasses

import pytest

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.joint_options import JointOptions
from seqfinal_jax.methods.method_plan import plan_methods
from seqfinal_jax.methods.nodes import all_stages
from seqfinal_jax.methods.options import Options
from seqfinal_jax.methods.recipes import METHODS, published_row
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.models.per_step.low_rank import Adapter

GRID = Grid(adjacent=(0.01, 0.1, 1.0))


def setting(family="convnet", blocks=1, steps=4, joint=None, **options) -> Setting:
    return Setting(steps, GRID, family, blocks, Options(joint=JointOptions(**(joint or {})), **options))


def build(method="joint", **given):
    return METHODS.get(method).build(setting(**given))


IDS = [
    ("joint", {}, {}, "joint"),
    ("joint_side_tune_block", {}, {}, "joint_side_tune_block"),
    ("joint", {"adjacent_penalty": "none"}, {}, "joint_adjacent_reg_none"),
    ("joint", {"adjacent_penalty": "l2_very_high", "penalty_by_time": True}, {},
     "joint_weight_reg_by_time_adjacent_reg_l2_very_high"),
    ("joint", {"loss_samples": "nearest_neighbours", "increasing_loss_weights": True}, {},
     "joint_nearest_neighbors_loss_increasing"),
    ("joint", {"loss_samples": "optimal_matching"}, {}, "joint_optimal_matching_loss"),
    ("joint", {"mode": "low_rank_adapt"}, {"adapter": Adapter("multiply", 3)}, "joint_low_rank_multiply_rank3"),
    ("joint", {"mode": "side_tune", "ablate": True}, {"side": "block"}, "joint_side_tune_block_ablate"),
    ("joint", {"mode": "side_tune", "sweep_efficient_penalty": True}, {"side": (4, 8), "all_layers_efficient": True},
     "joint_side_tune_3layers_size4,8_all_efficient_sweep_efficient_reg"),
    ("joint", {"separate_layers": "fc"}, {}, "joint_separate_fc"),
    ("joint", {"separate_layers": "search"}, {"pretrained": "imagenet"}, "joint_separate_search_start_with_imagenet"),
    ("joint", {"adjacent_penalty": "l2_fisher", "fisher": "per_sample_ce"}, {},
     "joint_adjacent_reg_l2_fisher_per_sample"),
    ("joint", {"same_init_over_time": True, "resume_to_epochs": 200}, {}, "joint_same_init_resumed_to_200"),
    ("joint", {"resume_to_epochs": 200, "resume_patience": 20}, {}, "joint_resumed_to_200_patience20"),
    ("joint_side_tune", {"adjacent_penalty": "l1", "resume_to_epochs": 150}, {}, "joint_side_tune_resumed_to_150"),
]  # fmt: skip


@pytest.mark.parametrize("method, joint, options, name", IDS)
def test_derived_ids(method, joint, options, name):
    assert METHODS.get(method).derived_id(setting(joint=joint, **options)) == name


# Strengths of the adjacent penalty and fits of one seed (joint spec, 1.3, 4 and 8).
GRIDS = [
    ({}, (0.01, 0.1, 1.0), 3), ({"adjacent_penalty": "none"}, (0.0,), 1),
    ({"adjacent_penalty": "l2_high"}, (10.0, 100.0, 1000.0), 3),
    ({"adjacent_penalty": "l2_very_high"}, (1e4, 1e5, 1e6), 3), ({"adjacent_penalty": "l1"}, (0.01, 0.1, 1.0), 3),
    ({"mode": "side_tune", "sweep_efficient_penalty": True}, (0.1,), 6),
    ({"mode": "side_tune", "sweep_efficient_penalty": True, "adjacent_penalty": "none"}, (0.0,), 6),
    ({"separate_layers": "search"}, (0.1,), 7),
    ({"separate_layers": "search", "adjacent_penalty": "l2_high"}, (10.0,), 7),
    ({"separate_layers": "search", "adjacent_penalty": "none"}, (0.0,), 7),
]  # fmt: skip


@pytest.mark.parametrize("joint, strengths, fits", GRIDS)
def test_strengths_of_the_adjacent_penalty(joint, strengths, fits):
    stage = build(joint=joint, side="block")
    assert stage.grid.adjacent == strengths and stage.num_members(3) == fits


def test_strengths_that_are_asked_for():
    asked = dataclasses.replace(setting().joint_grid, adjacent=(10.0, 50.0))
    high = dataclasses.replace(setting(joint={"adjacent_penalty": "l2_high"}), joint_grid=asked)
    assert METHODS.get("joint").build(high).grid.adjacent == (10.0, 50.0)
    quick = dataclasses.replace(high, joint_grid=dataclasses.replace(asked, adjacent=(0.1, 1.0)))
    with pytest.raises(ValueError, match=r"give strengths from 10 on, or \(\) for 10, 100, 1000"):
        METHODS.get("joint").build(quick)


def test_the_published_grid():
    points = build().grid.points()
    assert points[0] == {
        "learning_rate": 1e-3, "weight_decay": 1e-4, "adjacent": 0.01, "dropout": 0.5, "final_weight": 3.0,
    }  # fmt: skip
    assert [point["adjacent"] for point in points] == [0.01, 0.1, 1.0]
    assert {p["final_weight"] for p in build(joint={"increasing_loss_weights": True}).grid.points()} == {1.0}


def test_the_layer_search_takes_every_subset_without_dropout():
    stage = build(blocks=4, joint={"separate_layers": "search"})
    assert len(stage.layers) == 63 and stage.max_epochs == 50
    assert stage.grid.points() == [
        {
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "adjacent": 0.1,
            "dropout": 0.0,
            "final_weight": 1.0,
        }
    ]


def test_matched_samples_are_a_variant_of_the_sequence():
    assert build().variant == "main"
    assert build(joint={"loss_samples": "optimal_matching"}).variant == "optimal_matching"


def test_a_resumed_fit_is_one_more_member_and_shares_the_fit_before_it():
    stage = build(joint={"resume_to_epochs": 150, "resume_patience": 8})
    before, last = all_stages(stage)
    assert before == dataclasses.replace(build(), role="start") and last.num_members(3) == 1
    assert (last.resume.to_epochs, last.resume.patience) == (150, 8) and last.name == before.name
    assert (before.label, last.label) == ("joint", "joint-resumed")


ERRORS = [
    ("joint", {"ablate": True}, {}, "adds none"),
    ("joint", {"sweep_efficient_penalty": True}, {},
     "sweep_efficient_penalty varies the decay of side modules or adapters"),
    ("joint", {"adjacent_penalty": "l2_fisher", "mode": "side_tune"}, {"side": "block"},
     "'l2_fisher' is for mode 'separate'"),
    ("joint", {"separate_layers": "search", "mode": "side_tune"}, {"side": "block"},
     "'search' is for mode 'separate' only"),
    ("joint", {"same_init_over_time": True, "mode": "side_tune"}, {"side": "block"},
     "same_init_over_time is for mode 'separate'"),
    ("joint_side_tune", {}, {}, "use joint_side_tune_block"),
    ("joint_side_tune_block", {}, {"pretrained": "imagenet"}, "in mode 'separate' only"),
]  # fmt: skip


@pytest.mark.parametrize("method, joint, options, message", ERRORS)
def test_combinations_that_do_not_work(method, joint, options, message):
    with pytest.raises(ValueError) as error:
        plan_methods((method,), True, {"convnet-1": setting(joint=joint, **options)})
    assert message in str(error.value)


def test_the_row_leaves_out_what_an_imagenet_start_does_not_have():
    plans = plan_methods(published_row(), False, {"resnet-4": setting("resnet", 4, pretrained="imagenet")})
    assert "joint_start_with_imagenet" in {name for _, name in plans.found}
    left = " ".join(plans.left_out)
    assert "joint_side_tune is left out for resnet-4" in left and "joint_side_tune_block is left out" in left

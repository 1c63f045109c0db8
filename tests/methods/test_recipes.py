"""Recipes: how many fits each method needs, what they share, and which options reach which method."""

import pytest

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.method_plan import plan_methods
from seqfinal_jax.methods.nodes import all_stages, at_step
from seqfinal_jax.methods.options import Options
from seqfinal_jax.methods.recipes import METHODS, published_row
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.objectives import Invariant, Pooled
from seqfinal_jax.models.per_step.low_rank import Adapter

GRID = Grid(adjacent=(0.01, 0.1, 1.0))


def setting(family="resnet", blocks=1, steps=4, **options) -> Setting:
    return Setting(steps, GRID, family, blocks, Options(**options))


def build(method, given):
    return METHODS.get(method).build(given)


def derived_id(method, given):
    return METHODS.get(method).derived_id(given)


def fits(nodes, num_groups=3) -> int:
    return sum(stage.num_members(num_groups) for stage in all_stages(*nodes))


# The published counts: four time steps, the whole grid, phase 1 included.
COUNTS = {
    "erm_final": 8, "oracle": 8, "erm_all": 8, "erm_all_weighted": 8, "irm_all": 8, "dro_all": 8,
    "erm_fine_tune": 16, "irm_fine_tune": 16, "dro_fine_tune": 16, "erm_linear_probe_fine_tune": 24,
    "erm_side_tune": 32, "erm_side_tune_block": 32, "sequential_fine_tune_exponential": 44,
    "sequential_fine_tune_linear": 32, "sequential_fine_tune_none": 32, "sequential_ewc": 32,
    "sequential_side_tune": 80, "sequential_side_tune_block": 80, "sequential_fine_tune": 44 + 32 + 24,
    "joint": 3, "joint_side_tune": 1, "joint_side_tune_block": 1, "erm_final_long": 8, "linear_probe": 16,
}  # fmt: skip


@pytest.mark.parametrize("method", list(COUNTS))
def test_fits_of_a_method(method):
    assert fits([build(method, setting())]) == COUNTS[method]


def test_every_method_has_a_count():
    assert set(COUNTS) == set(METHODS)


@pytest.mark.parametrize("family, expected", [("resnet", 425), ("convnet", 328)])
def test_fits_of_the_whole_row(family, expected):
    plans = plan_methods(published_row(), False, {f"{family}-1": setting(family)})
    assert fits(plan.node for plan in plans.found.values()) == expected


def test_fits_of_a_sequential_search_with_four_blocks():
    node = build("sequential_fine_tune_none", setting(blocks=4, layers="search"))
    assert fits([node], num_groups=6) == 8 + 3 * 63 * 8 == 1520


def test_surgical_and_gradual_fits():
    assert fits([build("erm_fine_tune", setting(blocks=2, layers="surgical_rgn"))], 4) == 8 + 4 * 8
    gradual = setting(blocks=2, layers="gradual_unfreeze_last_to_first")
    assert fits([build("erm_fine_tune", gradual)], 4) == 8 + 4 * 8


def test_history_is_shared_and_holds_no_final_step():
    stages = {
        m: list(all_stages(build(m, setting()))) for m in ("erm_fine_tune", "erm_side_tune", "irm_fine_tune")
    }
    assert stages["erm_fine_tune"][0] == stages["erm_side_tune"][0]
    history = stages["irm_fine_tune"][0]
    assert history.train == history.valid == (0, 1, 2) and history.objective == Invariant()
    released = list(all_stages(build("irm_fine_tune", setting(history_steps="all"))))
    assert released[0].train == (0, 1, 2, 3) and released[0].valid == (0, 1, 2)
    assert next(iter(all_stages(build("erm_fine_tune", setting(history_steps="all"))))).train == (0, 1, 2)
    assert released[1].objective == Pooled()


def test_decay_rates_stand_in_the_grids_of_the_steps():
    chains = build("sequential_fine_tune_linear", setting()).candidates
    rates = [[at_step(chain, t).grid.learning_rate for t in range(4)] for chain in chains]
    assert rates[0] == [(1e-3,), (pytest.approx(9e-4),), (pytest.approx(8e-4),), (pytest.approx(7e-4),)]
    assert rates[1][3] == (pytest.approx(7e-5),)
    with pytest.raises(ValueError, match="linear learning-rate decay reaches 0"):
        build("sequential_fine_tune_linear", setting(steps=11))


def test_ewc_holds_on_to_all_earlier_models_and_fisher_to_the_last():
    ewc = build("sequential_ewc", setting())
    assert [len(at_step(ewc, t).anchors) for t in (1, 2, 3)] == [1, 2, 3]
    assert at_step(ewc, 2).anchors[1] == at_step(ewc, 1) and ewc.objective.places == 3
    fisher = build("sequential_fine_tune_none", setting(regularization="fisher"))
    assert [len(at_step(fisher, t).anchors) for t in (1, 2, 3)] == [1, 1, 1]
    assert fisher.objective.weighted and fisher.anchors[0] == at_step(fisher, 2)


def test_penalties_of_a_probe_stay_with_the_model_before_it():
    node = build("erm_fine_tune", setting(layers="fc-all", regularization="previous_l1"))
    history, probe, final = dict.fromkeys(all_stages(node))
    assert probe.layers == (("fc",),) and final.layers == () and final.start == probe
    assert probe.anchors == final.anchors == (history,) and final.objective.power == 1


def test_ablated_starts_are_fresh_in_the_first_stage_only():
    node = build("erm_fine_tune", setting(layers="fc-all", regularization="fisher", ablate_init=True))
    _, probe, final = dict.fromkeys(all_stages(node))
    assert probe.fresh and not final.fresh


@pytest.mark.parametrize(
    "mode, grid, init, name",
    [
        ("standard_using_joint", (2, (0.0,)), "fresh", "erm_final_using_frozen_joint"),
        ("standard_using_joint_with_init", (2, (0.0,)), "previous", "erm_fine_tune_using_frozen_joint_adjacent_reg_none"),
        ("standard_using_joint_with_prev_reg", (1, (1e-4, 1e-2)), "fresh",
         "erm_fine_tune_using_frozen_joint_adjacent_reg_l2_ablate_init"),
        ("standard_using_joint_with_init_and_prev_reg", (1, (1e-4, 1e-2)), "previous",
         "erm_fine_tune_using_frozen_joint_adjacent_reg_l2"),
    ],
)  # fmt: skip
def test_forms_that_use_the_joint_model(mode, grid, init, name):
    given = setting(mode=mode)
    node = build("erm_fine_tune", given)
    assert (len(node.grid.weight_decay), node.grid.adjacent) == grid and len(node.grid.points()) == 8
    assert node.form.init_last == init and node.form.num_steps == 2
    assert derived_id("erm_fine_tune", given) == name


IDS = [
    ("erm_fine_tune", {}, "erm_fine_tune"),
    ("erm_fine_tune", {"layers": "search"}, "erm_fine_tune_search"),
    ("irm_fine_tune", {"layers": "fc-all"}, "irm_linear_probe_then_fine_tune"),
    ("erm_fine_tune", {"regularization": "fisher", "ablate_init": True}, "erm_fine_tune_ablate_init_reg_previous_fisher"),
    ("sequential_fine_tune_none", {"layers": "fc"}, "sequential_fine_tune_fc_none"),
    ("erm_side_tune", {"side": (8, 16)}, "erm_side_tune_3layers_size8,16"),
    ("erm_side_tune", {"all_layers_efficient": True}, "erm_side_tune_all_efficient"),
    ("sequential_fine_tune", {"mode": "low_rank_adapt", "adapter": Adapter("multiply", 3)},
     "sequential_low_rank_adapt_multiply_rank3"),
    ("erm_final", {"layers": "search", "pretrained": True}, "erm_final_start_with_imagenet"),
    ("erm_linear_probe_fine_tune", {"layers": "search"}, "erm_linear_probe_fine_tune"),
]  # fmt: skip


@pytest.mark.parametrize("method, options, name", IDS)
def test_derived_ids(method, options, name):
    assert derived_id(method, setting(**options)) == name


ERRORS = [
    (
        ("irm_fine_tune",),
        {"mode": "side_tune"},
        "config.fine_tune.mode = 'side_tune' works with erm_fine_tune",
    ),
    (("sequential_fine_tune_linear",), {"mode": "side_tune"}, "not with method sequential_fine_tune_linear"),
    (("erm_fine_tune",), {"regularization": "fisher_all"}, "is for sequential methods"),
    (("erm_fine_tune",), {"ablate_init": True}, "ablate_init needs config.fine_tune.regularization"),
    (
        ("irm_fine_tune",),
        {"ablate_init": True, "regularization": "fisher"},
        "does not work with method irm_fine_tune",
    ),
    (
        ("erm_fine_tune", "erm_side_tune"),
        {"mode": "side_tune"},
        "are the same method, erm_side_tune; leave one out",
    ),
    (("erm_fine_tune",), {"layers": "layer7"}, "unknown layer 'layer7'"),
    (("sequential_fine_tuna",), {}, "did you mean 'sequential_fine_tune'"),
]


@pytest.mark.parametrize("methods, options, message", ERRORS)
def test_combinations_that_do_not_work(methods, options, message):
    with pytest.raises(ValueError) as error:
        plan_methods(methods, True, {"resnet-1": setting(**options)})
    assert message in str(error.value)


def test_a_convnet_has_no_small_side_modules():
    settings = {"convnet-1": setting("convnet")}
    with pytest.raises(ValueError, match="use erm_side_tune_block"):
        plan_methods(("erm_side_tune",), True, settings)
    both = plan_methods(("erm_side_tune",), True, {**settings, "resnet-1": setting()})
    assert list(both.found) == [("resnet-1", "erm_side_tune")]
    assert "left out for convnet-1" in both.left_out[0]


def test_what_the_user_is_told():
    told = plan_methods(
        ("irm_fine_tune", "sequential_fine_tune"),
        True,
        {"resnet-1": setting(history_steps="all", decay_selection="test")},
    )
    assert "sequential_fine_tune: the learning-rate decay is SELECTED ON TEST DATA" in told.warnings[0]
    assert "irm_fine_tune: the HISTORY HOLDS THE FINAL STEP" in told.warnings[1]
    assert "TEST accuracy" in told.found["resnet-1", "sequential_fine_tune"].selection
    assert plan_methods(published_row(), False, {"resnet-1": setting()}).warnings == ()

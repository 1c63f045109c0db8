"""Every method end to end on a narrow network and tiny digits: it learns, stages are shared, nothing is fitted twice."""

import json

import pandas as pd
import pytest

import seqfinal_jax
from seqfinal_jax.methods.recipes import METHODS
from tests.runs import smoke_config, smoke_run

LEARN = {
    "training__max_epochs": 12,
    "training__batch_size": 20,
    "network__width_factor": 0.125,
    "data__source_size": 300,
    "data__target_sizes": (200, 300, 200),
    "oracle_size": 400,
    "grid__learning_rate": (3e-3,),
    "grid__dropout": (0.0,),
}
CONVNET = tuple(m for m in METHODS if m not in ("erm_side_tune", "sequential_side_tune", "joint_side_tune"))

# Fits of one seed with a grid of one: chains take their own rates, so the source is fitted five times
# (2e-3, 2e-4; 1e-3, 1e-4; 3e-3); see tests/methods/test_recipes.py for the published counts.
FITS = 6 + 2 + 2 + 2 + 2 + 1 + 5 + (3 + 2 * 3 + 3 * 3) + 3 + 3
FITS += 2  # the joint model and its side blocks
FITS += 1  # the control of the final step alone; the linear probe is a stage of LP-FT


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("methods")
    said = smoke_run(workdir, methods=CONVNET, data__test_all_steps=True, **LEARN)
    return workdir, said


def cells(workdir, architecture="convnet-1"):
    paths = workdir.glob(f"cells/*/{architecture}/seed0/result.json")
    return {path.parts[-4]: json.loads(path.read_text()) for path in paths}


@pytest.mark.slow
def test_every_method_has_a_cell(finished):
    assert set(cells(finished[0])) == set(CONVNET)


# The label flip makes answers learnt from the past wrong: methods that pool all steps cannot be far above chance.
POOLED = {"erm_all", "irm_all", "dro_all", "erm_all_weighted"}


@pytest.mark.slow
@pytest.mark.parametrize("method", CONVNET)
def test_a_method_learns(finished, method):
    cell = cells(finished[0])[method]
    assert cell["test_accuracy"] > (0.12 if method in POOLED else 0.2)
    frame = pd.read_csv(finished[0] / "cells" / method / "convnet-1" / "seed0" / "history.csv")
    losses = frame.groupby(["stage", "member"])["train_loss"].agg(["first", "last"])
    assert (losses["last"] < losses["first"]).mean() > 0.8


@pytest.mark.slow
def test_shared_stages_are_fitted_once(finished):
    timing = pd.read_csv(finished[0] / "timing.csv")
    assert not timing["fingerprint"].duplicated().any()
    assert timing["members"].sum() == FITS
    assert f"{FITS} trainings to do" in finished[1]


@pytest.mark.slow
def test_a_second_run_fits_nothing(finished):
    before = (finished[0] / "timing.csv").read_text()
    said = smoke_run(finished[0], methods=CONVNET, data__test_all_steps=True, **LEARN)
    assert "Nothing to do: all" in said
    assert (finished[0] / "timing.csv").read_text() == before


@pytest.mark.slow
def test_stages_of_adapting_never_lose_validation_accuracy(finished):
    stages = cells(finished[0])["erm_linear_probe_fine_tune"]["stages"]
    assert [stage["role"] for stage in stages] == ["start", "probe", "final"]
    assert stages[1]["hyper"]["layers"] == "fc"
    assert stages[2]["valid_accuracy"] >= stages[1]["valid_accuracy"]


@pytest.mark.slow
def test_sequential_methods_tell_the_accuracy_of_every_step(finished):
    found = cells(finished[0])
    for method in (
        "sequential_fine_tune", "sequential_ewc", "sequential_side_tune_block", "joint",
    ):  # fmt: skip
        steps = found[method]["steps"]
        assert [step["step"] for step in steps] == [1, 2, 3]
        assert steps[2]["test_accuracy"] == found[method]["test_accuracy"]
    assert "steps" not in found["erm_fine_tune"]
    with_distances = {path.parts[-4] for path in finished[0].glob("cells/*/*/*/layer_change.csv")}
    assert {"joint", "sequential_fine_tune"} <= with_distances
    assert "erm_fine_tune" not in with_distances


@pytest.mark.slow
def test_sft_is_the_chain_of_best_validation_accuracy(finished):
    found = cells(finished[0])
    chains = [found[f"sequential_fine_tune_{decay}"] for decay in ("none", "linear", "exponential")]
    best = max(chains, key=lambda cell: cell["valid_accuracy"])
    assert found["sequential_fine_tune"]["valid_accuracy"] == best["valid_accuracy"]
    assert found["sequential_fine_tune"]["test_accuracy"] in {
        c["test_accuracy"] for c in chains if c["valid_accuracy"] == best["valid_accuracy"]
    }


@pytest.mark.slow
def test_a_stored_side_network_predicts(finished):
    import numpy as np

    cell = finished[0] / "cells" / "sequential_side_tune_block" / "convnet-1" / "seed0"
    model = seqfinal_jax.load_model(cell)
    assert model.network.num_steps == 4
    assert model(np.zeros((3, 32, 32, 3), np.uint8)).shape == (3, 10)


OPTIONS = [
    ("erm_fine_tune", {"fine_tune__layers": "search"}, "erm_fine_tune_search"),
    ("erm_fine_tune", {"fine_tune__layers": "surgical_rgn"}, "erm_fine_tune_surgical_rgn"),
    ("erm_fine_tune", {"fine_tune__regularization": "previous_l1"}, "erm_fine_tune_l1_reg_previous"),
    ("erm_fine_tune", {"fine_tune__regularization": "fisher", "fine_tune__fisher": "per_sample"}, None),
]  # fmt: skip
CHAIN = "sequential_fine_tune_none"
FURTHER = [
    (CHAIN, {"fine_tune__layers": "fc:surgical_snr:layer1-all"}),
    (CHAIN, {"fine_tune__regularization": "previous", "fine_tune__ablate_init": True}),
    ("erm_fine_tune", {"fine_tune__mode": "low_rank_adapt", "adapter__init": "identity"}),
    (CHAIN, {"fine_tune__mode": "low_rank_adapt", "adapter__mode": "multiply", "all_layers_efficient": True}),
    ("erm_fine_tune", {"fine_tune__mode": "standard_using_joint_with_init_and_prev_reg"}),
    (CHAIN, {"fine_tune__mode": "standard_using_joint"}),
    ("erm_side_tune_block", {"all_layers_efficient": True, "fine_tune__freeze_batch_stats": True}),
]
OPTIONS += [pytest.param(method, fields, None, marks=pytest.mark.rare) for method, fields in FURTHER]


@pytest.mark.parametrize("method, fields, name", OPTIONS, ids=lambda value: str(value)[:60])
def test_options_run_end_to_end(tmp_path, method, fields, name):
    smoke_run(tmp_path, methods=(method,), grid__dropout=(0.0,), **fields)
    cell = next(path for path in tmp_path.glob("cells/*/convnet-1/seed0/result.json"))
    assert name is None or cell.parts[-4] == name
    seqfinal_jax.load_model(cell.parent)


def test_released_says_loudly_what_it_does(tmp_path):
    config = {**smoke_config().protocol.to_dict(), "history_steps": "all", "decay_selection": "test"}
    protocol = {f"protocol__{name}": value for name, value in config.items()}
    methods = ("dro_fine_tune", "sequential_fine_tune")
    said = smoke_run(tmp_path, methods=methods, grid__dropout=(0.0,), training__max_epochs=1, **protocol)
    assert "WARNING: sequential_fine_tune: the learning-rate decay is SELECTED ON TEST DATA" in said
    assert "WARNING: dro_fine_tune: the HISTORY HOLDS THE FINAL STEP" in said
    found = cells(tmp_path)
    assert "TEST accuracy" in found["sequential_fine_tune"]["selection"]
    assert found["dro_fine_tune"]["stages"][0]["train_steps"] == [0, 1, 2, 3]


NETWORKS = ("resnet-1", "densenet-1")
SMALL = {
    "network__width_factor": 0.0625,
    "training__max_epochs": 1,
    "grid__dropout": (0.0,),
}
LAYERS = {"resnet": {"network__units": 1}, "densenet": {"network__dense_layers": (2, 1)}, "convnet": {}}
PER_OBJECTIVE = ("erm_final", "irm_all", "dro_all", "erm_side_tune")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", NETWORKS)
def test_resnet_and_densenet_once_per_objective_and_wrapper(tmp_path, architecture):
    layers = {"network__units": 1} if architecture == "resnet-1" else {"network__dense_layers": (2,)}
    smoke_run(tmp_path, architectures=(architecture,), methods=PER_OBJECTIVE, **SMALL, **layers)
    smoke_run(
        tmp_path / "fisher", architectures=(architecture,), methods=("erm_fine_tune",),
        fine_tune__regularization="fisher", **SMALL, **layers,
    )  # fmt: skip
    smoke_run(
        tmp_path / "adapter", architectures=(architecture,), methods=("erm_fine_tune",),
        fine_tune__mode="low_rank_adapt", **SMALL, **layers,
    )  # fmt: skip
    assert set(cells(tmp_path, architecture)) == set(PER_OBJECTIVE)


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "convnet-2" else pytest.mark.rare)
        for name in ("convnet-2", "resnet-2", "densenet-2")
    ],
)
def test_the_full_cross(tmp_path, architecture):
    methods = tuple(METHODS) if architecture != "convnet-2" else CONVNET
    layers = LAYERS[architecture.partition("-")[0]]
    smoke_run(tmp_path, architectures=(architecture,), methods=methods, **SMALL, **layers)
    assert set(cells(tmp_path, architecture)) == set(methods)
    assert list(tmp_path.glob("cells/joint/*/*/layer_change.csv"))
    assert not list(tmp_path.glob("cells/joint_side_tune_block/*/*/layer_change.csv"))

"""The joint model end to end on tiny digits: what a cell holds, every option, resuming, matched samples."""

import json

import numpy as np
import pandas as pd
import pytest

import seqfinal_jax
from tests.runs import smoke_run

TINY = {"network__width_factor": 0.125, "network__stem_width": 8}
METHODS = ("joint", "sequential_fine_tune_none")


def cell_of(workdir, name="*", architecture="convnet-1"):
    return next(iter(workdir.glob(f"cells/{name}/{architecture}/seed0/result.json"))).parent


def table(cell, name):
    return pd.read_csv(cell / name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("joint")
    smoke_run(
        workdir, methods=METHODS, data__test_all_steps=True, joint_grid__adjacent=(0.1, 1.0), grid__dropout=(0.0,),
        **TINY,
    )  # fmt: skip
    return workdir


@pytest.mark.parametrize("method", METHODS)
def test_a_cell_tells_the_accuracy_of_every_step(finished, method):
    result = json.loads((cell_of(finished, method) / "result.json").read_text())
    assert [step["step"] for step in result["steps"]] == [1, 2, 3]
    assert result["steps"][2]["test_accuracy"] == result["test_accuracy"]


def test_a_cell_holds_the_curves_of_every_step(finished):
    cell = cell_of(finished, "joint")
    history, grid = table(cell, "history.csv"), table(cell, "grid.csv")
    assert {f"valid_step{t}_loss" for t in (0, 1, 2)} <= set(history)
    assert list(grid["adjacent"]) == [0.1, 1.0] and list(grid["final_weight"]) == [3.0, 3.0]
    assert history["valid_step0_accuracy"].between(0, 1).all()


def test_distances_between_steps_are_those_of_the_stored_model(finished):
    cell = cell_of(finished, "joint")
    changes = table(cell, "layer_change.csv").set_index(["layer", "step"])["distance"]
    head = seqfinal_jax.load_model(cell).variables["params"]["fc"]
    squares = sum(np.sum(np.square(np.float64(leaf[2]) - leaf[1])) for leaf in head["linear"].values())
    assert changes["fc", 2] == pytest.approx(squares**0.5, rel=1e-12)
    assert len(changes) == 9 and (changes > 0).all()
    assert len(table(cell_of(finished, "sequential_fine_tune_none"), "layer_change.csv")) == 9


def test_a_stored_joint_model_answers_for_every_step(finished):
    model = seqfinal_jax.load_model(cell_of(finished, "joint"))
    images = np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), np.uint8)
    logits = [model(images, step) for step in range(4)]
    np.testing.assert_array_equal(logits[3], model(images))
    assert not np.allclose(logits[0], logits[1])
    with pytest.raises(ValueError, match=r"step = 4: this model has steps 0\.\.3"):
        model(images, 4)
    plain = seqfinal_jax.load_model(cell_of(finished, "sequential_fine_tune_none"))
    with pytest.raises(ValueError, match="a single network"):
        plain(images, 0)


ONE = {"training__max_epochs": 1, "methods": ("joint",), **TINY}
TWO_STEPS = {"data__shifts": "rotation", "data__target_sizes": (100,)}  # side modules compile long
OPTIONS = {
    "low_rank": {"joint__mode": "low_rank_adapt", "adapter__mode": "multiply", "all_layers_efficient": True},
    "l1": {"joint__adjacent_penalty": "l1", "joint__penalty_by_time": True, "joint__increasing_loss_weights": True},
    "explicit": {"joint__separate_layers": "conv1:layer1,fc:fc"},
    "same_init": {"joint__same_init_over_time": True, "joint__adjacent_penalty": "none"},
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("low_rank", "explicit") else ())
        for name in OPTIONS
    ],
)
def test_options_run_end_to_end(tmp_path, name):
    smoke_run(tmp_path, **ONE, **OPTIONS[name])
    cell = cell_of(tmp_path)
    assert np.isfinite(table(cell, "history.csv")["valid_loss"]).all()
    assert seqfinal_jax.load_model(cell)(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 10)
    if name == "explicit":
        changes = table(cell, "layer_change.csv").set_index(["layer", "step"])["distance"]
        assert {place for place, distance in changes.items() if distance > 0} == {
            ("conv1", 1), ("layer1", 2), ("fc", 2), ("fc", 3),
        }  # fmt: skip


@pytest.mark.slow
def test_the_layer_search_tries_every_subset(tmp_path):
    smoke_run(tmp_path, **ONE, joint__separate_layers="search")
    cell = cell_of(tmp_path, "joint_separate_search")
    grid = table(cell, "grid.csv")
    assert len(grid) == grid["layers"].nunique() == 7
    chosen = grid[grid["chosen"]]["layers"].item()
    assert json.loads((cell / "result.json").read_text())["hyper"]["layers"] == chosen
    changes = table(cell, "layer_change.csv")
    assert set(changes[changes["distance"] > 0]["layer"]) == set(chosen.split(","))


SWEEP = {"joint__mode": "side_tune", "joint__sweep_efficient_penalty": True}
RESNET = {"architectures": ("resnet-1",), "network__units": 1, "network__stem_width": 4}


@pytest.mark.slow
def test_the_sweep_tries_every_decay_of_side_modules_and_each_trains_other_weights(tmp_path):
    smoke_run(tmp_path, **{**ONE, **TWO_STEPS, **SWEEP, **RESNET})
    cell = cell_of(tmp_path, architecture="resnet-1")
    assert list(table(cell, "grid.csv")["efficient_decay"]) == [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]
    last = table(cell, "history.csv").groupby("member")["valid_loss"].last()
    assert last.nunique() == 6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"side__layer_sizes": "block"}, "no weight of convnet-1 in this form is one"),
        ({"side__layer_sizes": "block", **RESNET}, "no weight of resnet-1 in this form is one"),
        ({"joint__penalty_by_time": True, **RESNET}, "weighs all versions by time"),
    ],
)
def test_a_sweep_over_a_weight_that_nothing_carries_is_refused(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        smoke_run(tmp_path, **{**ONE, **TWO_STEPS, **SWEEP, **fields})


@pytest.mark.slow
def test_an_ablated_model_is_one_model_for_all_steps(tmp_path):
    fields = {"joint__mode": "side_tune", "side__layer_sizes": "block", "all_layers_efficient": True}
    smoke_run(tmp_path, **ONE, **TWO_STEPS, **fields, joint__ablate=True)
    model = seqfinal_jax.load_model(cell_of(tmp_path))
    images = np.random.default_rng(5).integers(0, 256, (4, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(model(images, 0), model(images, 1))


RESUMED = [
    pytest.param({}, id="plain"),
    pytest.param(
        {"joint__adjacent_penalty": "l2_fisher", "joint__fisher": "per_sample_ce"},
        id="fisher",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        {"joint__separate_layers": "search", "training__patience": 0}, id="search", marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize("fields", RESUMED)
def test_a_resumed_fit_is_the_unbroken_one(tmp_path, fields):
    """The winner goes on as if it had had the later patience and number of epochs from the start."""
    short = {**ONE, "training__max_epochs": 2, **fields}
    smoke_run(tmp_path / "short", **short)
    said = smoke_run(tmp_path / "short", **short, joint__resume_to_epochs=5)
    assert "1 training to do (a stage that methods share counts once)" in said
    rows = table(cell_of(tmp_path / "short", "joint*_resumed_to_5"), "history.csv")
    found = rows[rows["stage"].str.endswith("-resumed")].reset_index(drop=True)
    smoke_run(tmp_path / "long", **{**short, "training__max_epochs": 5, "training__patience": 10})
    whole = table(cell_of(tmp_path / "long"), "history.csv")
    first = table(cell_of(tmp_path / "short", "joint*_resumed_to_5"), "grid.csv")
    winner = first[first["chosen"]]["member"].iloc[0]
    expected = whole[whole["member"] == winner].reset_index(drop=True)
    columns = [name for name in whole.columns if name not in ("stage", "member")]
    pd.testing.assert_frame_equal(found[columns], expected[columns], check_exact=True)


def test_a_resumed_fit_that_is_killed_goes_on(tmp_path, monkeypatch):
    from seqfinal_jax.training.engine import programs

    short = {**ONE, "training__max_epochs": 2}
    smoke_run(tmp_path, **short)
    train, calls = programs.train_epoch, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(programs, "train_epoch", killed)
        smoke_run(tmp_path, **short, joint__resume_to_epochs=6)
    assert list(tmp_path.glob("stages/*/progress/*/meta.json"))
    smoke_run(tmp_path, **short, joint__resume_to_epochs=6)
    unbroken = tmp_path / "unbroken"
    smoke_run(unbroken, **short)
    smoke_run(unbroken, **short, joint__resume_to_epochs=6)
    names = [cell_of(folder, "joint_resumed_to_6") / "history.csv" for folder in (tmp_path, unbroken)]
    assert names[0].read_text() == names[1].read_text()


@pytest.mark.parametrize("samples", ["nearest_neighbours", "optimal_matching"])
def test_matched_samples_and_how_often_they_are_used(tmp_path, samples):
    smoke_run(tmp_path, **ONE, joint__loss_samples=samples)
    usage = table(cell_of(tmp_path), "sample_usage.csv")
    final = usage[usage["step"] == 3]
    assert list(final["times_used"]) == [1]
    for _, step in usage.groupby("step"):
        assert (step["times_used"] * step["samples"]).sum() == final["samples"].item()
    assert set(usage["step"]) == {0, 1, 2, 3}


def test_a_class_that_a_step_lacks_is_named_before_anything_is_trained(tmp_path):
    fields = {"data__source_size": 15, "joint__loss_samples": "nearest_neighbours"}
    with pytest.raises(
        ValueError,
        match=r"config\.joint\.loss_samples = 'nearest_neighbours', seed 0: matching step 0: class 0, 1,",
    ):
        smoke_run(tmp_path, **ONE, **fields)
    assert not list(tmp_path.glob("cells/*"))


ERRORS = [
    ({"joint__resume_to_epochs": 2}, "config.joint.resume_to_epochs = 2 counts earlier epochs too"),
    ({"joint__resume_to_epochs": 9, "joint__resume_patience": 1}, "config.joint.resume_patience = 1 is below"),
    ({"joint__matching_memory_gib": 0.0}, "config.joint.matching_memory_gib: expected a number above 0, found 0.0"),
    ({"joint__matching_memory_gib": 1e-9, "joint__loss_samples": "optimal_matching"}, "matching_memory_gib = 1e-09"),
    ({"joint__mode": "sidetune"}, "did you mean 'side_tune'"),
    ({"joint__loss_samples": "neighbours"}, "did you mean 'nearest_neighbours'"),
    ({"joint__separate_layers": "conv2"}, "unknown layer 'conv2'"),
    ({"joint__separate_layers": "fc:fc"}, "expected 1 or one for each of the 3 later time steps"),
    ({"fine_tune__freeze_batch_stats": True}, "config.fine_tune.freeze_batch_stats = True changes nothing in this run"),
    ({"fine_tune__fisher": "per_sample"}, "config.fine_tune.fisher = 'per_sample' changes nothing in this run"),
]  # fmt: skip


@pytest.mark.parametrize("fields, message", ERRORS)
def test_bad_configurations_are_refused_before_anything_is_trained(tmp_path, monkeypatch, fields, message):
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ValueError) as error:
        smoke_run(tmp_path / "run", methods=("joint",), **fields)
    assert message in str(error.value)
    assert not (tmp_path / "run" / "stages").exists()

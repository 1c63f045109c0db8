"""A run: every method end to end, the run folder, shared stages, further seeds, what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

import seqfinal_jax
from seqfinal_jax.config import PROTOCOLS
from tests.runs import run, smoke_config, smoke_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the quick start's methods with seeds 0 and 1."""
    workdir = tmp_path_factory.mktemp("run")
    smoke_run(workdir, seeds=(0, 1))
    return workdir


def timing(workdir):
    return pd.read_csv(workdir / "timing.csv")


def results(workdir):
    paths = sorted((workdir / "cells").rglob("result.json"))
    return {str(path.parent.relative_to(workdir)): path.read_text() for path in paths}


def test_every_method_has_a_cell(finished):
    methods = {path.name for path in (finished / "cells").iterdir()}
    assert methods == {"erm_final", "oracle", "erm_all", "erm_all_weighted", "erm_fine_tune"}


def test_the_run_folder_is_whole(finished):
    assert {path.name for path in finished.iterdir()} == {
        "cells", "claims", "stages", "config.json", "environment.json", "timing.csv", "run.log", "data_examples.npz",
    }  # fmt: skip
    cell = finished / "cells" / "erm_fine_tune" / "convnet-1" / "seed1"
    assert {p.name for p in cell.iterdir()} == {"result.json", "grid.csv", "history.csv", "predictions.npz"}
    result = json.loads((cell / "result.json").read_text())
    assert [stage["role"] for stage in result["stages"]] == ["start", "final"]
    assert result["selection"] == "validation accuracy of the final step"
    assert result["n_test"] == 100 and result["protocol"] == "corrected"


def test_predictions_give_the_accuracy_again(finished):
    for path in (finished / "cells").rglob("result.json"):
        result, predictions = json.loads(path.read_text()), np.load(path.with_name("predictions.npz"))
        answers = predictions["test_logits"].argmax(-1) == predictions["test_labels"]
        assert answers.mean() == pytest.approx(result["test_accuracy"], abs=1e-9)
        assert len(predictions["test_index"]) == result["n_test"]
        assert predictions["test_index"].min() >= 0


def test_grid_and_history_hold_every_member(finished):
    cell = finished / "cells" / "erm_fine_tune" / "convnet-1" / "seed0"
    grid, history = pd.read_csv(cell / "grid.csv"), pd.read_csv(cell / "history.csv")
    assert grid.groupby("stage")["chosen"].sum().to_dict() == {"history": 1, "final": 1}
    assert len(grid) == 4
    assert history.groupby(["stage", "member"]).size().eq(3).all()
    best = grid.loc[grid.chosen & (grid.stage == "final")].iloc[0]
    assert json.loads((cell / "result.json").read_text())["hyper"]["dropout"] == best.dropout


def test_a_second_run_fits_nothing(finished):
    before = (finished / "timing.csv").read_text()
    assert "Nothing to do: all 10 cells are complete" in smoke_run(finished, seeds=(0, 1))
    assert (finished / "timing.csv").read_text() == before


def test_the_history_stage_is_fitted_once_and_shared(finished):
    fits = timing(finished)
    assert len(fits) == fits.fingerprint.nunique() == 6
    assert fits.stage.tolist().count("history") == 1


def test_a_further_seed_is_fitted_alone_and_gives_what_all_at_once_give(tmp_path):
    smoke_run(tmp_path / "grown", seeds=(0, 1), methods=("erm_fine_tune",))
    first = len(timing(tmp_path / "grown"))
    smoke_run(tmp_path / "grown", seeds=(0, 1, 2), methods=("erm_fine_tune",))
    assert timing(tmp_path / "grown").seeds.astype(str)[first:].tolist() == ["2", "2"]
    smoke_run(tmp_path / "whole", seeds=(0, 1, 2), methods=("erm_fine_tune",))
    assert results(tmp_path / "grown") == results(tmp_path / "whole")


def test_the_order_of_methods_changes_nothing(finished, tmp_path):
    smoke_run(tmp_path, seeds=(1,), methods=("erm_fine_tune", "erm_final"))
    again = results(tmp_path)
    assert len(again) == 2
    there = results(finished)
    assert again == {name: there[name] for name in again}


def test_a_fixed_data_seed_shares_the_draws(tmp_path):
    smoke_run(tmp_path, seeds=(0, 1), methods=("erm_final",), data_seed=7)
    index = [np.load(path)["test_index"] for path in sorted((tmp_path / "cells").rglob("predictions.npz"))]
    np.testing.assert_array_equal(*index)
    assert all(json.loads(text)["data_seed"] == 7 for text in results(tmp_path).values())


@pytest.mark.parametrize(("fields", "name"), [(PROTOCOLS["released"], "released"),
                                              ({"input_scaling": "raw"}, "custom")])  # fmt: skip
def test_results_name_their_protocol(tmp_path, fields, name):
    smoke_run(
        tmp_path, methods=("erm_final",), **{f"protocol__{field}": value for field, value in fields.items()}
    )
    assert [json.loads(text)["protocol"] for text in results(tmp_path).values()] == [name]


def history(workdir):
    return pd.read_csv(next((workdir / "cells").rglob("history.csv")))


def test_training_figures_come_from_the_training_passes_or_from_a_pass_of_their_own(finished, tmp_path):
    smoke_run(tmp_path, methods=("erm_final",), training__train_metrics="eval")
    running = pd.read_csv(finished / "cells" / "erm_final" / "convnet-1" / "seed0" / "history.csv")
    assert history(tmp_path).train_loss.notna().all()
    assert running.train_loss[running.epoch == 0].isna().all()
    np.testing.assert_array_equal(history(tmp_path).valid_loss, running.valid_loss)


def test_grid_points_can_have_start_weights_of_their_own(finished, tmp_path):
    smoke_run(tmp_path, methods=("erm_final",), training__init_per_grid_point=True)
    own, shared = history(tmp_path), history(finished)
    assert own.valid_loss[own.epoch == 0].nunique() == 2
    assert shared.valid_loss[shared.epoch == 0].nunique() == 1


def test_disjoint_steps_are_other_data(finished, tmp_path):
    smoke_run(tmp_path, methods=("erm_all",), data__disjoint=True)
    name = "cells/erm_all/convnet-1/seed0"
    assert json.loads(results(tmp_path)[name])["stages"] != json.loads(results(finished)[name])["stages"]


def test_a_last_minibatch_of_one_sample_is_left_out_and_said(tmp_path, caplog):
    """79 training samples would leave 1 behind 78; a block of stride 8 ends in a 1x1 map, one of stride 2 does not."""
    fields = {"methods": ("erm_final",), "training__batch_size": 79, "grid__dropout": (0.0,)}
    smoke_run(tmp_path / "one_pixel", network__strides=(8,), **fields)
    assert "left out" in caplog.text
    caplog.clear()
    smoke_run(tmp_path / "more", **fields)
    assert "left out" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["resnet-1", "densenet-2"])
def test_every_family_runs(tmp_path, architecture):
    sizes = {"network__stem_width": 4, "network__width_factor": 0.05, "grid__dropout": (0.0,)}
    if architecture.startswith("densenet"):
        sizes["network__dense_layers"] = (1, 1)
    smoke_run(tmp_path, methods=("erm_fine_tune",), architectures=(architecture,), **sizes)
    assert len(results(tmp_path)) == 1


def test_a_stored_model_predicts_what_the_cell_holds(finished):
    cell = finished / "cells" / "erm_final" / "convnet-1" / "seed0"
    model = seqfinal_jax.load_model(cell)
    images = np.random.RandomState(0).randint(256, size=(130, 32, 32, 3)).astype(np.uint8)
    assert model(images).shape == (130, 10)
    assert len(model.class_names) == 10
    np.testing.assert_array_equal(model.predict(images[:1]), model.predict(images)[:1])
    with pytest.raises(ValueError, match=r"expected images of shape \(n, 32, 32, 3\)"):
        model(images[:, :16])


def test_a_damaged_stage_is_noticed_and_fitted_again(tmp_path, caplog):
    smoke_run(tmp_path, methods=("erm_final",))
    before = results(tmp_path)
    path = next((tmp_path / "stages").rglob("history.csv"))
    path.write_text(path.read_text().replace("0", "1", 1))
    (next((tmp_path / "cells").rglob("result.json"))).unlink()
    smoke_run(tmp_path, methods=("erm_final",))
    assert "damaged" in caplog.text
    assert results(tmp_path) == before


def test_one_failure_does_not_hide_the_rest(tmp_path, monkeypatch):
    from seqfinal_jax.runs import execute

    original = execute.write_cell

    def fail_for_oracle(plan, context, task):
        if task.method == "oracle":
            raise RuntimeError("planted")
        return original(plan, context, task)

    monkeypatch.setattr(execute, "write_cell", fail_for_oracle)
    assert run(smoke_config(methods=("oracle", "erm_final")), tmp_path) == 1
    assert "planted" in (tmp_path / "cells" / "oracle" / "convnet-1" / "seed0" / "error.txt").read_text()
    assert (tmp_path / "cells" / "erm_final" / "convnet-1" / "seed0" / "result.json").exists()
    monkeypatch.setattr(execute, "write_cell", original)
    assert run(smoke_config(methods=("oracle", "erm_final")), tmp_path) == 0
    assert not (tmp_path / "cells" / "oracle" / "convnet-1" / "seed0" / "error.txt").exists()


def test_a_seed_that_diverges_fails_alone_and_says_why(tmp_path, caplog):
    config = smoke_config(methods=("erm_final",), seeds=(0, 1), grid__learning_rate=(1e30,))
    assert run(config, tmp_path) == 2
    assert "config.grid.learning_rate" in caplog.text
    assert len(timing(tmp_path)) == 1


def test_dry_run_says_how_many_fits_and_writes_nothing(tmp_path):
    said = smoke_run(tmp_path / "new", dry_run=True, seeds=(0, 1))
    assert "24 trainings to do" in said  # 6 stages x 2 grid points x 2 seeds, the history stage once
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"methods": ("erm_finale",)}, "unknown method 'erm_finale'; did you mean 'erm_final'"),
        ({"architectures": ("convnot-1",)}, "did you mean 'convnet'"),
        ({"architectures": ("convnet",)}, "FAMILY-BLOCKS"),
        ({"architectures": ("convnet-9",)}, "1 to 4"),
        ({"seeds": (0, 0)}, "found (0, 0), which repeats a value"),
        ({"seeds": (-1,)}, "config.seeds: expected any number of: a whole number from 0 to 4294967295"),
        ({"methods": ("erm_all", "erm_all")}, "names 'erm_all' 2 times"),
        ({"data__shifts": "rotation:corruptoin:label_flip"}, "did you mean 'corruption'"),
        ({"data__source_size": 5000}, "data.source_size"),
        ({"data__test_size": 0}, "data.test_size"),
        ({"data__test_size": 5000}, "data.test_size"),
        ({"data__target_sizes": (100, 100)}, "data.target_sizes"),
        ({"data__dataset": "cifar11"}, "did you mean"),
        ({"protocol__input_scaling": "rawe"}, "did you mean 'raw'"),
        ({"grid__learning_rate": ()}, "grid.learning_rate: expected one or more"),
        ({"grid__dropout": (1.0,)}, "expected one or more of: a number from 0 on and below 1"),
        ({"training__max_epochs": 0}, "expected a whole number from 1 on, found 0"),
        ({"network__widths": (8, 8)}, "one value per block"),
        ({"grid__adjacent": ()}, "grid.adjacent: expected one or more"),
        ({"fine_tune__mode": "side"}, "did you mean 'side_tune'"),
        ({"fine_tune__layers": "fc-head"}, "unknown layer 'head'"),
        ({"fine_tune__regularization": "fishr"}, "did you mean 'fisher'"),
        ({"side__layer_sizes": "8,x"}, "expected 'block', or whole numbers"),
        ({"adapter__rank": 0}, "config.adapter.rank: expected a whole number from 1 on, found 0"),
        ({"fine_tune__mode": "low_rank_adapt", "adapter__rank": 60}, "is too large for layer1"),
        ({"data__test_all_steps": True}, "which only sequential methods and the joint model have"),
        ({"pretrained__resnet18": "weights.npz"}, "resnet-4"),
        (
            {"all_layers_efficient": True, "methods": ("erm_all",)},
            "config.all_layers_efficient = True changes nothing in this run; leave it at False, or add a method",
        ),
    ],
)
def test_bad_configurations_are_refused_before_anything_is_trained(tmp_path, fields, message):
    with pytest.raises(ValueError) as error:
        smoke_run(tmp_path / "run", **fields)
    assert message in str(error.value)
    assert not (tmp_path / "run" / "stages").exists()


def test_commas_inside_elements_are_split(tmp_path):
    said = smoke_run(
        tmp_path, dry_run=True, methods=("erm_final, erm_all",), architectures=("convnet-1,convnet-2",)
    )
    assert "methods erm_final, erm_all; convnet-1, convnet-2" in said


def test_a_folder_of_another_configuration_is_refused(finished):
    with pytest.raises(ValueError, match=r"training\.patience: 5 there, 3 now"):
        smoke_run(finished, training__patience=3)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        smoke_run(tmp_path / "file" / "run")


def test_another_environment_is_said(tmp_path, caplog):
    smoke_run(tmp_path, methods=("erm_final",))
    path = tmp_path / "environment.json"
    path.write_text(path.read_text().replace('"backend": "cpu"', '"backend": "gpu"'))
    smoke_run(tmp_path, methods=("erm_final",))
    assert "backend 'gpu' there, 'cpu' now" in caplog.text


def test_a_damaged_config_json_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        smoke_run(tmp_path)


def test_the_time_left_follows_the_pace_so_far(monkeypatch):
    """After 10 s a quarter of the work is done: 30 s are left; nothing new is nothing to say."""
    from seqfinal_jax.runs import execute

    clock = [100.0]
    monkeypatch.setattr(execute.time, "monotonic", lambda: clock[0])
    pace = execute.Pace(400.0)
    clock[0] = 110.0
    assert pace.seconds_left(300.0) == pytest.approx(30)
    assert pace.seconds_left(300.0) == 0
    clock[0] = 140.0
    assert pace.seconds_left(100.0) == pytest.approx(40 / 3)
    assert pace.seconds_left(0.0) == 0

"""Projections, SVCCA and interpolation: by hand, by their invariances, and on a run."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from seqfinal_jax.analysis import figures_command, interpolation, projection, steps
from seqfinal_jax.analysis import svcca as svcca_command
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.weight_space import run_data, svcca
from seqfinal_jax.analysis.weight_space.projection import UndefinedProjection, coordinates, cosines
from tests.analysis.read_only import make_read_only
from tests.runs import smoke_run


def layers(*vectors):
    return [np.array(vector, float) for vector in vectors]


def test_projections_by_hand():
    """Analysis specification, A1."""
    oracle, history, final = layers([0, 0]), layers([3, 4]), layers([0, 2])
    place = lambda model: coordinates(layers(model), oracle, history, final, ["conv1"])[0]  # noqa: E731
    assert place([1, 1]) == pytest.approx([1.4, 1.0])
    assert place([3, 4]) == pytest.approx([5, 4]) and place([0, 2]) == pytest.approx([1.6, 2])
    assert cosines(oracle, history, final) == pytest.approx([0.8, 0.8])


def test_an_orthogonal_basis_keeps_distances_in_the_plane():
    random = np.random.default_rng(0)
    oracle, history, final = (layers(random.normal(size=6)) for _ in range(3))
    a, b = random.normal(size=2)
    model = [oracle[0] + a * (history[0] - oracle[0]) + b * (final[0] - oracle[0])]
    found = coordinates(model, oracle, history, final, ["conv1"], "orthogonal")[0]
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(model[0] - oracle[0]))


def test_models_that_span_nothing_are_named():
    same = layers([1, 2])
    with pytest.raises(
        UndefinedProjection, match="conv1: the oracle and the model of the history have the same weights"
    ):
        coordinates(layers([0, 0]), same, same, layers([0, 1]), ["conv1"])


def test_singular_values_that_are_kept():
    """Analysis specification, A3: strictly more than the share."""
    assert [svcca.kept(np.array([5.0, 3, 1, 1]), level) for level in (0.5, 0.9, 0.89, 1.0)] == [2, 4, 3, 4]


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_vectors_that_no_level_needs_may_be_left_out(shape):
    random = np.random.default_rng(4)
    x, y = random.normal(size=shape), random.normal(size=shape)
    whole = [svcca.decompose(each) for each in (x, y)]
    short = [svcca.decompose(each, 0.9) for each in (x, y)]
    assert short[0].vectors.shape[1] < whole[0].vectors.shape[1]
    assert np.array_equal(svcca.similarity(*whole), svcca.similarity(*short))
    plain = np.linalg.svd(whole[0].directions(0.9).T @ whole[1].directions(0.9), compute_uv=False)
    assert svcca.coefficients(*short, 0.9) == pytest.approx(plain, abs=1e-7)
    with pytest.raises(ValueError, match=r"level 1\.0 needs"):
        svcca.coefficients(*short, 1.0)


def test_a_representation_is_like_itself_turned_scaled_and_moved():
    random = np.random.default_rng(1)
    x = random.normal(size=(120, 4, 3, 2))
    turn = np.linalg.qr(random.normal(size=(24, 24)))[0]
    one, other = svcca.decompose(x), svcca.decompose(x.reshape(120, 24) @ turn * 3 + 7)
    assert svcca.similarity(one, one) == pytest.approx([1, 1], abs=1e-7)
    assert svcca.similarity(one, other) == pytest.approx([1, 1], abs=1e-7)


def test_more_features_than_samples_and_fewer_agree():
    random = np.random.default_rng(2)
    base, other = random.normal(size=(50, 8)), random.normal(size=(50, 8))
    wide = np.concatenate([base, np.zeros((50, 60))], axis=1)
    assert svcca.similarity(svcca.decompose(wide), svcca.decompose(other)) == pytest.approx(
        svcca.similarity(svcca.decompose(base), svcca.decompose(other)), abs=1e-8
    )


def test_a_layer_that_does_not_vary_is_left_out_of_the_mean():
    x = np.random.default_rng(3).normal(size=(40, 5))
    constant, varying = svcca.decompose(np.full((40, 3), 2.5)), svcca.decompose(x)
    found = svcca.similarities([varying, constant], [varying, varying])
    assert np.isnan(found[1]).all() and found[2] == pytest.approx([1, 1])


METHODS = (
    "erm_final",
    "oracle",
    "erm_fine_tune",
    "sequential_fine_tune_none",
    "joint",
    "erm_side_tune_block",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("weights")
    smoke_run(workdir, methods=METHODS, grid__dropout=(0.0,))
    return workdir


def test_the_projection_of_a_run(finished, capsys):
    assert projection.main([str(finished)]) == 0
    said = capsys.readouterr().out
    assert "left out erm_side_tune_block: side modules add to" in said
    frame = pd.read_csv(finished / "figures" / "projection-convnet-1-seed0.csv")
    whole = frame[frame["layer"] == "entire model"].set_index(["method", "name"])
    assert whole.loc[("oracle", "step 3"), ["x", "y"]].tolist() == pytest.approx([0, 0], abs=1e-9)
    history, final = whole.loc[("erm_fine_tune", "history")], whole.loc[("erm_final", "step 3")]
    assert history["x"] > 0 and final["y"] > 0
    assert history["y"] * final["y"] == pytest.approx(final["x"] * history["x"], rel=1e-9)  # both are <a, b>
    assert whole.loc["joint"].index.tolist() == [f"step {t}" for t in range(4)]
    assert whole.loc["sequential_fine_tune_none"].index.tolist() == [f"step {t}" for t in range(4)]
    assert (finished / "figures" / "projection-convnet-1-seed0.png").is_file()


def test_what_lacks_for_a_projection_is_named(tmp_path, capsys):
    smoke_run(tmp_path, methods=("erm_final",), grid__dropout=(0.0,))
    assert projection.main([str(tmp_path)]) == 2
    assert "convnet-1, seed 0 lacks oracle, a method that starts from history" in capsys.readouterr().err


def test_the_interpolation_of_a_run(finished, capsys, monkeypatch):
    assert interpolation.main([str(finished), "--points=11"]) == 0
    assert "left out" not in capsys.readouterr().out
    kept = finished / "figures" / "interpolation-convnet-1-seed0.json"
    found = {method: each["accuracies"] for method, each in json.loads(kept.read_text()).items()}
    assert set(found) == {"erm_fine_tune", "sequential_fine_tune_none", "joint", "erm_side_tune_block"}
    for method, accuracies in found.items():
        result = json.loads((finished / "cells" / method / "convnet-1" / "seed0" / "result.json").read_text())
        assert len(accuracies) == 11 and accuracies[-1] == pytest.approx(result["test_accuracy"], abs=1e-9)
    monkeypatch.setattr(interpolation, "curve", lambda *_: pytest.fail("computed again"))
    assert interpolation.main([str(finished), "--points=11", f"--methods={','.join(found)}"]) == 0


def test_figures_of_a_folder_that_cannot_be_written_go_elsewhere(finished, tmp_path, monkeypatch, capsys):
    """What the run folder has of the numbers is used there."""
    assert interpolation.main([str(finished), "--points=3"]) == 0
    make_read_only(monkeypatch, finished)
    monkeypatch.setattr(interpolation, "curve", lambda *_: pytest.fail("computed again"))
    assert interpolation.main([str(finished), "--points=3"]) == 2
    assert interpolation.main([str(finished), "--points=3", f"--out={tmp_path}"]) == 0
    assert (tmp_path / "interpolation-convnet-1-seed0.png").is_file()


def test_a_run_without_its_models_is_one_line(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("stages", "figures"))
    assert interpolation.main([str(tmp_path / "run"), "--points=3"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(
        "error: no curve can be drawn, every method was left out; the last one because "
    )
    assert len(said.err.splitlines()) == 1


def test_kernels_alone_are_mixed_and_the_ends_stay(finished):
    assert interpolation.main([str(finished), "--points=3", "--mix=weights"]) == 0
    assert interpolation.main([str(finished), "--points=3"]) == 0
    folder = finished / "figures"
    one, other = (
        json.loads((folder / f"interpolation{rule}-convnet-1-seed0.json").read_text())
        for rule in ("-weights", "")
    )
    for method, found in one.items():
        assert found["accuracies"][::2] == other[method]["accuracies"][::2] and found["mix"] == "weights"
    assert any(one[method]["accuracies"] != other[method]["accuracies"] for method in one)


def test_svcca_of_a_run(finished, capsys):
    assert svcca_command.main([str(finished)]) == 0
    frame = pd.read_csv(finished / "figures" / "svcca-convnet-1-seed0.csv")
    assert set(frame["method"]) == set(METHODS) - {"oracle"}
    assert frame[["x", "y"]].stack().between(0, 1).all()
    assert frame[frame["method"] == "joint"]["name"].unique().tolist() == [f"step {t}" for t in range(4)]
    layers = frame[(frame["method"] == "erm_final")].set_index("layer")["x"]
    assert layers["entire model"] == pytest.approx(layers.drop("entire model").mean())
    assert (finished / "figures" / "svcca-convnet-1-seed0.png").is_file()


def test_a_model_is_wholly_like_itself(finished):
    oracle = next(cell for cell in done_cells(finished) if cell.method == "oracle")
    frame = svcca_command.compare_models([oracle], oracle, finished / "figures" / "self.json", None)
    assert frame[["x", "y"]].to_numpy() == pytest.approx(1, abs=1e-6)


def test_other_data_are_refused(finished, capsys, monkeypatch):
    real = run_data.source_of
    monkeypatch.setattr(
        run_data,
        "source_of",
        lambda *given: SimpleNamespace(record={"content_sha256": "other data"}, real=real(*given)),
    )
    assert interpolation.main([str(finished), "--points=4", "--methods=erm_fine_tune"]) == 2
    assert "its results rest on other data" in capsys.readouterr().err


@pytest.mark.parametrize("command", [interpolation, steps])
def test_data_are_read_once_for_all_methods(finished, monkeypatch, command):
    """A read takes seconds on large data, and says the same warnings each time."""
    real, read = run_data.source_of, []
    monkeypatch.setattr(run_data, "source_of", lambda *given: read.append(given) or real(*given))
    methods = "--methods=sequential_fine_tune_none,joint"
    assert command.main([str(finished), methods, *(["--points=5"] if command is interpolation else [])]) == 0
    assert len(read) == 1


def test_transfer_between_steps_by_hand():
    """Rows are models, columns data: the last model lost 0.1 on step 0 and won 0.05 on step 1."""
    matrix = np.array([[0.8, 0.3, 0.1], [0.7, 0.6, 0.4], [0.7, 0.65, 0.9]])
    assert steps.backward_transfer(matrix) == pytest.approx((-0.1 + 0.05) / 2)
    assert steps.forward_transfer(matrix, guess=0.1) == pytest.approx((0.3 + 0.4) / 2 - 0.1)


def test_the_matrix_of_steps_of_a_run(finished, capsys):
    assert steps.main([str(finished)]) == 0
    frame = pd.read_csv(finished / "figures" / "steps-convnet-1-seed0.csv")
    assert set(frame["method"]) == {"sequential_fine_tune_none", "joint"}
    assert frame.drop_duplicates("data_step")["split"].tolist() == ["validation"] * 3 + ["test"]
    for method, own in frame.groupby("method"):
        result = json.loads((finished / "cells" / method / "convnet-1" / "seed0" / "result.json").read_text())
        last = own[(own["model_step"] == 3) & (own["data_step"] == 3)]
        assert last["accuracy"].tolist() == pytest.approx([result["test_accuracy"]])
        stages = {stage["step"]: stage["valid_accuracy"] for stage in result["stages"]}
        own_step = own[own["model_step"] == own["data_step"]].set_index("data_step")["accuracy"]
        if (
            method == "sequential_fine_tune_none"
        ):  # what training itself saw of each step's validation samples
            assert own_step[:3].tolist() == pytest.approx([stages[t] for t in range(3)])
    assert (finished / "figures" / "steps-convnet-1-seed0.png").is_file()


def test_methods_without_a_model_for_each_step_have_no_matrix(finished, capsys):
    assert steps.main([str(finished), "--methods=erm_final"]) == 2
    assert "has a model for each time step; run a sequential method" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flags"), [(interpolation, ["--points=3"]), (projection, []), (svcca_command, [])]
)
def test_the_methods_that_are_named_are_drawn_in_their_order(finished, tmp_path, command, flags):
    """Tables list them the other way round, among all methods of the run."""
    flags = ["--methods=joint,erm_fine_tune", f"--out={tmp_path}", *flags]
    assert command.main([str(finished), *flags]) == 0
    (numbers,) = tmp_path.glob("*-convnet-1-seed0.csv")
    assert pd.read_csv(numbers)["method"].unique().tolist() == ["joint", "erm_fine_tune"]


def test_names_and_title_of_the_user(finished, capsys):
    flags = ["--methods=joint,erm_fine_tune", "--names=Mine,Theirs", "--title=A title", "--points=3"]
    assert interpolation.main([str(finished), *flags]) == 0
    frame = pd.read_csv(finished / "figures" / "interpolation-convnet-1-seed0.csv")
    assert frame.drop_duplicates("method")[["method", "name"]].to_numpy().tolist() == [
        ["joint", "Mine"], ["erm_fine_tune", "Theirs"]
    ]  # fmt: skip
    assert interpolation.main([str(finished), "--methods=joint", "--names=a,b"]) == 2
    assert "--names has 2 entries and --methods has 1" in capsys.readouterr().err
    assert interpolation.main([str(finished), "--architecture=resnet-9"]) == 2
    assert "done: convnet-1 seed 0" in capsys.readouterr().err


def test_the_published_figures_of_what_is_there(finished, capsys):
    assert figures_command.main([str(finished), "--paper"]) == 0
    said = capsys.readouterr().out
    assert "svcca: no models of erm_all, irm_all, dro_all" in said
    for kind in ("interpolation", "projection", "svcca"):
        assert f"{kind}-convnet-1-seed0.png" in said
    assert figures_command.main([str(finished), "--methods=joint"]) == 2
    assert "--methods goes with --paper" in capsys.readouterr().err


@pytest.mark.slow
def test_architectures_are_merged_in_one_figure(tmp_path):
    smoke_run(
        tmp_path, methods=("erm_fine_tune",), architectures=("convnet-1", "convnet-2"), grid__dropout=(0.0,)
    )
    flags = ["--architecture=convnet-2,convnet-1", "--points=3"]
    assert interpolation.main([str(tmp_path), *flags]) == 0
    stem = tmp_path / "figures" / "interpolation-2-architectures-seed0"
    frame = pd.read_csv(f"{stem}.csv")
    assert frame["architecture"].unique().tolist() == ["convnet-2", "convnet-1"]
    assert stem.with_suffix(".png").is_file()

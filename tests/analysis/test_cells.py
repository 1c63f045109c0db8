import json
import math

import pytest

from seqfinal_jax.analysis.tables.cells import (
    COLUMNS,
    done_cells,
    read_cells,
    read_curves,
    read_failures,
    read_stages,
)
from seqfinal_jax.results.run_folder import RunFolderError


def result_of(workdir, method="erm_final", seed=1):
    return workdir / "cells" / method / "convnet-1" / f"seed{seed}" / "result.json"


def change(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_rows_are_in_the_order_of_the_table(workdir):
    cells = read_cells(workdir)
    assert tuple(cells.columns) == COLUMNS
    assert list(zip(cells["method"], cells["architecture"], cells["seed"], strict=True)) == [
        ("erm_final", "convnet-1", 0), ("erm_final", "convnet-1", 1), ("erm_final", "convnet-1", 2),
        ("oracle", "convnet-1", 0), ("erm_all", "convnet-10", 0),
        ("erm_fine_tune", "convnet-1", 0), ("erm_fine_tune", "convnet-1", 1),
    ]  # fmt: skip
    assert cells["learning_rate"].tolist() == [0.003] * 7


def test_failures_have_the_last_line_of_their_error(workdir):
    failures = read_failures(workdir)
    assert failures[["method", "architecture", "seed"]].values.tolist() == [
        ["erm_all", "convnet-2", 0],
        ["erm_fine_tune", "convnet-1", 2],
    ]
    assert set(failures["message"]) == {"MemoryError: <no> room"}
    assert failures["text"][0].startswith("Traceback")


def test_a_result_beside_an_old_error_is_done(workdir):
    (result_of(workdir).parent / "error.txt").write_text("from an earlier run")
    assert len(read_cells(workdir)) == 7
    assert len(read_failures(workdir)) == 2


def test_half_written_folders_are_passed_over(workdir):
    (workdir / "cells/erm_final/convnet-1/.seed3.123").mkdir()
    (workdir / "cells/erm_final/convnet-1/seed3").mkdir()
    assert len(read_cells(workdir)) == 7


def test_absent_losses_and_hyper_parameters_are_nan(workdir):
    change(result_of(workdir), test_loss=None, hyper={"learning_rate": 0.1})
    row = read_cells(workdir).iloc[1]
    assert math.isnan(row["test_loss"])
    assert math.isnan(row["dropout"])


def test_no_folder_and_no_run_folder(tmp_path):
    with pytest.raises(RunFolderError, match=r"nothing is not a folder; give the --workdir of a run"):
        read_cells(tmp_path / "nothing")
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no config\.json"):
        read_cells(tmp_path)


@pytest.mark.parametrize("text", ['{"schema": 2,', "", "[1]"])
def test_damaged_json_names_the_file_and_the_mend(workdir, text):
    result_of(workdir).write_text(text)
    with pytest.raises(
        RunFolderError, match=r"seed1.result\.json .*; delete the folder .*seed1 and run again"
    ):
        read_cells(workdir)


def test_wrong_schema_place_and_fields(workdir):
    path = result_of(workdir)
    whole = path.read_text()
    change(path, schema=4)
    with pytest.raises(RunFolderError, match="has schema 4, this version reads 3; update seqfinal_jax"):
        read_cells(workdir)
    path.write_text(whole)
    change(path, seed=5)
    with pytest.raises(RunFolderError, match="says seed 5, its folder 1"):
        read_cells(workdir)
    record = json.loads(whole)
    del record["n_test"]
    path.write_text(json.dumps(record))
    with pytest.raises(RunFolderError, match=r"result\.json lacks n_test"):
        read_cells(workdir)


def test_protocols_are_not_mixed(workdir):
    change(result_of(workdir), protocol="released")
    with pytest.raises(RunFolderError, match="mixes cells of protocol corrected, released"):
        read_cells(workdir)


def test_stages_come_with_their_hyper_parameters(workdir):
    stages = read_stages(workdir)
    tuned = stages[(stages["method"] == "erm_fine_tune") & (stages["seed"] == 0)]
    assert tuned["stage"].tolist() == ["history", "tune"]
    assert tuned["position"].tolist() == [0, 1]
    assert tuned["dropout"].tolist() == [0.5, 0.5]


def test_curves_mark_the_chosen_member(workdir):
    cell = done_cells(workdir)[0]
    curves = read_curves(cell)
    assert curves.groupby("member")["chosen"].all().tolist() == [False, True]
    assert curves["train_accuracy"].isna().sum() == 2
    (cell.path / "history.csv").write_text("stage,epoch\n1,2\n")
    with pytest.raises(RunFolderError, match=r"history\.csv and grid\.csv cannot be read"):
        read_curves(cell)

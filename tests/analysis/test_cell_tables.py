import pytest

from seqfinal_jax.analysis.tables.cell_tables import (
    over_seeds,
    read_change,
    read_changes,
    read_final_grid,
    read_usage,
)
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.results.run_folder import RunFolderError
from tests.analysis.run_folders import write_change, write_joint_grid, write_table


@pytest.fixture
def cell(workdir):
    """The first of three seeds of erm_final."""
    return done_cells(workdir)[0]


def test_cells_without_the_tables_give_none(workdir, cell):
    assert read_change(cell).empty
    assert read_usage(cell) == []
    assert read_changes(workdir).empty


def test_changes_of_all_cells(workdir, cell):
    write_change(cell.path, {"conv1": (1, 2.5), "fc": (0, 4)})
    rows = read_changes(workdir).to_numpy().tolist()
    place = ["erm_final", "convnet-1", 0]
    assert rows == [
        [*place, "conv1", 1, 1],
        [*place, "conv1", 2, 2.5],
        [*place, "fc", 1, 0],
        [*place, "fc", 2, 4],
    ]


def test_means_and_spreads_over_seeds(workdir):
    for seed, distance in enumerate((3, 4, 8)):  # mean 5; deviations -2, -1, 3: 14 / 2 = 7
        write_change(workdir / f"cells/erm_final/convnet-1/seed{seed}", {"fc": (distance,)})
    (row,) = over_seeds(read_changes(workdir), ("layer", "step"), "distance").itertuples(index=False)
    assert (row.layer, row.step, row.mean, row.n) == ("fc", 1, 5, 3)
    assert row.spread == pytest.approx(7**0.5)


def test_usage_is_rebuilt_from_its_histogram(cell):
    rows = [(1, 1, 2), (0, 0, 3), (0, 2, 1), (0, 5, 0)]
    write_table(cell.path, "sample_usage.csv", "step,times_used,samples", rows)
    assert [step.tolist() for step in read_usage(cell)] == [[0, 0, 0, 2], [1, 1]]


def test_failed_grid_points_and_other_stages_are_left_out(cell):
    write_joint_grid(cell.path, [(0.01, 0.5), (0.1, 0.75), (1, 0.625)], failed=1)
    path = cell.path / "grid.csv"
    path.write_text(path.read_text() + "history,start,0,,0.9,1,1,False,True\n")
    grid = read_final_grid(cell)
    assert grid[["adjacent", "best_accuracy", "chosen"]].to_numpy().tolist() == [
        [0.01, 0.5, False],
        [1, 0.625, True],
    ]
    assert grid["efficient_decay"].isna().all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("fc", 0, 1), "whole numbers from 1 as step, found 0 in line 3"),
        (("fc", 1.5, 1), "as step, found 1.5"),
        (("fc", 2, -1), "finite numbers from 0 as distance, found -1 in line 3"),
        (("fc", 2, ""), "as distance, found nan"),
        (("fc", 2, "inf"), "as distance, found inf"),
    ],
)
def test_damaged_changes_are_refused(cell, row, message):
    write_table(cell.path, "layer_change.csv", "layer,step,distance", [("fc", 1, 1), row])
    with pytest.raises(RunFolderError, match=message) as caught:
        read_change(cell)
    assert str(cell.path / "layer_change.csv") in str(caught.value)
    assert f"delete the folder {cell.path} and run again" in str(caught.value)


def test_a_lacking_column_a_left_out_step_and_a_missing_grid_are_refused(cell):
    write_table(cell.path, "layer_change.csv", "layer,step", [("fc", 1)])
    with pytest.raises(RunFolderError, match="lacks distance, it has layer, step"):
        read_change(cell)
    write_table(cell.path, "sample_usage.csv", "step,times_used,samples", [(0, 1, 1), (2, 1, 1)])
    with pytest.raises(RunFolderError, match=r"every step from 0, found \[0, 2\]"):
        read_usage(cell)
    (cell.path / "layer_change.csv").write_text("")
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_change(cell)
    (cell.path / "grid.csv").unlink()
    with pytest.raises(RunFolderError, match=r"grid.csv is missing; delete the folder"):
        read_final_grid(cell)

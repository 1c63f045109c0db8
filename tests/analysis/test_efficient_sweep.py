import pytest

from seqfinal_jax.analysis.figures import efficient_sweep as sweep
from seqfinal_jax.analysis.tables.cells import done_cells
from tests.analysis.run_folders import make_run_folder, write_joint_grid
from tests.analysis.test_figures import assert_is_drawn, assert_nothing_is_cut_off

METHOD = "joint_side_tune_adjacent_reg_l2_sweep_efficient_reg"
GRIDS = {  # two grid points of decay 0.01, of which the better counts; one of 1 has failed
    0: [(1e-5, 0.5), (0.01, 0.625), (0.01, 0.5), (1.0, 0.25)],
    1: [(1e-5, 0.75), (0.01, 0.5), (0.01, 0.625), (1.0, 0.875)],
}


@pytest.fixture
def swept(tmp_path):
    cells = {(method, "resnet-1", seed): 0.5 for method in (METHOD, "joint") for seed in GRIDS}
    run = make_run_folder(tmp_path / "run", cells, (METHOD, "joint"), tuple(GRIDS))
    for seed, grid in GRIDS.items():
        folder = run / f"cells/{METHOD}/resnet-1/seed{seed}"
        write_joint_grid(folder, grid, "efficient_decay", failed=3 if seed else -1)
    return run


def swept_cells(run):
    return [cell for cell in done_cells(run) if cell.method == METHOD]


def test_the_best_of_each_decay_and_the_choices(swept):
    points = sweep.sweep_points(swept_cells(swept))
    assert points.to_numpy().tolist() == [
        [1e-5, 0, 0.5, False], [1e-5, 1, 0.75, True], [0.01, 0, 0.625, True], [0.01, 1, 0.625, False],
        [1.0, 0, 0.25, False],
    ]  # fmt: skip


def test_the_picture_and_its_numbers_are_written(swept):
    picture, numbers = sweep.efficient_sweeps(swept)
    assert picture == swept / "figures" / f"efficient_sweep_{METHOD}_resnet-1.png"
    assert_is_drawn(picture, 900, 500)
    assert numbers == picture.with_suffix(".csv")
    assert numbers.read_text().splitlines() == [
        "efficient_decay,seed,accuracy,chosen", "1e-05,0,0.5,False", "1e-05,1,0.75,True", "0.01,0,0.625,True",
        "0.01,1,0.625,False", "1.0,0,0.25,False",
    ]  # fmt: skip


def test_the_figure_shows_means_seeds_and_choices(swept):
    cells = swept_cells(swept)
    figure = sweep._draw(sweep.sweep_points(cells), cells[0])
    (axes,) = figure.axes
    assert axes.get_lines()[0].get_ydata().tolist() == [62.5, 62.5, 25]
    seeds, chosen = axes.collections[-2:]
    assert seeds.get_offsets().tolist() == [[1e-5, 50], [1e-5, 75], [0.01, 62.5], [0.01, 62.5], [1, 25]]
    assert chosen.get_offsets().tolist() == [[1e-5, 75], [0.01, 62.5]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1e-5", "0.01", "1"]
    assert axes.get_title(loc="left").splitlines() == [
        "digits_rcl, protocol corrected, 50 validation samples",
        "selection: validation accuracy of the final step",
        "seeds 0, 1, mean ± sample standard deviation",
    ]
    assert_nothing_is_cut_off(figure)


def test_a_single_seed_is_drawn_and_a_decay_of_zero_has_a_place(swept):
    cell = swept_cells(swept)[0]
    write_joint_grid(cell.path, [(0.0, 0.5), (0.001, 0.75)], "efficient_decay")
    figure = sweep._draw(sweep.sweep_points([cell]), cell)
    (axes,) = figure.axes
    assert axes.get_xticks().tolist() == [0.0001, 0.001]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.001"]
    assert axes.get_title(loc="left").endswith("seed 0")
    assert_nothing_is_cut_off(figure)


def test_grids_without_a_sweep_have_no_figure(workdir):
    assert sweep.efficient_sweeps(workdir) == []

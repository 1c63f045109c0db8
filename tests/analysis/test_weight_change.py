import pandas as pd
import pytest

from seqfinal_jax.analysis.figures import weight_change as chart
from seqfinal_jax.analysis.tables.cell_tables import read_changes
from seqfinal_jax.analysis.tables.results_table import results_table
from tests.analysis.run_folders import make_run_folder, write_change
from tests.analysis.test_figures import assert_is_drawn, assert_nothing_is_cut_off

MANY = (
    "sequential_fine_tune", "sequential_ewc", "sequential_side_tune", "joint", "joint_adjacent_reg_none",
    "joint_adjacent_reg_l2_high", "joint_nearest_neighbors_loss_increasing_adjacent_reg_l2_very_high",
)  # fmt: skip


def make_run(folder, changes, architecture="convnet-1"):
    """A run folder from {(method, seed): {layer: distances}}."""
    methods = tuple(dict.fromkeys(method for method, _ in changes))
    seeds = tuple(dict.fromkeys(seed for _, seed in changes))
    cells = {(method, architecture, seed): 0.5 for method, seed in changes}
    make_run_folder(folder, cells, methods, seeds)
    for (method, seed), distances in changes.items():
        write_change(folder / "cells" / method / architecture / f"seed{seed}", distances)
    return folder


def drawn(workdir):
    return chart._draw(read_changes(workdir), "convnet-1", results_table(workdir))


def lines_of(axes):
    return [list(zip(*line.get_data(), strict=True)) for line in axes.get_lines()]


def test_runs_without_changes_have_no_figure(workdir):
    assert chart.weight_change(workdir) == []


def test_panels_are_layers_and_lines_are_means_over_seeds(tmp_path):
    run = make_run(
        tmp_path,
        {
            ("joint", 0): {"conv1": (1, 2), "layer1": (4, 4), "fc": (2, 3)},
            ("joint", 1): {"conv1": (3, 2), "layer1": (4, 6), "fc": (2, 3)},
        },
    )
    (path,) = chart.weight_change(run)
    assert path == tmp_path / "figures" / "weight_change_convnet-1.png"
    assert_is_drawn(path, 900, 500)
    figure = drawn(run)
    assert [axes.get_title() for axes in figure.axes] == ["conv1", "layer1", "fc"]
    assert [lines_of(axes)[0] for axes in figure.axes] == [
        [(1, 2), (2, 2)],
        [(1, 4), (2, 5)],
        [(1, 2), (2, 3)],
    ]
    title = figure.get_suptitle()
    assert title.splitlines()[0] == "Change of each layer from step to step: digits_rcl, convnet-1"
    assert "protocol corrected, seeds 0, 1, mean ± sample standard deviation" in title


def test_methods_are_in_order_and_say_where_seeds_lack(tmp_path):
    change = {"fc": (1.0, 2.0)}
    run = make_run(
        tmp_path, {("joint", 0): change, ("joint", 1): change, ("sequential_fine_tune", 0): change}
    )
    (legend,) = drawn(run).legends
    assert [text.get_text() for text in legend.get_texts()] == ["SFT (n = 1)", "JM"]


def test_layers_share_an_axis_only_where_their_distances_are_alike():
    means = pd.DataFrame({"layer": ["a", "b"], "mean": [1.0, 2.5], "spread": [float("nan"), 0.5]})
    scales = chart.layer_scales(means, ["a", "b"])
    assert scales["a"] == scales["b"]
    assert scales["a"].high == pytest.approx(1.08 * 3)
    scales = chart.layer_scales(means.assign(mean=[1.0, 4.0]), ["a", "b"])
    assert [round(scale.high, 9) for scale in scales.values()] == [1.08, 4.86]


def test_distances_that_differ_much_have_a_logarithmic_axis_with_a_place_for_zero(tmp_path):
    run = make_run(
        tmp_path,
        {
            ("joint", 0): {"conv1": (8.0, 9.0)},
            ("joint_adjacent_reg_l2_high", 0): {"conv1": (0.02, 0.03)},
            ("sequential_fine_tune", 0): {"conv1": (0.0, 5.0)},
        },
    )
    (axes,) = drawn(run).axes
    assert axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "0.1", "1", "10"]
    sequential = lines_of(axes)[0]
    assert sequential == [(1, 0.002), (2, 5)]  # zero a decade below 0.02


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize("layers", [("conv1", "layer1", "fc"), ("conv1", "layer1", "layer2", "fc")])
def test_many_methods_fit(tmp_path, seeds, layers):
    changes = {
        (method, seed): {
            layer: (1.0 + place + seed, 2.0, 3.0) for place, layer in enumerate(layers)
        }
        for method in MANY
        for seed in seeds
    }  # fmt: skip
    figure = drawn(make_run(tmp_path, changes))
    assert_nothing_is_cut_off(figure)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(MANY)
    assert len({(line.get_color(), line.get_marker()) for line in legend.get_lines()}) == len(MANY)


def test_two_steps_make_a_single_point(tmp_path):
    figure = drawn(make_run(tmp_path, {("joint", 0): {"conv1": (1.0,), "fc": (0.0,)}}))
    assert [lines_of(axes) for axes in figure.axes] == [[[(1, 1)]], [[(1, 0)]]]
    assert figure.axes[0].get_xticks().tolist() == [1]
    assert all(axes.get_ylim()[0] < 0 for axes in figure.axes)  # markers at 0 are whole
    assert_nothing_is_cut_off(figure)

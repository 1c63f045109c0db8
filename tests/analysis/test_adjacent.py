import json
import math

import pandas as pd
import pytest

from seqfinal_jax.analysis import adjacent
from seqfinal_jax.analysis.figures import adjacent_charts
from seqfinal_jax.analysis.figures.adjacent_effect import adjacent_effect, summarised
from seqfinal_jax.results.run_folder import RunFolderError
from tests.analysis.run_folders import make_run_folder, write_change, write_joint_grid
from tests.analysis.test_figures import assert_is_drawn, assert_nothing_is_cut_off

NONE, HIGH = "joint_adjacent_reg_none", "joint_adjacent_reg_l2_high"
GRIDS = {
    (NONE, 0): [(0.0, 0.5)],
    (NONE, 1): [(0.0, 0.75)],
    ("joint", 0): [(0.01, 0.25), (0.1, 0.5), (0.1, 0.625), (1.0, 0.5)],
    ("joint", 1): [(0.01, 0.75), (0.1, 0.5), (0.1, 0.375), (1.0, 0.5)],
    (HIGH, 0): [(10.0, 0.875), (100.0, 0.5), (1000.0, 0.5)],
}
# Squared distances of steps 1 and 2 add up to 5², 10² and 0.5².
CHANGES = {NONE: {"conv1": (3, 4), "fc": (6, 8)}, "joint": {"conv1": (0.3, 0.4), "fc": (3, 4)}}


def make_run(folder, grids, references=(), architecture="convnet-1"):
    cells = {(method, architecture, seed): 0.5 for method, seed in grids}
    cells |= {(method, architecture, 0): accuracy for method, accuracy in references}
    make_run_folder(folder, cells, tuple(dict.fromkeys(key[0] for key in cells)), (0, 1))
    for (method, seed), grid in grids.items():
        cell = folder / "cells" / method / architecture / f"seed{seed}"
        write_joint_grid(cell, grid)
        if method in CHANGES:
            write_change(cell, CHANGES[method])
    return folder


def change_result(run, place, **fields):
    path = run / "cells" / place / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", GRIDS, [("erm_final", 0.375), ("erm_all", 0.625)])


def rows_of(points):
    return [tuple(None if pd.isna(value) else value for value in row) for row in points.to_numpy().tolist()]


def test_the_best_grid_point_of_each_strength_counts(run):
    effect = adjacent_effect([run])
    assert rows_of(effect.accuracy) == [
        ("joint", 0, 0, 0.5), ("joint", 0, 1, 0.75), ("joint", 0.01, 0, 0.25), ("joint", 0.01, 1, 0.75),
        ("joint", 0.1, 0, 0.625), ("joint", 0.1, 1, 0.5), ("joint", 1, 0, 0.5), ("joint", 1, 1, 0.5),
        ("joint", 10, 0, 0.875), ("joint", 100, 0, 0.5), ("joint", 1000, 0, 0.5),
        ("erm_final", None, 0, 0.375), ("erm_all", None, 0, 0.625),
    ]  # fmt: skip
    assert (effect.seeds, effect.strengths) == ([0, 1], [0, 0.01, 0.1, 1, 10, 100, 1000])
    table = summarised(effect.accuracy).set_index(["series", "adjacent"])
    mean, spread, n = table.loc[("joint", 0.01)]
    assert (mean, n) == (0.5, 2)
    assert spread == pytest.approx(0.5 / math.sqrt(2))


def test_the_change_is_that_of_the_winners_at_their_strengths(run):
    effect = adjacent_effect([run])
    assert rows_of(effect.change) == [
        ("conv1", 0, 0, 5), ("fc", 0, 0, 10), ("conv1", 0, 1, 5), ("fc", 0, 1, 10), ("conv1", 0.01, 1, 0.5),
        ("fc", 0.01, 1, 5), ("conv1", 0.1, 0, 0.5), ("fc", 0.1, 0, 5),
    ]  # fmt: skip


def test_several_runs_count_as_one(tmp_path, run):
    parts = [
        make_run(
            tmp_path / f"part{place}", {key: GRIDS[key] for key in GRIDS if key[0] == method}, references
        )
        for place, (method, references) in enumerate(
            [("joint", [("erm_final", 0.375)]), (NONE, [("erm_all", 0.625)]), (HIGH, ())]
        )
    ]
    whole, joined = adjacent_effect([run]), adjacent_effect(parts)
    for name in ("accuracy", "change"):
        pd.testing.assert_frame_equal(summarised(getattr(whole, name)), summarised(getattr(joined, name)))


def test_two_runs_of_the_same_grid_give_the_better_numbers(tmp_path, run):
    other = make_run(tmp_path / "other", {("joint", 0): [(0.1, 0.875), (1.0, 0.25)]})
    write_change(other / "cells/joint/convnet-1/seed0", {"conv1": (7.0,), "fc": (8.0,)})
    change_result(other, "joint/convnet-1/seed0", valid_accuracy=0.875)
    effect = adjacent_effect([run, other])
    found = {(row[0], row[1], row[2]): row[3] for row in rows_of(effect.accuracy)}
    assert (found["joint", 0.1, 0], found["joint", 1, 0]) == (0.875, 0.5)
    assert ("conv1", 0.1, 0, 7.0) in rows_of(effect.change)
    assert ("conv1", 0.1, 0, 0.5) not in rows_of(effect.change)


def test_the_files_hold_all_drawn_numbers(run, capsys):
    assert adjacent.main([str(run)]) == 0
    output = capsys.readouterr().out
    for name in ("adjacent_accuracy.png", "adjacent_change.png", "adjacent.csv"):
        assert f"wrote {run / 'figures' / name}\n" in output
    assert_is_drawn(run / "figures/adjacent_accuracy.png", 900, 600)
    assert_is_drawn(run / "figures/adjacent_change.png", 900, 600)
    lines = (run / "figures/adjacent.csv").read_text().splitlines()
    assert lines[0] == "figure,series,adjacent,statistic,seed,value,n"
    for line in (
        "accuracy,joint,0.01,seed,1,0.75,1", "accuracy,joint,0.01,mean,,0.5,2", "accuracy,erm_final,,mean,,0.375,1",
        "accuracy,joint,10.0,spread,,,1", "change,fc,0.0,mean,,10.0,2", "change,fc,0.0,spread,,0.0,2",
    ):  # fmt: skip
        assert line in lines
    table = [line.split() for line in output.splitlines()]
    assert ["0.01", "50.0", "±", "35.4", "2"] in table
    assert ["ERM", "all", "62.5", "±", "–", "1"] in table


def test_files_go_where_they_are_asked_to(run, tmp_path, capsys):
    assert adjacent.main([str(run), "--architecture", "convnet-1", "--out", str(tmp_path / "out")]) == 0
    names = ["adjacent.csv", "adjacent_accuracy.png", "adjacent_change.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert not (run / "figures").exists()


def test_without_layer_changes_the_accuracy_alone_is_drawn(tmp_path, capsys):
    run = make_run(tmp_path, {(HIGH, 0): GRIDS[HIGH, 0]})
    assert adjacent.main([str(run)]) == 0
    assert "adjacent_change.png is not drawn: no cell of the joint model" in capsys.readouterr().out
    assert sorted(path.name for path in (run / "figures").iterdir()) == [
        "adjacent.csv",
        "adjacent_accuracy.png",
    ]


def test_zero_has_one_place_in_both_figures(run):
    effect = adjacent_effect([run])
    figures = adjacent_charts._accuracy_figure(effect), adjacent_charts._change_figure(effect)
    for figure in figures:
        (axes,) = figure.axes
        assert axes.get_xscale() == "log"
        assert axes.get_xticks()[0] == 0.001
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == ["0", "0.01", "0.1", "1", "10", "100", "1000"]
        assert axes.get_lines()[0].get_xdata()[0] == 0.001
        assert_nothing_is_cut_off(figure)
    assert figures[0].axes[0].get_xlim() == figures[1].axes[0].get_xlim()
    assert figures[1].axes[0].get_yscale() == "log"


def test_single_points_lie_beyond_the_ends_of_the_line(run):
    figure = adjacent_charts._accuracy_figure(adjacent_effect([run]))
    (axes,), (legend,) = figure.axes, figure.legends
    single = {
        line.get_marker(): line.get_xydata().tolist()
        for line in axes.get_lines()
        if line.get_marker() in "sD"
    }
    (final,), (everything,) = single["s"], single["D"]
    assert final[0] < 0.001
    assert everything[0] > 1000
    assert (final[1], everything[1]) == (37.5, 62.5)
    assert [text.get_text() for text in legend.get_texts()] == [
        "joint model, mean over seeds", "ERM final (n = 1)", "ERM all (n = 1)", "a seed",
    ]  # fmt: skip


def test_the_figures_say_how_they_were_made(run):
    effect = adjacent_effect([run])
    for figure, what in (
        (adjacent_charts._accuracy_figure(effect), "the best grid point of each γ"),
        (adjacent_charts._change_figure(effect), "the winner of each grid at its γ"),
    ):
        (axes,) = figure.axes
        assert axes.get_title(loc="left").splitlines() == [
            f"protocol corrected; {what}",
            "selection: validation accuracy of the final step (50 samples)",
            "seeds 0, 1, n = 2 unless noted; mean ± sample standard deviation",
        ]
        assert figure.get_suptitle().endswith("digits_rcl, convnet-1")
    notes = [text.get_text() for text in adjacent_charts._accuracy_figure(effect).axes[0].texts]
    assert notes == ["n = 1"] * 3


def test_one_seed_and_no_zero(tmp_path):
    effect = adjacent_effect([make_run(tmp_path, {("joint", 0): GRIDS["joint", 0]})])
    for figure in (adjacent_charts._accuracy_figure(effect), adjacent_charts._change_figure(effect)):
        (axes,) = figure.axes
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.1", "1"]
        assert axes.get_title(loc="left").splitlines()[-1] == "seed 0, n = 1"
        assert not axes.texts
        assert_nothing_is_cut_off(figure)


@pytest.mark.parametrize("field", ["sequence", "protocol", "n_valid", "data_seed"])
def test_runs_that_do_not_go_together_are_refused(run, tmp_path, field):
    other = make_run(tmp_path / "other", {(HIGH, 1): [(10.0, 0.5)]})
    value = "other" if field in ("sequence", "protocol") else 77
    change_result(other, f"{HIGH}/convnet-1/seed1", **{field: value})
    with pytest.raises(
        RunFolderError, match=f"seed1 has {field} {value!r}, .* has .*; give run folders that agree"
    ):
        adjacent_effect([run, other])


def test_the_architecture_is_asked_for_where_there_are_several(run, tmp_path):
    other = make_run(tmp_path / "other", {("joint", 0): GRIDS["joint", 0]}, architecture="resnet-2")
    with pytest.raises(RunFolderError, match="convnet-1, resnet-2; choose one of them with --architecture"):
        adjacent_effect([run, other])
    with pytest.raises(RunFolderError, match="--architecture resnet-4; found convnet-1, resnet-2"):
        adjacent_effect([run, other], "resnet-4")
    assert adjacent_effect([run, other], "resnet-2").architecture == "resnet-2"


def test_bad_input_is_one_line_and_status_2(workdir, tmp_path, capsys):
    grid = [(0.1, 0.5)]
    damaged = make_run(tmp_path / "damaged", {("joint", 0): grid})
    write_joint_grid(damaged / "cells/joint/convnet-1/seed0", grid, field="dropout")
    for folder, message in (
        (workdir, "no completed cell of the joint model"), (tmp_path / "nothing", "is not a folder"),
        (damaged, "should have a number as adjacent in every row"),
    ):  # fmt: skip
        assert adjacent.main([str(folder)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.startswith("error: ")
        assert error.count("\n") == 1

import numpy as np
import pytest

from seqfinal_jax.analysis.figures import matching_usage
from seqfinal_jax.analysis.figures.matching_usage import usage_figure, usage_shares
from tests.analysis.test_figures import assert_is_drawn

COUNTS = [np.array([0, 0, 4, 0, 0]), np.array([1, 0, 3, 0]), np.ones(4, int)]


def shown(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_figure_is_drawn(tmp_path, steps):
    path = usage_figure(COUNTS[-steps:], tmp_path / "figures" / "usage.png", "optimal matching, seed 0")
    assert path == tmp_path / "figures" / "usage.png"
    assert_is_drawn(path, 900, 400)


def test_panels_go_from_the_final_step_back():
    panels = shown(matching_usage._draw(COUNTS, "title"))
    assert [axes.get_title() for axes in panels] == [
        "step 2 (final): 4 of 4 used, at most 1×",
        "step 1: 2 of 4 used, at most 3×",
        "step 0: 1 of 5 used, at most 4×",
    ]
    assert [axes.get_yscale() for axes in panels] == ["linear", "log", "log"]
    heights = [[bar.get_height() for bar in axes.patches] for axes in panels]
    assert heights == [[0, 1], [0.5, 0.25, 0, 0.25], [0.8, 0, 0, 0, 0.2]]


def test_two_steps_make_one_row_of_panels():
    panels = shown(matching_usage._draw(COUNTS[1:], "title"))
    assert [axes.get_title()[:6] for axes in panels] == ["step 1", "step 0"]


def test_many_uses_share_bars_but_unused_samples_stand_alone():
    counts = np.array([0, 0, 0, 0, 0, 1, 2, 3, 4, 100])
    edges, shares = usage_shares(counts)
    assert edges[:4].tolist() == [-0.5, 0.5, 3.5, 6.5]
    assert edges[-1] == 102.5
    assert shares[[0, 1, 2, -1]].tolist() == [0.5, 0.3, 0.1, 0.1]
    assert shares.sum() == pytest.approx(1)
    label = shown(matching_usage._draw([counts, np.ones(3, int)], "title"))[1].get_xlabel()
    assert label == "times used (beyond 0, 3 numbers per bar)"


def test_steps_without_samples_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"found \[0, 4\]"):
        usage_figure([np.array([], int), np.ones(4, int)], tmp_path / "usage.png", "title")

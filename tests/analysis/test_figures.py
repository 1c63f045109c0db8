import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from seqfinal_jax.analysis import method_chart as chart
from seqfinal_jax.analysis.cells import done_cells
from seqfinal_jax.analysis.figures import draw_figures, learning_curves, method_chart
from seqfinal_jax.analysis.learning_curves import stage_panels
from seqfinal_jax.analysis.results_table import results_table
from tests.analysis.run_folders import make_cell, make_run_folder


def texts(figure):
    axes = [text.get_text() for panel in figure.axes for text in panel.texts]
    return axes, figure.get_suptitle(), figure.legends[0].get_title().get_text()


def assert_is_drawn(path, width, height):
    pixels = imread(path)
    assert pixels.shape[0] >= height
    assert pixels.shape[1] >= width
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50


def test_all_figures_are_drawn(workdir):
    paths = draw_figures(workdir)
    names = ["methods.png", "learning_curves-convnet-1.png", "learning_curves-convnet-10.png"]
    assert [path.name for path in paths] == names
    for path in paths:
        assert_is_drawn(path, 900, 450)
    assert sorted(path.name for path in (workdir / "figures").iterdir()) == sorted(names)


def test_the_chart_shows_every_seed_and_says_what_lacks(workdir):
    figure = chart._draw(results_table(workdir))
    notes, title, caption = texts(figure)
    points = [len(c.get_offsets()) for panel in figure.axes for c in panel.collections]
    assert points == [3, 1, 2, 1]
    assert notes.count("failed") == 1
    assert notes.count("missing") == 10
    assert "n = 2/3" in notes
    assert title == "Test accuracy (%) at the final step: digits_rcl, protocol corrected"
    assert "selection: validation accuracy of the final step" in caption
    assert "n = 3 unless noted" in caption


def test_nothing_of_the_chart_is_cut_off(workdir):
    figure = chart._draw(results_table(workdir))
    figure.draw_without_rendering()
    box, whole = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= whole[0] + 0.01
    assert box.y1 <= whole[1] + 0.01
    panels = max(axes.get_tightbbox().y1 for axes in figure.axes if axes.get_visible())
    assert panels <= figure._suptitle.get_window_extent().y0


def test_a_run_without_a_done_cell_has_a_chart_but_no_curves(tmp_path):
    make_run_folder(tmp_path, {("erm_all", "convnet-1", 0): None}, methods=("erm_all",), seeds=(0,))
    assert_is_drawn(method_chart(tmp_path), 900, 300)
    assert learning_curves(tmp_path) == []


def test_a_stage_that_methods_share_is_one_panel(workdir):
    other = workdir / "cells/erm_other_tune/convnet-1/seed0"
    make_cell(other, "erm_other_tune", "convnet-1", 0, 0.5)
    result = other / "result.json"
    result.write_text(result.read_text().replace('"erm_other_tune-convnet-1"', '"f5-convnet-1"'))
    panels = stage_panels([cell for cell in done_cells(workdir) if cell.architecture == "convnet-1"])
    assert [(panel.stage, panel.methods) for panel in panels] == [
        ("final", ["erm_final"]), ("final", ["oracle"]),
        ("history", ["erm_fine_tune", "erm_other_tune"]), ("tune", ["erm_fine_tune"]),
    ]  # fmt: skip
    assert list(panels[0].curves) == [0, 1, 2]
    assert panels[0].best == {0: 4, 1: 4, 2: 4}


@pytest.mark.parametrize("module", ["tables", "report"])
def test_analysis_imports_neither_jax_nor_matplotlib(module):
    code = f"import sys, seqfinal_jax.analysis.{module}; print({{'jax', 'matplotlib'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

import subprocess
import sys

import numpy as np
from matplotlib.image import imread

from seqfinal_jax.analysis.figures import method_chart as chart
from seqfinal_jax.analysis.figures.every import draw_figures, learning_curves, method_chart
from seqfinal_jax.analysis.figures.learning_curves import Panel, stage_panels
from seqfinal_jax.analysis.figures.palette import architecture_style
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.tables.results_table import results_table
from tests.analysis.run_folders import make_cell, make_run_folder


def points_of(figure):
    """Accuracies of the seeds (small points) by lane, and of the means (diamonds)."""
    drawn = [(c.get_sizes()[0], c.get_offsets()[:, 0].tolist()) for c in figure.axes[0].collections]
    mean_size = max(size for size, _ in drawn)
    return ([x for size, x in drawn if size < mean_size], [x for size, x in drawn if size == mean_size])


def assert_is_drawn(path, width, height):
    pixels = imread(path)
    assert pixels.shape[0] >= height
    assert pixels.shape[1] >= width
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 50


def test_all_figures_are_drawn(workdir):
    drawn = draw_figures(workdir)
    paths = drawn.paths
    assert drawn.failed == []
    names = ["methods.png", "learning_curves-convnet-1.png", "learning_curves-convnet-10.png"]
    assert [path.name for path in paths] == names
    for path in paths:
        assert_is_drawn(path, 900, 450)
    assert sorted(path.name for path in (workdir / "figures").iterdir()) == sorted(names)


def test_the_chart_shows_every_seed_and_says_what_lacks(workdir):
    figure = chart.method_figure(results_table(workdir))
    seeds, means = points_of(figure)
    assert [[round(x, 9) for x in lane] for lane in seeds] == [[50, 60, 70], [87.5], [25], [65, 75]]
    assert [round(x, 9) for (x,) in means] == [60, 87.5, 25, 70]
    notes = [text.get_text() for text in figure.axes[0].texts]
    assert [note for note in notes if "failed" in note] == ["convnet-2 failed", "n = 2/3 (1 failed)"]
    assert sum(note.endswith(" missing") for note in notes) == 10
    assert notes.count("n = 1/3 (2 missing)") == 2


def test_the_chart_names_methods_and_how_it_was_made(workdir):
    (axes,) = chart.method_figure(results_table(workdir)).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [
        "Final: ERM final", "Oracle: ERM final oracle", "ERM: ERM all", "wERM: ERM all, weighted",
        "FT: ERM + fine-tune",
    ]  # fmt: skip
    assert axes.get_title(loc="left").splitlines() == [
        "digits_rcl, protocol corrected",
        "selection: validation accuracy of the final step",
        "seeds: 0, 1, 2 (each draws its own data and trains on its own)",
        "test samples: 500; n = 3 unless noted",
    ]


def test_architectures_differ_in_colour_and_marker():
    styles = [architecture_style(place) for place in range(42)]
    assert len(set(styles)) == 42
    assert styles[0] == ("#0072B2", "o")


def assert_nothing_is_cut_off(figure):
    figure.draw_without_rendering()
    box, whole = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= whole[0] + 0.01
    assert box.y1 <= whole[1] + 0.01


def test_nothing_of_the_chart_is_cut_off(workdir):
    figure = chart.method_figure(results_table(workdir))
    assert_nothing_is_cut_off(figure)
    (axes,) = figure.axes
    title = next(text for text in axes.texts if text.get_text().startswith("Test accuracy"))
    assert title.get_window_extent().y0 >= axes._left_title.get_window_extent().y1


def test_a_run_without_a_done_cell_has_a_chart_but_no_curves(tmp_path):
    make_run_folder(tmp_path, {("erm_all", "convnet-1", 0): None}, methods=("erm_all",), seeds=(0,))
    assert_is_drawn(method_chart(tmp_path), 900, 300)
    assert learning_curves(tmp_path) == []


def test_a_stage_that_methods_share_is_one_panel(workdir):
    other = workdir / "cells/erm_other_tune/convnet-1/seed0"
    make_cell(other, "erm_other_tune", "convnet-1", 0, 0.5)
    result = other / "result.json"
    text = result.read_text().replace('"erm_other_tune-convnet-1"', '"f5-convnet-1"')
    result.write_text(text.replace('"role": "final"', '"role": "start"'))
    panels = stage_panels([cell for cell in done_cells(workdir) if cell.architecture == "convnet-1"])
    assert [(panel.stage, list(panel.roles)) for panel in panels] == [
        ("final", ["erm_final"]), ("final", ["oracle"]),
        ("history", ["erm_fine_tune", "erm_other_tune"]), ("tune", ["erm_fine_tune"]),
    ]  # fmt: skip
    assert [panel.title for panel in panels[1:3]] == [
        "final (Oracle)",
        "history (start of FT, erm_other_tune)",
    ]
    assert list(panels[0].curves) == [0, 1, 2]
    assert panels[0].best == {0: 4, 1: 4, 2: 4}


PLAIN = (
    "tables",
    "report",
    "figures.matching_usage",
    "figures.weight_change",
    "figures.sample_usage",
    "figures.efficient_sweep",
    "adjacent",
)


def test_analysis_imports_matplotlib_only_to_draw():
    """In one process: the first module that imports it is named."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module('seqfinal_jax.analysis.' + name)\n"
        "    assert 'matplotlib' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *PLAIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_titles_of_panels_name_the_stage_and_its_methods():
    known = {"erm_all": "final", "erm_fine_tune": "start"}
    assert Panel("all", known).title == "all (ERM; start of FT)"
    assert Panel("probe", {"erm_fine_tune": "probe"}).title == "probe (FT)"
    many = Panel("history", dict.fromkeys("abcdefg", "start"))
    assert many.title.replace("\n", " ") == "history (start of a, b, c, d, e and 2 more)"

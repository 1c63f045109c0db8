"""Pictures that can be read: answers by class, ribbons of many seeds, counts in one hue, what a shift does."""

import numpy as np
import pandas as pd
import pytest

from seqfinal_jax.analysis.data_pictures.sequence_pictures import count_figure, example_figure, shift_lines
from seqfinal_jax.analysis.figures import every
from seqfinal_jax.analysis.figures import learning_curves as curves
from seqfinal_jax.analysis.figures.confusion import confusion, confusion_counts, shares
from seqfinal_jax.analysis.page.pictures import PAGE_WIDTH, least_width
from seqfinal_jax.analysis.report import write_report
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.data.sequences.examples import Examples
from tests.runs import smoke_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "run"
    smoke_run(folder, methods=("erm_final", "erm_fine_tune"), seeds=(0, 1), grid__dropout=(0.0,))
    write_report(folder)
    return folder


def test_answers_by_class_are_those_of_the_stored_logits(run):
    """Counted by hand from the logits of both seeds."""
    counts = confusion_counts(done_cells(run), ["erm_final"])["erm_final"]
    pairs = []
    for seed in (0, 1):
        with np.load(run / f"cells/erm_final/convnet-1/seed{seed}/predictions.npz") as stored:
            pairs += list(zip(stored["test_labels"], stored["test_logits"].argmax(-1), strict=True))
    assert counts.sum() == len(pairs) == 200
    for label in range(10):
        for answer in range(10):
            assert counts[label, answer] == pairs.count((label, answer))
    assert shares(np.array([[3, 1], [0, 0]])).tolist() == [[75.0, 25.0], [0.0, 0.0]]


def test_the_report_shows_answers_by_class(run):
    page = (run / "report" / "index.html").read_text()
    assert "Answers by class" in page and "confusion-convnet-1.csv" in page
    frame = pd.read_csv(run / "figures" / "confusion-convnet-1.csv")
    assert frame.groupby("method")["samples"].sum().to_dict() == {"erm_final": 200, "erm_fine_tune": 200}
    assert set(frame["label"]) == set(frame["answer"]) >= {"zero", "nine"}
    assert confusion is every.confusion
    assert [path.name for path in confusion(run)] == ["confusion-convnet-1.png", "confusion-convnet-1.csv"]


def test_every_picture_of_a_report_keeps_a_width_at_which_it_can_be_read(run):
    """The smallest words of figures are 6.5 points, 8 pixels at 90 pixels an inch; narrower pages scroll."""
    page = (run / "report" / "index.html").read_text()
    assert page.count("<img ") == page.count('px" alt=') > 3
    assert page.count('<p class="wide"><a href') == page.count("<img ")
    png = (run / "figures" / "methods.png").read_bytes()
    assert least_width(png) == 90 * 8  # the chart is 8 inches wide
    assert least_width(b"\0" * 16 + (100_000).to_bytes(4, "big")) == PAGE_WIDTH


def panel(seeds):
    epochs = pd.DataFrame(
        {"epoch": [0, 1, 2], "member": 0, "train_accuracy": 0.5, "valid_accuracy": 0.5, "chosen": True}
    )
    found = curves.Panel("final")
    for seed in range(seeds):
        own = epochs.iloc[: 3 - (seed == 0)].assign(valid_accuracy=0.1 * (seed + 1))
        found.curves[seed], found.best[seed] = own, 1
    return found


@pytest.mark.parametrize("seeds", [3, 4])
def test_more_than_three_seeds_become_a_ribbon(seeds):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    curves._draw_panel(axes, panel(seeds))
    assert len(axes.lines) == (6 if seeds == 3 else 2)
    if seeds == 3:
        return
    ribbon = axes.collections[1].get_paths()[0].vertices  # of the validation accuracy
    assert ribbon[:, 1].min() == pytest.approx(10) and ribbon[:, 1].max() == pytest.approx(40)
    mean = axes.lines[1].get_ydata()
    assert mean == pytest.approx([25, 25, 30])  # the first seed has stopped before epoch 2


def examples():
    counts = np.array([[[40], [10], [0]], [[4], [2], [50]]])
    images = np.zeros((2, 1, 1, 8, 8, 1), np.uint8)
    return Examples(
        images=images, there=np.ones((2, 1, 1), bool), counts=counts, classes=(0,), class_names=("zero",),
        step_names=("source", "corruption"),
    )  # fmt: skip


def test_counts_are_one_hue_on_one_scale_with_numbers_that_stand_out():
    """Contrast by the formula of WCAG 2: at least 3 between a number and its ground."""
    figure = count_figure(examples())
    images = [axes.images[0] for axes in figure.axes]
    assert {image.get_clim() for image in images} == {(0, 50)}

    def luminance(color):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
        return np.dot(parts, [0.2126, 0.7152, 0.0722])

    from matplotlib.colors import to_rgb

    seen = []
    for axes in figure.axes:
        for text in axes.texts:
            value = int(text.get_text())
            ground = axes.images[0].cmap(axes.images[0].norm(value)) if value else (1, 1, 1)
            low, high = sorted((luminance(to_rgb(text.get_color())), luminance(ground)))
            assert (high + 0.05) / (low + 0.05) >= 3, value
            seen.append((value, luminance(ground)))
    order = [ground for value, ground in sorted(seen) if value]
    assert order == sorted(order, reverse=True)  # the more samples, the darker


def test_the_picture_of_examples_says_what_its_shifts_do():
    """The noise of -3 to 2 grey values cannot be seen in it."""
    assert "corruption: Adds noise of -3 to 2 grey values" in shift_lines(("source", "corruption"))
    assert shift_lines(("1930s", "2019-04")) == ""
    assert "noise of -3 to 2" in example_figure(examples()).get_supxlabel()

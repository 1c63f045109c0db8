"""Names of users are drawn and written as they are, whatever signs they hold."""

import logging
import re
import warnings

import numpy as np
import pytest

from seqfinal_jax.analysis import plain_text
from seqfinal_jax.analysis.data_pictures import sequence_pictures
from seqfinal_jax.analysis.figures.palette import new_figure
from seqfinal_jax.analysis.figures.record import house_style
from seqfinal_jax.analysis.plain_text import drawable, latex_text, markdown_text
from seqfinal_jax.analysis.tables.latex import to_latex
from seqfinal_jax.analysis.tables.results_table import results_table
from seqfinal_jax.analysis.tables.text import to_markdown
from seqfinal_jax.data.sequences.examples import Examples
from tests.analysis.run_folders import make_run_folder

HOSTILE = ("$5-$10", r"$\frac{$ x", "<script>alert(1)</script>", "a|b", "two\nlines", r"C:\new_%{}~^#&")


def examples(names):
    count = len(names)
    counts = np.ones((2, 3, count), np.int64)
    images = np.zeros((2, count, 1, 8, 8, 3), np.uint8)
    there = np.ones((2, count, 1), bool)
    return Examples(images, there, counts, tuple(range(count)), tuple(names), ("step $1$", "step $2"))


def drawn_texts(figure):
    from matplotlib.text import Text

    figure.canvas.draw()
    return [(text.get_text(), text.get_parse_math()) for text in figure.findobj(Text) if text.get_text()]


def test_dollar_signs_are_drawn_and_not_typeset(tmp_path):
    with house_style():
        for figure in (
            sequence_pictures.example_figure(examples(HOSTILE)),
            sequence_pictures.count_figure(examples(HOSTILE)),
        ):
            figure.savefig(tmp_path / "picture.png")
            shown = drawn_texts(figure)
            assert not any(mathematics for _, mathematics in shown)
            assert any("$5-$10" in text for text, _ in shown)


def test_width_of_a_price_is_that_of_its_signs():
    """The same letters without dollar signs are narrower; typeset they would be of one width."""
    with house_style():
        figure = new_figure(4, 2)
        widths = [figure.text(0, 0, text).get_window_extent().width for text in ("$5-$10", "5-10")]
    assert widths[0] > widths[1] * 1.3


def test_figures_of_users_may_typeset():
    with house_style(mathematics=True):
        figure = new_figure(4, 2)
        assert figure.text(0, 0, r"$\gamma$").get_parse_math()


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_is_one_cell_of_plain_text(name):
    shown = markdown_text(name)
    assert "\n" not in shown and not re.search(r"(?<!\\)\|", shown) and "<" not in shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$5", r"\$5"),
        ("a<b>c|d", r"a\textless{}b\textgreater{}c\textbar{}d"),
        ("two\nlines", "two lines"),
        ("50 % & more_", r"50 \% \& more\_"),
    ],
)
def test_latex_is_plain_text(name, shown):
    assert latex_text(name) == shown


def test_tables_of_a_hostile_sequence(tmp_path):
    make_run_folder(tmp_path, {("erm_final", "convnet-1", 0): 0.5}, sequence="<script>|\nx")
    table = results_table(tmp_path)
    assert "<script>" not in to_markdown(table) and len(to_markdown(table).splitlines()[0]) > 20
    assert r"\textless{}script\textgreater{}\textbar{} x" in to_latex(table)


def test_signs_without_a_font_are_numbered_in_one_line(caplog):
    plain_text._say_lacking.cache_clear()
    with house_style(), warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        if plain_text._more_fonts():
            assert drawable(("cat", "犬"), "class") == ["cat", "犬"]
            return
        assert drawable(("cat", "犬", "café"), "class") == ["cat", "class 1", "café"]
        drawable(("cat", "犬", "café"), "class")
    assert [r.getMessage()[:54] for r in caplog.records] == [
        "no font here has the signs of 1 class name, such as '犬"
    ]


def test_a_font_that_has_the_signs_is_taken(monkeypatch):
    plain_text._more_fonts.cache_clear()
    monkeypatch.setattr(plain_text, "MORE_FONTS", ("Last Resort High-Efficiency",))
    try:
        if not plain_text._more_fonts():
            pytest.skip("this Matplotlib does not bring the font (it has since 3.10)")
        with house_style():
            assert drawable(("cat", "犬"), "class") == ["cat", "犬"]
    finally:
        plain_text._more_fonts.cache_clear()

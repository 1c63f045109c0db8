"""The tables of the documentation are those of the records."""

import re
from pathlib import Path

import pytest

from seqfinal_jax.config.pages import field_table, method_table, with_tables
from seqfinal_jax.config.schema import all_fields
from seqfinal_jax.methods.recipes import METHODS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/options.md"])
def test_pages_are_up_to_date(page):
    text = (ROOT / page).read_text()
    assert "<!-- methods -->" in text
    assert with_tables(text) == text, f"run python -m seqfinal_jax.config.pages {page}"


def test_every_method_and_field_has_a_row():
    assert set(re.findall(r"^\| `(\w+)`", method_table(), re.M)) == set(METHODS)
    assert re.findall(r"^\| `([\w.]+)`", field_table(), re.M) == [field.name for field in all_fields()]


def test_readers_come_from_the_records():
    rows = dict(re.findall(r"^\| `([\w.]+)` .* \| ([^|]*) \|$", field_table(), re.M))
    assert rows["network.units"] == "resnet" and rows["network.dense_layers"] == "densenet"
    assert "`erm_fine_tune`" in rows["fine_tune.layers"] and "`erm_final`" not in rows["fine_tune.layers"]
    assert rows["training.patience"] == ""

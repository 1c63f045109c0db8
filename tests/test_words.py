"""Habits of speech that readers stumbled over stay out of strings, docstrings and documents."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNIT = (
    "step|bar|block|epoch|program|channel|label|seed|cell|class|sequence|row|column|stage|group|layer|second|sample|"
    "year|month|network|fit|architecture|field|minibatch|update|core|repeat|kernel"
)
COUNTED = (
    r"one|(?<!-)\b\d+|rows?|lines?|numbers|values|sizes|units|curves|panels|seeds|models|domains|updates|bytes|"
    r"operations|photographs|members?|gradients?|degrees|steps|minibatches"
)
HABITS = {
    rf"\b({COUNTED}) an? ({UNIT})\b": "per: one row per cell",
    rf"\b[Aa] (row|step|group|line|bar|cell) an? ({UNIT})\b": "per: one row per cell",
    r"\banew\b": "again",
    r"\b(numbers|whole numbers), texts\b": "strings",
    r"\bto be continued\b": "Interrupted; the state is saved.",
    r"\bdone cells?\b": "a completed cell",
    r"(?<!there )\bis no (folder|image|date|zip|array|text)\b": "is not a",
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def strings(path):
    """Every string of a source file with its line, docstrings too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def habits(text):
    return [
        f"{found[0]!r}: write {better!r}"
        for word, better in HABITS.items()
        for found in re.finditer(word, text)
    ]


def test_the_habits_are_found():
    assert (
        len(habits("A step a year; expected numbers, texts; 3 numbers a bar; x is no folder; no done cell"))
        == 5
    )


@pytest.mark.parametrize("folder", ["seqfinal_jax", "launch", "configs"])
def test_strings_of_the_source_say_it_otherwise(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    said = [
        f"{path.relative_to(ROOT)}:{line}: {habit}"
        for path in paths
        for line, text in strings(path)
        for habit in habits(text)
    ]
    assert paths and not said, "\n".join(said)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_documents_say_it_otherwise(page):
    assert not habits(page.read_text(encoding="utf-8"))

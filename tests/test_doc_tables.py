"""Tables of results in the documents come from the committed files."""

import re

import pytest

from benchmarks import doc_tables
from seqfinal_jax.methods.recipes import METHODS

FILE = """sequence,protocol,method,architecture,seed,test_accuracy,valid_accuracy,learning_rate,weight_decay,dropout,\
best_epoch
s,p,erm_final,n,0,0.50,0.4,0.001,0.0001,0.5,7
s,p,erm_final,n,1,0.52,0.4,0.001,0.0001,0.0,9
s,p,erm_all,n,0,0.53,0.5,0.001,0.0001,0.5,3
s,p,erm_all,n,1,0.57,0.5,0.001,0.0001,0.5,4
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository of one document with one table of a file."""
    (tmp_path / "r.csv").write_text(FILE)
    marker = "table: methods r.csv --columns=mean,n,difference,seeds --against=erm_final"
    (tmp_path / "README.md").write_text(f"Before.\n\n<!-- {marker} -->\n<!-- end of table -->\n\nAfter.\n")
    monkeypatch.setattr(doc_tables, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["doc_tables", "--check"])
    return tmp_path


def test_the_documents_say_what_the_files_hold():
    """If this fails: `python -m benchmarks.doc_tables` writes the tables again."""
    assert not [str(path) for path in doc_tables.differing()]


BY_HAND = re.compile(r"^\| `(\w+)`.*\| [+-]?\d+\.\d\b.*$", re.M)


def test_no_table_of_accuracies_is_written_by_hand():
    """Rows that begin with a method and hold a number with a decimal stand between the marks of a generated table."""
    assert BY_HAND.findall("| `erm_final` | 40.0 ± 1.7 | 3 |") == ["erm_final"]
    for path in doc_tables.documents():
        text = doc_tables.MARKED.sub("", path.read_text())
        rows = BY_HAND.findall(text)
        assert not [row for row in rows if row in METHODS and path.name != "performance.md"], path.name


def test_a_table_by_hand(root):
    """Means 51 and 55; differences of 3 and 5 points; two seeds have no interval."""
    text = doc_tables.written((root / "README.md").read_text())
    assert "| method | mean ± spread | n | difference [95 % interval] | seeds 0, 1 |" in text
    assert "| `erm_final` | 51.0 ± 1.4 | 2 |  | 50.0, 52.0 |" in text
    assert "| `erm_all` | 55.0 ± 2.8 | 2 | +4.0 | 53.0, 57.0 |" in text
    assert doc_tables.written(text) == text and text.startswith("Before.") and text.endswith("After.\n")


def test_a_document_that_differs_is_named(root, capsys, monkeypatch):
    assert doc_tables.main() == 1 and "README.md differs from its files" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["doc_tables"])
    assert doc_tables.main() == 0
    assert not doc_tables.differing()
    (root / "r.csv").write_text(FILE.replace("0.57", "0.59"))
    assert list(doc_tables.differing()) == [root / "README.md"]


def test_the_other_kinds(root):
    notes = "method,option\nerm_all,pooled\njoint,not run\n"
    (root / "n.csv").write_text(notes)

    def lines(marker):
        return doc_tables.written(f"<!-- table: {marker} -->\n<!-- end of table -->\n").splitlines()

    assert "| `joint` | not run | – |" in lines("methods r.csv --columns=test --notes=n.csv")
    assert "| `erm_all` | pooled | 55.0 |" in lines("methods r.csv --columns=test --notes=n.csv")
    both = lines("methods r.csv --columns=test,validation,chosen,epoch --side_by_side=2")
    assert both[2].count("| method |") == 2
    assert "0.001, 0.0001, 0.5; 0.001, 0.0001, 0 | 7, 9 |  | `erm_all` | 55.0 | 50.0 |" in both[4]
    assert "| `erm_all` | 55.0 | 55.0 |" in lines("beside one=r.csv other=r.csv")
    assert "| all | 53.00 | 53.00 | +0.00 (-) | 1.00 | 2 |" in lines("paired\nall r.csv r.csv")
    for wrong, message in (
        ("nothing r.csv", "unknown kind of table 'nothing'"),
        ("methods r.csv r.csv", "hold a method and seed twice"),
        ("methods", "kind methods: the following arguments are required: files"),
        ("methods r.csv --columns=mean,med", "no column 'med'; there are mean, n, seeds, test"),
    ):
        with pytest.raises(ValueError, match=message):
            lines(wrong)
    with pytest.raises(ValueError, match="a table has no end"):
        doc_tables.written("<!-- table: methods r.csv -->\n")

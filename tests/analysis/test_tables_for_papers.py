"""Tables of a user's own methods, comparisons in every format, and LaTeX that a paper can take."""

import io
import json
import shutil
import subprocess

import pandas as pd
import pytest

from seqfinal_jax.analysis.figures.method_chart import _rows
from seqfinal_jax.analysis.tables import command, labels, latex
from seqfinal_jax.analysis.tables.results_table import results_table
from seqfinal_jax.results.sealed import record_digest
from tests.analysis.run_folders import make_run_folder

OWN = {
    "method": "my_method", "column": "Mine", "legend": "my own method", "family": "history, then adapt",
    "comparable": True,
}  # fmt: skip
BASE = {"erm_final": 0.50, "oracle": 0.70, "erm_all": 0.20, "erm_fine_tune": 0.60, "my_method": 0.64}


def relabel(workdir, label):
    """Says in the results how a method is called whose file is not loaded."""
    for path in workdir.glob(f"cells/{label['method']}/*/*/result.json"):
        result = json.loads(path.read_text())
        result["label"] = label
        if "record" in result:
            result["record"] = record_digest(result)
        path.write_text(json.dumps(result))


@pytest.fixture
def run(tmp_path):
    """Eight seeds, each a little better than the last, and a user's own method whose file is nowhere."""
    found = {
        (m, a, s): mean + 0.002 * s + 0.001 * (s % 3) * (m != "erm_final")
        for m, mean in BASE.items()
        for a in ("convnet-1", "resnet-1")
        for s in range(8)
    }
    workdir = make_run_folder(tmp_path / "run", found, tuple(BASE), tuple(range(8)))
    relabel(workdir, OWN)
    yield workdir
    labels._read.clear()


def shown(capsys, *arguments):
    assert command.main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


def test_the_published_layout_takes_a_users_own_method(run, capsys):
    """It said "unknown method"; the run folder has the column and the family."""
    first, second = shown(capsys, run, "--layout=paper", "--format=markdown").split("\n\n")[:2]
    heads = [part.strip() for part in first.splitlines()[0].split("|")]
    assert "Mine" in heads and "Mine" not in second
    assert ".64" in first.splitlines()[2] or ".65" in first.splitlines()[2]


def test_a_users_own_method_stands_in_the_chart_with_its_family(run):
    rows = _rows(results_table(run).methods)
    order = list(rows)
    assert order.index("my_method") == order.index("erm_fine_tune") + 1
    assert rows["my_method"] - rows["erm_fine_tune"] == 1  # no heading between them


@pytest.mark.parametrize("name", ["erm_final", "Final", "final", "ERM final"])
def test_a_reference_has_many_names(run, capsys, name):
    said = shown(capsys, run, f"--against={name}")
    assert "minus that of ERM final" in said and "my own method: +14" in said


def test_an_unknown_name_gets_its_nearest(run, capsys):
    assert command.main([str(run), "--against=Finale"]) == 2
    assert "unknown method 'Finale'; did you mean 'Final'?" in capsys.readouterr().err


def test_comparisons_in_every_format(run, capsys):
    """--format was ignored beside --against."""
    frame = pd.read_csv(io.StringIO(shown(capsys, run, "--against=Final", "--format=csv")))
    own = frame[(frame["method"] == "my_method") & (frame["architecture"] == "convnet-1")].iloc[0]
    assert own["difference"] == pytest.approx(0.14 + 0.001 * (3 + 3 * 2 - 2) / 8, abs=2e-4) and own["n"] == 8
    assert own["p"] == pytest.approx(2 / 256)  # all of eight differences have one sign
    text = shown(capsys, run, "--against=Final", "--format=markdown")
    assert "| Mine | 8 | +14." in text and "**convnet-1: every method against Final**" in text
    tex = shown(capsys, run, "--against=Final", "--format=latex")
    assert tex.count(r"\begin{tabular}") == 2 and "Mine & 8 & +14." in tex


def test_methods_are_chosen_and_ordered(run, capsys):
    for style in ("terminal", "markdown", "latex"):
        said = shown(capsys, run, "--methods=Mine,erm_final", f"--format={style}")
        assert said.index("Mine") < said.index("Final") and "FT" not in said.split("selection")[0]
    assert "my_method" in shown(capsys, run, "--ids", "--format=markdown")
    assert (
        "Mine" not in shown(capsys, run, "--ids", "--format=latex", "--methods=Mine").split(r"\bottomrule")[0]
    )


def test_the_best_is_bold_and_claims_are_marked(run):
    """Without the oracle; Mine is better than Final on all eight seeds, and pooling is worse."""
    table = results_table(run)
    assert latex.best_methods(table, "convnet-1") == ["my_method"]
    lines = latex.to_latex(table).splitlines()
    rows = {line.split(" & ")[0]: line for line in lines if " & " in line}
    assert rows["Mine"].count(r"\textbf{64.") + rows["Mine"].count(r"\textbf{65.") == 2
    assert rows["Mine"].count(r"$^{*}$") == 2 and rows["ERM"].count(r"$^{\circ}$") == 2
    assert r"\textbf" not in rows["Oracle"] + rows["FT"] and "$^" not in rows["Oracle"]
    caption = next(line for line in lines if line.startswith(r"\caption"))
    assert len(caption) < 120 and "selection" not in caption
    assert any("selection: validation accuracy" in line for line in lines)


@pytest.mark.parametrize("notes", ["plain", "threeparttable"])
@pytest.mark.parametrize(
    "extra", [[], ["--layout=paper"], ["--against=Final"], ["--methods=Mine,Final", "--ids"]]
)
def test_latex_compiles_in_a_document_that_uses_booktabs(run, tmp_path, notes, extra):
    table = tmp_path / "table.tex"
    options = ["--format=latex", f"--notes={notes}", f"--out={table}", *extra]
    assert command.main([str(run), *options]) == 0
    text = table.read_text()
    assert text.count(r"\begin{") == text.count(r"\end{") and r"\toprule" in text
    assert (r"\begin{tablenotes}" in text) == (notes == "threeparttable")
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not there (Debian: texlive-latex-recommended, texlive-latex-extra)")
    packages = r"\usepackage{booktabs}" + (
        r"\usepackage{threeparttable}" if notes == "threeparttable" else ""
    )
    document = tmp_path / "document.tex"
    document.write_text(
        f"\\documentclass{{article}}{packages}\\begin{{document}}\\input{{table}}\\end{{document}}\n"
    )
    call = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]

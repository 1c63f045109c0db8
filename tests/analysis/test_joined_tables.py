"""Tables of several run folders, the published layout, LaTeX, and the published program's own files."""

import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from seqfinal_jax.analysis.plain_text import latex_text
from seqfinal_jax.analysis.tables import command, paper_layout, results_table
from seqfinal_jax.analysis.tables.comparisons import comparison_lines
from seqfinal_jax.results.run_folder import RunFolderError
from tests.analysis.run_folders import make_run_folder

ROW = ("erm_final", "oracle", "erm_all", "erm_fine_tune", "sequential_fine_tune")


def accuracies(seeds, shift=0.0, architectures=("convnet-1", "resnet-1")):
    base = dict(zip(ROW, (0.40, 0.60, 0.30, 0.45, 0.435), strict=True))
    return {
        (method, architecture, seed): base[method]
        + shift
        + 0.01 * (seed % 3)
        + 0.02 * (architecture == "resnet-1")
        for method in ROW
        for architecture in architectures
        for seed in seeds
    }


@pytest.fixture
def two(tmp_path):
    return [
        make_run_folder(tmp_path / str(place), accuracies(seeds))
        for place, seeds in enumerate([(0, 1), (2, 3, 4)])
    ]


def test_folders_are_joined(two):
    table = results_table.results_table(two)
    entry = table.entries["erm_fine_tune", "convnet-1"]
    assert entry.done == 5 and table.seeds == [0, 1, 2, 3, 4]
    assert entry.mean == pytest.approx(0.45 + 0.01 * (0 + 1 + 2 + 0 + 1) / 5)


def test_a_cell_in_two_folders_counts_once_and_must_be_the_same(two, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(two[0], again)
    assert results_table.results_table([*two, again]).entries["oracle", "resnet-1"].done == 5
    other = make_run_folder(tmp_path / "other", accuracies((1,), shift=0.05))
    with pytest.raises(RunFolderError, match=r"both hold .* seed 1, with other results"):
        results_table.results_table([*two, other])


def test_other_sequences_are_not_joined(two, tmp_path):
    other = make_run_folder(tmp_path / "other", accuracies((7,)), sequence="another")
    with pytest.raises(RunFolderError, match="several values of sequence"):
        results_table.results_table([*two, other])


def test_marks_and_missing_cells_of_the_published_layout(two):
    cells = results_table.joined_cells(two)
    cells = cells[~((cells["method"] == "erm_all") & (cells["architecture"] == "resnet-1"))]
    table = paper_layout.paper_table(cells)
    assert table.rows == ("Conv-1", "Res-1", "Mean", "Std dev") and table.rules == ("Conv-1", "Res-1")
    shown = {key: (cell.shown(), cell.mark) for key, cell in table.cells.items()}
    assert shown["Conv-1", "erm_fine_tune"] == (".46", paper_layout.BOLD)
    assert shown["Conv-1", "sequential_fine_tune"] == (".44", paper_layout.BOLD)
    assert shown["Conv-1", "erm_all"] == (".31", paper_layout.PLAIN) and shown["Res-1", "erm_all"] == ("", 0)
    assert shown["Conv-1", "oracle"][1] == paper_layout.PLAIN
    assert shown["Conv-1", "erm_side_tune"][0] == "---" and shown["Conv-1", "erm_side_tune_block"][0] == ""
    assert shown["Mean", "erm_fine_tune"] == (".47", paper_layout.BOLD)
    assert (
        table.halves[0][4:6] == ("erm_fine_tune", "erm_linear_probe_fine_tune")
        and table.halves[1][-1] == "oracle"
    )
    assert any("ERM 1" in line for line in table.captions)
    assert "**.46**" in paper_layout.to_markdown(table) and "(.01)" in paper_layout.to_markdown(
        table, with_spread=True
    )


def test_bold_compares_on_the_seeds_that_methods_share():
    """FT has seeds 0 and 1, Final a third of 0.9: over their own seeds Final would be the best, and alone bold."""
    cells = pd.DataFrame(
        [
            *(("convnet-1", "erm_final", seed, value) for seed, value in enumerate((0.5, 0.5, 0.9))),
            *(("convnet-1", "erm_fine_tune", seed, 0.6) for seed in range(2)),
        ],
        columns=["architecture", "method", "seed", "test_accuracy"],
    )
    table = paper_layout.paper_table(cells)
    assert table.cells["Conv-1", "erm_fine_tune"].mark == paper_layout.BOLD
    assert table.cells["Conv-1", "erm_final"].mark == paper_layout.PLAIN
    assert "bold and bold italic compare on the seeds that the methods of a row share" in table.captions


def test_near_the_oracle_is_bold_italic():
    cells = pd.DataFrame(
        [("convnet-1", m, 0, a) for m, a in (("erm_final", 0.5), ("oracle", 0.6), ("erm_fine_tune", 0.585))],
        columns=["architecture", "method", "seed", "test_accuracy"],
    )
    table = paper_layout.paper_table(cells)
    assert table.cells["Conv-1", "erm_fine_tune"].mark == paper_layout.BOLD_ITALIC
    assert r"\textbf{\textit{.58}}" in paper_layout.to_latex(table)


@pytest.mark.parametrize("layout", ["long", "paper"])
def test_latex_compiles(two, tmp_path, layout):
    table = tmp_path / "table.tex"
    assert command.main([*map(str, two), f"--layout={layout}", "--format=latex", f"--out={table}"]) == 0
    assert r"\toprule" in table.read_text()
    assert ("Res-1" if layout == "paper" else "resnet-1") in table.read_text()
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not there")
    document = tmp_path / "document.tex"
    document.write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table}\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name],
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_every_format_of_the_command(two, tmp_path, capsys):
    for layout in ("long", "paper"):
        for style in command.FORMATS:
            assert command.main([*map(str, two), f"--layout={layout}", f"--format={style}"]) == 0
            assert "FT" in capsys.readouterr().out
    csv = tmp_path / "t.csv"
    assert command.main([*map(str, two), "--layout=paper", "--format=csv", f"--out={csv}"]) == 0
    frame = pd.read_csv(csv).set_index(["row", "method"])
    assert frame.loc[("Res-1", "erm_all"), "mean"] == pytest.approx(0.30 + 0.02 + 0.008)


def test_comparisons_claim_only_what_seeds_allow(tmp_path):
    few = make_run_folder(tmp_path / "few", accuracies(range(4), architectures=("convnet-1",)))
    lines = comparison_lines(results_table.joined_cells([few]), "erm_final")
    fine = next(line for line in lines if "fine-tune" in line)
    assert fine.endswith("+5.0 [no interval], p = 0.125, n = 4, planned: none: 6 seeds could support one")
    two = make_run_folder(tmp_path / "two", accuracies(range(2), architectures=("convnet-1",)))
    lines = comparison_lines(results_table.joined_cells([two]), "erm_final")
    assert any(line.endswith("fine-tune: +5.0 [no interval], p = 0.5, n = 2, planned: none: 6 seeds could support one")
               for line in lines)  # fmt: skip
    one = make_run_folder(tmp_path / "one", accuracies(range(1), architectures=("convnet-1",)))
    lines = comparison_lines(results_table.joined_cells([one]), "erm_final")
    assert any(line.endswith("fine-tune: +5.0 (n = 1: no spread and no claim)") for line in lines)
    many = make_run_folder(tmp_path / "many", accuracies(range(8), architectures=("convnet-1",)))
    fine = next(
        line
        for line in comparison_lines(results_table.joined_cells([many]), "erm_final")
        if "fine-tune" in line
    )
    assert fine.endswith("+5.0 [+5.0, +5.0], p = 0.00781, n = 8, planned: better")
    with pytest.raises(ValueError, match="no cell of 'joint'"):
        comparison_lines(results_table.joined_cells([many]), "joint")


def test_the_smallest_difference_is_that_of_the_run(tmp_path, capsys):
    run = make_run_folder(tmp_path / "run", accuracies(range(8), architectures=("convnet-1",)))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "analysis": {"smallest_difference": 6.0}}))
    assert command.main([str(run), "--against=erm_final"]) == 0
    fine = next(line for line in capsys.readouterr().out.splitlines() if "fine-tune" in line)
    assert "+5.0" in fine and fine.endswith("n = 8, planned: none")


def metrics(folder, method, setup, accuracy, seed=1007, model="resnet 2 blocks"):
    folder.mkdir(parents=True)
    pd.DataFrame(
        [{"Model": model, "Method": method, "Shift sequence": setup, "Seed": seed, "Test accuracy": accuracy}]
    ).to_csv(folder / "metrics.csv")
    return folder


def test_the_published_programs_files(tmp_path, capsys):
    setup = "source6000:rotation4000:rotation6000:rotation"
    rows = (
        ("erm_final_4000_samples", "4000", 0.41), ("erm_final_20000_samples", "20000", 0.62),
        ("erm_fine_tune", "4000", 0.5), ("sequential_fine_tune", "4000", 0.48),
        ("sequential_fine_tune_linear_lr_decay", "4000", 0.52),
    )  # fmt: skip
    for method, size, accuracy in rows:
        metrics(tmp_path / method, method, f"{setup}{size}", accuracy)
    assert command.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "| Res-2 | .41 |" in said and "SFT is empty: metrics.csv has no validation accuracy" in said
    assert command.main([str(tmp_path), "--select=test"]) == 0
    said = capsys.readouterr().out
    assert "best TEST accuracy" in said and "| Res-2 | **.52** |" in said
    metrics(tmp_path / "mixed", "erm_all", "source6000:recolor4000", 0.3)
    assert command.main([str(tmp_path)]) == 2
    assert "several sequences" in capsys.readouterr().err


def test_numbers_are_those_of_the_cells(two):
    cells = results_table.joined_cells(two)
    table = paper_layout.paper_table(cells)
    for architecture, row in (("convnet-1", "Conv-1"), ("resnet-1", "Res-1")):
        for method in ROW:
            own = cells[(cells["architecture"] == architecture) & (cells["method"] == method)][
                "test_accuracy"
            ]
            assert np.isclose(table.cells[row, method].mean, own.mean())
            assert np.isclose(table.cells[row, method].spread, own.std(ddof=1))
    assert latex_text("50 % & a_b") == r"50 \% \& a\_b"

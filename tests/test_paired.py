"""The comparison of two runs of the same cells, against a hand-worked example."""

import pandas as pd
import pytest

from benchmarks.paired import line, main, paired_cells


def run(*rows):
    return pd.DataFrame(rows, columns=["method", "architecture", "seed", "test_accuracy"])


ONE = run(
    ("a", "n", 0, 0.50), ("a", "n", 1, 0.60), ("b", "n", 0, 0.70), ("b", "n", 1, 0.80), ("c", "n", 0, 0.1)
)
OTHER = run(
    ("a", "n", 1, 0.58), ("a", "n", 0, 0.49), ("b", "n", 0, 0.67), ("b", "n", 1, 0.82), ("a", "m", 0, 0.1)
)


def test_cells_that_both_have_are_paired_whatever_their_order():
    found = paired_cells(ONE, OTHER)
    assert found["one"].tolist() == [0.50, 0.60, 0.70, 0.80]
    assert found["other"].tolist() == [0.49, 0.58, 0.67, 0.82]


def test_a_seed_counts_once_with_its_mean_over_the_methods():
    """Seed 0: 0.60 against 0.58; seed 1: 0.70 against 0.70. The mean difference is one point."""
    cells = line("all", paired_cells(ONE, OTHER)).split(" | ")
    assert cells[:3] == ["| all", "65.00", "64.00"]
    assert cells[3].startswith("+1.00 (") and cells[-1] == "2 |"
    assert float(cells[4]) == pytest.approx(1.0)


def test_runs_without_a_common_cell_are_refused(tmp_path, monkeypatch):
    paths = [tmp_path / "one.csv", tmp_path / "other.csv"]
    for path, frame in zip(paths, (run(("a", "n", 0, 0.5)), run(("a", "n", 1, 0.5))), strict=True):
        frame.to_csv(path, index=False)
    monkeypatch.setattr("sys.argv", ["paired", *map(str, paths)])
    with pytest.raises(SystemExit, match="have no cell of the same method and seed"):
        main()

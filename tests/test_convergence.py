"""The doubling test: worked examples, and a tiny run of the whole command."""

import subprocess
import sys

import pandas as pd
import pytest

from benchmarks.convergence import changes, report, turned


def cells(**accuracies: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"architecture": "convnet-1", "method": method, "seed": seed, "test_accuracy": value}
            for method, values in accuracies.items()
            for seed, value in enumerate(values)
        ]
    )


def test_means_that_move_and_signs_that_turn_by_hand():
    once = cells(erm_final=[0.40, 0.42], erm_all=[0.39, 0.41], erm_fine_tune=[0.50, 0.50])
    twice = cells(erm_final=[0.40, 0.44], erm_all=[0.44, 0.44], erm_fine_tune=[0.50, 0.51])
    rows = changes(once, twice)
    assert [(row.method, row.holds) for row in rows] == [
        ("erm_final", True), ("erm_all", False), ("erm_fine_tune", True),
    ]  # fmt: skip
    assert [(one.method, other.method) for one, other in turned(rows)] == [("erm_final", "erm_all")]
    text = report(rows, (2000, 500))
    assert "| Final (`erm_final`) | 41.0 | 42.0 | +1.0 | 2 |" in text
    assert "moves these means by more than one point: erm_all on convnet-1" in text


def test_differences_within_a_point_may_turn():
    once, twice = cells(erm_final=[0.400], erm_all=[0.405]), cells(erm_final=[0.405], erm_all=[0.400])
    assert turned(changes(once, twice)) == []
    assert "turns no sign" in report(changes(once, twice), (1, 1))


@pytest.mark.rare
def test_the_command_runs_both_budgets_and_draws(tmp_path):
    command = [
        sys.executable, "-m", "benchmarks.convergence", "--config=configs/digits_rcl.py:smoke",
        f"--workdir={tmp_path}", "--budget=4,2", "--config.seeds=0,1", "--config.methods=erm_final,erm_fine_tune",
    ]  # fmt: skip
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "| convnet-1 | Final (`erm_final`) |" in said
    assert {path.name for path in tmp_path.iterdir()} >= {
        "1x",
        "2x",
        "convergence.md",
        "convergence.csv",
        "convergence.png",
    }

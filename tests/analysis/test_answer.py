"""The answer in two sentences."""

import math

import pandas as pd
import pytest

from seqfinal_jax.analysis.answer import answers
from seqfinal_jax.analysis.report import report_run
from tests.analysis.run_folders import make_run_folder


def cells(n, **methods):
    """Each method's (validation, test) accuracy; seeds move all alike, and the method a little."""
    rows = []
    for method, (valid, test) in methods.items():
        for seed in range(n):
            common = 0.01 * (seed % 3)
            own = 0.002 * (-1) ** seed if method not in ("erm_final", "oracle") else 0
            rows.append(
                ("convnet-1", method, seed, valid + common, test + common + own, "validation accuracy")
            )
    columns = ["architecture", "method", "seed", "valid_accuracy", "test_accuracy", "selection"]
    return pd.DataFrame(rows, columns=columns)


FINAL, ORACLE = (0.40, 0.40), (0.60, 0.50)


def test_a_clear_gain_is_said_with_its_share_of_the_gap():
    [answer] = answers(
        cells(6, erm_final=FINAL, oracle=ORACLE, erm_fine_tune=(0.47, 0.44), erm_all=(0.3, 0.3))
    )
    assert answer.gain.method == "erm_fine_tune" and answer.gap == pytest.approx(0.4)
    first, second = answer.sentences
    assert first.startswith(
        "convnet-1: History is worth using here: ERM + fine-tune, the best of 2 ways by validation"
    )
    assert "4.0 points above the final step alone (95 % interval +3.9 to +4.1, p = 0.031, 6 seeds)" in first
    assert second.startswith("That closes 40 % of the gap")


def test_the_way_is_chosen_by_validation_accuracy_not_by_test():
    [answer] = answers(cells(6, erm_final=FINAL, erm_fine_tune=(0.47, 0.44), irm_fine_tune=(0.46, 0.49)))
    assert answer.gain.method == "erm_fine_tune" and math.isnan(answer.gap)


def test_few_seeds_make_no_claim():
    [answer] = answers(cells(3, erm_final=FINAL, oracle=ORACLE, erm_fine_tune=(0.47, 0.44)))
    assert "3 seeds do not suffice to say" in answer.sentences[0]
    assert "6 seeds or more could support a claim" in answer.sentences[1]
    [answer] = answers(cells(1, erm_final=FINAL, erm_fine_tune=(0.47, 0.44)))
    assert "one seed cannot say" in answer.sentences[0] and "interval" not in answer.sentences[0]


def test_history_that_hurts_and_differences_that_do_not_matter():
    [answer] = answers(cells(6, erm_final=FINAL, erm_fine_tune=(0.3, 0.33)))
    assert "History does not help here" in answer.sentences[0] and "7.0 points below" in answer.sentences[0]
    [answer] = answers(cells(6, erm_final=FINAL, erm_fine_tune=(0.47, 0.405)))
    assert "no difference can be claimed (the difference is under 1 point)" in answer.sentences[0]


def test_what_was_not_run_is_named():
    [answer] = answers(cells(2, erm_fine_tune=(0.47, 0.44)))
    assert answer.sentences == (
        "convnet-1: no answer, because the final step alone (erm_final) was not run.",
    )
    [answer] = answers(cells(2, erm_final=FINAL, oracle=ORACLE))
    assert "a method that uses history was not run" in answer.sentences[0]


def test_the_report_begins_with_it(tmp_path, capsys):
    accuracies = {
        (method, "convnet-1", seed): base
        + 0.01 * (seed % 3)
        + 0.001 * (-1) ** seed * (method == "erm_fine_tune")
        for method, base in (("erm_final", 0.4), ("oracle", 0.5), ("erm_fine_tune", 0.45))
        for seed in range(6)
    }
    workdir = make_run_folder(tmp_path / "run", accuracies, seeds=tuple(range(6)))
    report_run(workdir)
    said = (
        "convnet-1: History is worth using here: ERM + fine-tune, the only way that was run, reaches 46.0 %"
    )
    assert said in capsys.readouterr().out.replace("\n", " ")
    page = (workdir / "report" / "index.html").read_text()
    assert said in page and page.index("History is worth") < page.index('id="results"')

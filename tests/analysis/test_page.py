"""What a report says beside the means, by hand."""

import json
import math

import pandas as pd
import pytest

from seqfinal_jax.analysis import report
from seqfinal_jax.analysis.answer import answers
from seqfinal_jax.analysis.page.comparisons import differences, sampling_note, standings
from seqfinal_jax.analysis.tables.comparisons import comparison_lines, judged_comparisons
from seqfinal_jax.analysis.tables.costs import costs, mean_costs
from seqfinal_jax.analysis.tables.results_table import results_table
from tests.analysis.run_folders import make_run_folder


def cells(**methods):
    """Test accuracies of each method by seed, None where a seed lacks."""
    rows = [
        ("convnet-1", method, seed, value, value, 100, 20, "validation accuracy")
        for method, values in methods.items()
        for seed, value in enumerate(values)
        if value is not None
    ]
    columns = (
        "architecture",
        "method",
        "seed",
        "test_accuracy",
        "valid_accuracy",
        "n_test",
        "n_valid",
        "selection",
    )
    return pd.DataFrame(rows, columns=list(columns))


def test_standings_by_hand():
    """Gaps closed 0.5, 1, -0.5, 0.25; a fifth cell has a gap of 1 point. The middle half of four values is two."""
    found = standings(
        cells(
            erm_final=[0.4, 0.4, 0.4, 0.4, 0.4],
            oracle=[0.5, 0.5, 0.5, 0.5, 0.41],
            erm_fine_tune=[0.45, 0.5, 0.35, 0.425, 0.4],
            erm_all=[0.3, 0.3, 0.3, 0.445, None],
        )
    )
    rows = {row.method: row for row in found.rows}
    assert list(rows) == ["erm_final", "erm_all", "erm_fine_tune"]  # the oracle is not compared
    tuned = rows["erm_fine_tune"]
    assert tuned.gap == pytest.approx((0.25 + 0.5) / 2) and tuned.gap_cells == 4 and found.small_gaps == 1
    assert tuned.improvement == pytest.approx((3 + 0.5) / 5) and tuned.paired_cells == 5
    # Four cells have all three methods: ranks 1, 1, 2, 2; best in two, 5 points and 2 points behind in the others.
    assert found.shared == 4 and tuned.rank == pytest.approx(1.5)
    assert tuned.within == pytest.approx((0.5, 0.5, 0.75))
    assert math.isnan(rows["erm_final"].gap) and rows["erm_final"].rank == pytest.approx((2 + 2 + 1 + 3) / 4)


def test_there_are_no_standings_without_the_final_step_alone():
    assert standings(cells(erm_all=[0.3], erm_fine_tune=[0.4])) is None
    assert differences(cells(erm_all=[0.3], erm_fine_tune=[0.4]), 0.01) == {}


def test_methods_without_shared_cells_have_no_rank():
    found = standings(cells(erm_final=[0.4, None], erm_fine_tune=[None, 0.5]))
    assert found.shared == 1 and found.apart == ("erm_fine_tune",)
    assert [math.isnan(row.rank) for row in found.rows] == [False, True]


def test_differences_by_hand():
    """Six equal signs of one method: p = 2 / 64; one seed supports nothing."""
    tuned = [0.45, 0.46, 0.47, 0.45, 0.46, 0.47]
    [row] = differences(cells(erm_final=[0.4] * 6, erm_fine_tune=tuned), 0.01)["convnet-1"].rows
    assert (row.difference, row.p, row.adjusted, row.n, row.claim) == ("+6.0", "0.031", "0.031", 6, "better")
    assert (row.interval, row.kind) == ("+5.0 to +7.0", "planned")
    [row] = differences(cells(erm_final=[0.4], erm_fine_tune=[0.5]), 0.01)["convnet-1"].rows
    assert (row.difference, row.interval, row.claim) == ("+10.0", "–", "none: one seed has no spread")
    [row] = differences(cells(erm_final=[0.4] * 5, erm_fine_tune=tuned[:5]), 0.01)["convnet-1"].rows
    assert (row.interval, row.p, row.claim) == ("–", "0.062", "none: 6 seeds could support one")


TUNED = [0.45, 0.46, 0.47, 0.45, 0.46, 0.47]
LOWER = [value - 0.01 for value in TUNED]


def test_the_planned_comparison_is_alone_and_the_others_are_adjusted_without_the_oracle():
    """Two explored ways: p = 2 / 64 each, twice that by Holm. The oracle's p is not adjusted, and it claims nothing."""
    table = cells(
        erm_final=[0.4] * 6, oracle=[0.5] * 6, erm_all=LOWER, erm_fine_tune=TUNED, irm_fine_tune=LOWER
    )
    rows = {row.method: row for row in differences(table, 0.01)["convnet-1"].rows}
    assert [row.kind for row in rows.values()] == ["reference", "explored", "planned", "explored"]
    assert rows["erm_fine_tune"].adjusted == "0.031" and rows["erm_fine_tune"].claim == "better"
    for name in ("erm_all", "irm_fine_tune"):
        assert (rows[name].p, rows[name].adjusted) == ("0.031", "0.062")
        assert rows[name].claim == "none: 7 seeds could support one"
    assert (rows["oracle"].p, rows["oracle"].adjusted) == ("0.031", "–")
    assert rows["oracle"].claim == "none: has other data"


@pytest.mark.parametrize("architectures", [1, 2, 3])
@pytest.mark.parametrize("seeds", [5, 6, 7])
def test_the_head_of_the_page_and_the_table_never_contradict_each_other(architectures, seeds):
    ways = {"erm_all": (2 * LOWER)[:seeds], "erm_fine_tune": (2 * TUNED)[:seeds]}
    own = cells(erm_final=[0.4] * seeds, oracle=[0.5] * seeds, **ways)
    table = pd.concat([own.assign(architecture=f"convnet-{n}") for n in range(1, architectures + 1)])
    claimed = {5: (), 6: (1,), 7: (1, 2, 3)}[seeds]  # 2 / 2^n times the number of architectures
    for answer in answers(table):
        rows = differences(table, 0.01)[answer.architecture].rows
        [planned] = [row for row in rows if row.kind == "planned"]
        assert planned.method == answer.gain.comparison.method
        assert planned.claim == answer.gain.claim
        assert (planned.claim == "better") == (architectures in claimed)
        assert ("History is worth using here" in answer.sentences[0]) == (planned.claim == "better")


def test_architectures_stay_in_the_order_of_the_cells():
    """By name convnet-10 would come first."""
    own = cells(erm_final=[0.4] * 6, erm_fine_tune=TUNED)
    table = pd.concat([own.assign(architecture=name) for name in ("convnet-2", "convnet-10")])
    assert list(differences(table, 0.01)) == ["convnet-2", "convnet-10"]
    assert [answer.architecture for answer in answers(table)] == ["convnet-2", "convnet-10"]


def test_claims_of_either_sign_and_none():
    [row] = differences(cells(erm_final=[0.5] * 6, erm_fine_tune=TUNED), 0.01)["convnet-1"].rows
    assert row.claim == "worse"
    mixed = [0.45, 0.46, 0.47, 0.45, 0.46, 0.35]
    [row] = differences(cells(erm_final=[0.4] * 6, erm_fine_tune=mixed), 0.01)["convnet-1"].rows
    assert row.claim == "none"


def test_the_reference_is_that_of_the_answer_and_otherwise_the_final_step_alone():
    both = cells(erm_final=[0.4] * 6, erm_final_long=[0.42] * 6, erm_fine_tune=TUNED)
    found = differences(both, 0.01)["convnet-1"]
    assert found.reference == "erm_final_long" and [row.method for row in found.rows] == [
        "erm_final", "erm_fine_tune",
    ]  # fmt: skip
    found = differences(cells(erm_final=[0.4] * 6, oracle=[0.5] * 6), 0.01)["convnet-1"]
    assert found.reference == "erm_final" and [row.kind for row in found.rows] == ["reference"]
    assert differences(cells(erm_final=[0.4, None], erm_fine_tune=[None, 0.5]), 0.01) == {}


def test_comparisons_as_lines_of_text():
    table = cells(
        erm_final=[0.4] * 6, oracle=[0.5] * 6, erm_all=LOWER, erm_fine_tune=TUNED, irm_fine_tune=LOWER
    )
    assert comparison_lines(table, "erm_final")[1:] == [
        "  ERM final oracle: +10.0 [+10.0, +10.0], p = 0.0312, n = 6: reference, no candidate",
        "  ERM all: +5.0 [+4.0, +6.0], p = 0.0312 (0.0625 by Holm), n = 6, explored: none: 7 seeds could support one",
        "  ERM + fine-tune: +6.0 [+5.0, +7.0], p = 0.0312, n = 6, planned: better",
        "  IRM + fine-tune: +5.0 [+4.0, +6.0], p = 0.0312 (0.0625 by Holm), n = 6, explored: none: 7 seeds could support "
        "one",
    ]  # fmt: skip


def test_against_another_reference_no_comparison_is_planned():
    table = cells(erm_final=[0.4] * 6, erm_all=LOWER, erm_fine_tune=TUNED)
    found = judged_comparisons(table, reference="erm_all")["convnet-1"]
    assert [(each.comparison.method, each.kind, each.together) for each in found] == [
        ("erm_final", "explored", 2), ("erm_fine_tune", "explored", 2),
    ]  # fmt: skip


def test_a_method_that_lacks_cells_takes_ranks_from_no_other():
    """ERM has one cell of six: the others are ranked on the six that they share."""
    found = standings(cells(erm_final=[0.4] * 6, erm_all=[0.3] + [None] * 5, erm_fine_tune=TUNED))
    ranks = {row.method: row.rank for row in found.rows}
    assert found.shared == 6 and found.apart == ("erm_all",) and math.isnan(ranks["erm_all"])
    assert (ranks["erm_final"], ranks["erm_fine_tune"]) == (2, 1)


def test_the_noise_of_a_test_set_by_hand():
    """sqrt(0.5 * 0.5 / 100) = 0.05."""
    assert "(100 samples) gives a single accuracy near 50 % a standard error of 5.0 points" in sampling_note(
        cells(erm_final=[0.5])
    )


def test_costs_by_hand():
    """Two methods share a history of 100 passes; the whole run took 100 + 10 + 30."""
    place = {"architecture": "convnet-1", "seed": 0}
    records = [
        {**place, "method": "a", "forward_passes": {"history": 100.0, "a": 10.0}},
        {**place, "method": "b", "forward_passes": {"history": 100.0, "b": 30.0}},
        {**place, "method": "old"},
    ]
    found = costs(records).set_index("method")
    assert found["alone"].to_dict() == {"a": 110, "b": 130}
    assert found["shared"].to_dict() == {"a": 60, "b": 80} and found["shared"].sum() == 140
    assert mean_costs(records).loc[("convnet-1", "b"), "alone"] == 130


def add_to(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_answer_says_what_the_way_costs(tmp_path):
    run = make_run_folder(
        tmp_path / "run", {(m, "convnet-1", 0): a for m, a in (("erm_final", 0.4), ("erm_fine_tune", 0.5))}
    )
    for method, passes in (("erm_final", {"f": 20.0}), ("erm_fine_tune", {"h": 40.0, "t": 20.0})):
        add_to(run / "cells" / method / "convnet-1" / "seed0" / "result.json", forward_passes=passes)
    assert (
        "takes 3.0 times the computation of the final step alone"
        in report.run_answer(run, results_table(run))[0]
    )
    *_, page = report.write_report(run)
    assert (run / "figures" / "cost.png").is_file() and "Cost against accuracy" in page.read_text()


def test_settings_beside_the_file_stand_in_title_page_and_tables(workdir):
    command = {"config": "configs/digits_rcl.py:quick", "set": {"training.patience": 10, "seeds": [0, 1]}}
    add_to(workdir / "environment.json", command=command)
    table = results_table(workdir)
    assert table.title.endswith("protocol corrected, with training.patience=10")
    text = report.write_report(workdir)[-1].read_text()
    assert "Other settings than those of the configuration file: training.patience=10" in text
    assert "Configuration file: configs/digits_rcl.py:quick; set besides: training.patience=10." in text


def test_the_page_shows_best_epochs_and_epochs_allowed(workdir):
    """Made-up results of an earlier version: best epoch 4, and no word of the epochs allowed."""
    text = report.write_report(workdir)[-1].read_text()
    assert "Best epoch / epochs allowed of Final, mean over seeds:\nfinal: 4 / –." in text
    assert "<td>history: 4 / –, tune: 4 / –</td>" in text


def test_folders_are_joined_in_one_report(tmp_path, capsys):
    runs = []
    for seed in range(2):
        accuracies = {("erm_final", "convnet-1", seed): 0.4, ("erm_fine_tune", "convnet-1", seed): 0.5}
        runs.append(str(make_run_folder(tmp_path / f"seed{seed}", accuracies, seeds=(seed,))))
    assert report.main(runs) == 2
    assert "name it with --out=DIR" in capsys.readouterr().err
    out = tmp_path / "joined"
    assert report.main([*runs, f"--out={out}"]) == 0
    text = (out / "index.html").read_text()
    assert "seeds: 0, 1" in text and 'href="results.csv"' in text and "first of 2 run folders" in text
    assert (out / "methods.png").is_file() and (out / "results.csv").read_text().count("\n") == 5

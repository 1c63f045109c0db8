"""Whether methods were trained to the end, by hand and by simulation."""

import math

import numpy as np
import pytest

from seqfinal_jax.analysis.tables import text
from seqfinal_jax.analysis.tables.results_table import results_table
from seqfinal_jax.analysis.tables.training_length import is_improving, training_length
from seqfinal_jax.runs.stage_lengths import late_gain
from tests.analysis.run_folders import make_cell, make_run_folder


def test_late_gains_by_hand():
    """Eight epochs: quarters of two; epoch 0 is the start."""
    rising = [0.1, 0.2, 0.3, 0.4, 0.4, 0.45, 0.55, 0.5, 0.54]
    assert late_gain(rising, 8) == pytest.approx((0.5 + 0.54) / 2 - (0.45 + 0.55) / 2)
    assert late_gain(rising, 9) == 0.0  # stopped before its last epoch
    assert late_gain([0.1, 0.2, 0.3, 0.9], 3) == 0.0  # no quarters
    assert late_gain([0.1, 0.2, 0.3, 0.4, 0.7], 4) == pytest.approx(0.3)
    assert late_gain([0.0, 0, 0, 0, 0.3, 0.4, 0.6], 6) == pytest.approx(0.2)  # quarters of one epoch
    assert late_gain([0.0, 0, 0.1, 0, 0.3, 0.4, 0.6], 4) == pytest.approx(0.3)  # of the epochs allowed


def test_quarters_of_050_and_052_in_every_seed_are_improving_at_one_point_and_not_at_three():
    curve = [0.1] + [0.4] * 10 + [0.50] * 5 + [0.52] * 5
    gains = np.full(6, late_gain(curve, 20))
    assert is_improving(gains, 0.01) and not is_improving(gains, 0.03)
    assert not is_improving(gains[:1], 0.01)  # one seed has no standard error


def test_both_thresholds_must_be_exceeded():
    """Standard error of 0 and 0.06: 0.03, so a mean of 0.03 is one of them; of 0.03 and 0.05 it is 0.01."""
    assert not is_improving(np.array([0.0, 0.06]), 0.01)
    assert is_improving(np.array([0.03, 0.05]), 0.01) and not is_improving(np.array([0.03, 0.05]), 0.04)
    assert not is_improving(np.array([-0.03, -0.05]), 0.01)


def flat_curve(random, epochs, patience):
    """Accuracies of 6 validation samples from a model that does not improve, until more misses than the patience."""
    curve, best, misses = [], -1.0, -1
    while len(curve) <= epochs and misses <= patience:
        curve.append(random.binomial(6, 0.5) / 6)
        misses = 0 if curve[-1] > best else misses + 1
        best = max(best, curve[-1])
    return curve


def share_flagged(patience, stages, comparisons=400, seeds=6, epochs=40):
    """How often one of the stages of a comparison is flagged although none improves."""
    random = np.random.default_rng(0)
    flagged = 0
    for _ in range(comparisons):
        gains = [
            np.array([late_gain(flat_curve(random, epochs, patience), epochs) for _ in range(seeds)])
            for _ in range(stages)
        ]
        flagged += any(is_improving(each, 0.01) for each in gains)
    return flagged / comparisons


def test_flat_noisy_curves_are_seldom_flagged():
    """Of 400 comparisons of FT with the final step alone, three stages that stop early, at most 1 of 20.

    A stage that never stops early is flagged about as often, two standard errors of six values being the 95 % point of
    Student's t; three such stages would be in 3 of 20, which is why fits of few validation samples need a patience.
    """
    assert share_flagged(patience=10, stages=3) <= 1 / 20
    assert share_flagged(patience=40, stages=1) <= 1 / 20


def improving_run(folder, gains, method="erm_fine_tune"):
    accuracies = {("erm_final", "convnet-1", seed): 0.4 for seed in range(len(gains))}
    run = make_run_folder(folder, accuracies, methods=("erm_final", method), seeds=tuple(range(len(gains))))
    for seed, gain in enumerate(gains):
        place = run / "cells" / method / "convnet-1" / f"seed{seed}"
        make_cell(
            place, method, "convnet-1", seed, 0.6, epochs=20, epochs_allowed=20, updates=320, late_gain=gain
        )
    return run


def test_the_length_of_a_method_by_hand(tmp_path):
    """Two stages of 320 updates, best epoch 18 of 20."""
    records = results_table(improving_run(tmp_path / "run", [0.02] * 6)).records
    found = training_length(records, "erm_fine_tune", "convnet-1", 0.01)
    assert (found.seeds, found.updates, found.untrained, found.improving) == (6, 640, 0, True)
    assert found.epochs == ("history: 18 / 20", "tune: 18 / 20") and found.gain == pytest.approx(0.02)
    assert not training_length(records, "erm_fine_tune", "convnet-1", 0.01, seeds=[3]).improving
    old = training_length(records, "erm_final", "convnet-1", 0.01)  # its results do not say
    assert math.isnan(old.updates) and math.isnan(old.gain) and not old.improving
    assert old.epochs == ("final: 4 / –",)


def test_a_dagger_marks_what_was_not_trained_to_the_end(tmp_path):
    run = improving_run(tmp_path / "run", [0.02] * 6)
    table = results_table(run)
    assert table.entries["erm_fine_tune", "convnet-1"].value == "60.0 ± 0.0 †"
    assert table.entries["erm_final", "convnet-1"].value == "40.0 ± 0.0"
    said = "† not trained to the end: raise config.training.least_updates"
    assert said in table.captions and f"- {said}" in text.to_markdown(table)
    assert r"60.0 $\pm$ 0.0 \dag{}" in text.to_latex(table)
    assert not any("†" in line for line in results_table(improving_run(tmp_path / "b", [0.0] * 6)).captions)


def test_results_csv_has_the_largest_late_gain(tmp_path):
    rows = text.write_results_csv(improving_run(tmp_path / "run", [0.02] * 2)).read_text().splitlines()
    assert rows[0].endswith(",precision,late_gain")
    assert rows[1].endswith(",highest,") and rows[3].endswith(",highest,0.02")

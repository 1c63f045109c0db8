"""Statistics, against numbers worked out by hand and other programs' definitions."""

import math

import numpy as np
import pytest
from scipy import stats

from seqfinal_jax.analysis import statistics as s


def test_sign_flips_by_hand():
    assert s.sign_flip_p(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert s.sign_flip_p(np.array([1.0, -2.0, 3.0])) == 6 / 8  # sums of 2 or more: 6, 4, 2, 2, 0, ...
    assert s.sign_flip_p(np.arange(1.0, 7.0)) == 2 / 64
    assert s.sign_flip_p(np.zeros(4)) == 1.0
    assert math.isnan(s.sign_flip_p(np.array([1.0])))


def test_sign_flips_agree_with_scipy():
    differences = np.random.default_rng(3).normal(0.4, 1, 9)
    other = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert s.sign_flip_p(differences) == pytest.approx(other.pvalue)


def test_many_differences_are_sampled():
    differences = np.random.default_rng(4).normal(0.35, 1, 30)
    t = stats.ttest_1samp(differences, 0).pvalue
    assert s.sign_flip_p(differences) == pytest.approx(t, abs=0.01)


def test_holm_by_hand():
    assert s.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert s.holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])
    assert s.holm([0.02, math.nan])[0] == 0.02 and math.isnan(s.holm([0.02, math.nan])[1])


def test_the_interval_covers_the_mean_as_often_as_it_says():
    random, covered = np.random.default_rng(0), 0
    for seed in range(200):
        low, high = s.bootstrap_interval(random.normal(1.0, 2.0, 12), 500, seed)
        covered += low <= 1.0 <= high
    assert 0.85 < covered / 200 < 0.99  # the bootstrap is a little short for 12 values


def test_intervals_without_spread():
    assert s.bootstrap_interval(np.array([0.2, 0.2, 0.2])) == (0.2, 0.2)
    assert all(map(math.isnan, s.bootstrap_interval(np.array([0.2]))))


def test_seeds_that_a_claim_needs():
    assert [s.seeds_needed(count) for count in (1, 2, 3, 4, 17)] == [6, 7, 7, 8, 10]


def accuracies(n, gain, noise=0.001):
    final = {seed: 0.4 + 0.01 * (seed % 3) for seed in range(n)}
    better = {seed: value + gain + noise * (-1) ** seed for seed, value in final.items()}
    return {"erm_final": final, "erm_fine_tune": better}


def test_a_difference_is_called_when_all_three_conditions_hold():
    [found] = s.compare(accuracies(6, 0.03), "erm_final", ["erm_fine_tune", "erm_final", "absent"])
    assert found.seeds == tuple(range(6)) and found.difference == pytest.approx(0.03)
    assert found.p == 2 / 64 and found.low > 0 and found.is_called()
    assert not found.is_called(smallest=0.05)
    [small] = s.compare(accuracies(6, 0.005), "erm_final", ["erm_fine_tune"])
    assert not small.is_called() and small.is_called(smallest=0.005)
    [few] = s.compare(accuracies(5, 0.03), "erm_final", ["erm_fine_tune"])
    assert few.p == 2 / 32 and not few.is_called()
    [one] = s.compare(accuracies(1, 0.03), "erm_final", ["erm_fine_tune"])
    assert math.isnan(one.low) and math.isnan(one.p) and not one.is_called()


def test_only_shared_seeds_are_compared():
    table = accuracies(6, 0.03)
    table["erm_final"].pop(2)
    [found] = s.compare(table, "erm_final", ["erm_fine_tune"])
    assert found.seeds == (0, 1, 3, 4, 5)


def test_gaps_by_hand():
    assert s.gap_closed(0.45, 0.40, 0.50) == pytest.approx(0.5)
    assert math.isnan(s.gap_closed(0.45, 0.40, 0.41))
    assert s.gap_closed(0.41, 0.40, 0.42) == pytest.approx(0.5)


def test_aggregates_by_hand():
    assert s.interquartile_mean([0, 1, 2, 3, 4, 5, 6, 100]) == pytest.approx(3.5)
    assert s.interquartile_mean([math.nan, 2.0]) == 2.0 and math.isnan(s.interquartile_mean([]))
    assert s.probability_of_improvement(np.array([3, 1, 2]), np.array([1, 1, 4])) == 0.5
    table = np.array([[0.5, 0.6], [0.4, 0.6], [0.3, 0.5]])
    assert s.mean_ranks(table).tolist() == [1.25, 1.75, 3.0]
    profile = s.regret_profile(table, np.array([0.0, 0.1, 0.2]))
    assert profile.tolist() == [[1, 1, 1], [0.5, 1, 1], [0, 0.5, 1]]
    assert s.sampling_error(0.5, 2500) == 0.01

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
    assert math.isnan(s.sign_flip_p(np.array([1.0]))) and s.sign_flip_p(np.array([1.0, 2.0])) == 2 / 4
    assert s.sign_flip_p(np.arange(1.0, 17.0)) == 2 / 2**16  # the most that are counted


def test_sign_flips_agree_with_scipy():
    differences = np.random.default_rng(3).normal(0.4, 1, 9)
    other = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert s.sign_flip_p(differences) == pytest.approx(other.pvalue)


def test_many_differences_are_sampled():
    differences = np.random.default_rng(4).normal(0.35, 1, 30)
    t = stats.ttest_1samp(differences, 0).pvalue
    assert s.sign_flip_p(differences) == pytest.approx(t, abs=0.01)
    clear = s.sign_flip_p(np.arange(1.0, 18.0))  # 100,000 changes of signs, and none, which counts itself
    assert round(100_001 * clear) == pytest.approx(100_001 * clear) and clear >= 1 / 100_001


def test_holm_by_hand():
    assert s.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert s.holm([0.5, 0.4]) == pytest.approx([0.8, 0.8]) and s.holm([0.6, 0.9]) == [1, 1]
    assert s.holm([0.02, math.nan])[0] == 0.02 and math.isnan(s.holm([0.02, math.nan])[1])


def shifts_not_rejected(differences):
    """The interval by bisection of the definition: the outermost shifts whose removal leaves p above 0.05."""
    mean, ends = differences.mean(), []
    for far in (differences.min() - 1, differences.max() + 1):
        near = mean
        for _ in range(60):
            middle = (near + far) / 2
            rejected = s.sign_flip_p(differences - middle) <= 0.05
            near, far = (near, middle) if rejected else (middle, far)
        ends.append(near)
    return ends


def test_the_interval_of_six_is_their_range_and_five_have_none():
    assert s.sign_flip_interval(np.array([0.03, -0.01, 0.05, 0.02, 0.04, 0.01])) == (-0.01, 0.05)
    assert all(map(math.isnan, s.sign_flip_interval(np.arange(1.0, 6.0))))
    assert all(map(math.isnan, s.sign_flip_interval(np.array([0.2]))))
    assert s.sign_flip_interval(np.full(6, 0.2)) == pytest.approx((0.2, 0.2))


def test_the_interval_of_seven_by_hand():
    """p of a shift is (2 + 2 k) / 128, where k splits in two parts have the shift between the parts' means.

    So k = 3 is the least that is accepted. Of 0, 1, 2, 4, 8, 16, 32 the three lowest means of a part are 0 {0}, 0.5
    {0, 1} and 1 {1}; the three highest are 32 {32}, 24 {16, 32} and 20 {8, 32}.
    """
    low, high = s.sign_flip_interval(np.array([0.0, 1, 2, 4, 8, 16, 32]))
    assert (low, high) == (1.0, 20.0)


@pytest.mark.parametrize("count", [6, 7, 9, 12, 20])
def test_the_interval_holds_the_shifts_that_the_test_does_not_reject(count):
    differences = np.random.default_rng(count).normal(0.3, 1, count)
    assert s.sign_flip_interval(differences) == pytest.approx(
        tuple(shifts_not_rejected(differences)), abs=1e-9
    )


def test_interval_and_p_never_disagree():
    """300 draws, half of them fractions of a test set of 500 samples, so that sums tie."""
    random, excluded = np.random.default_rng(0), 0
    for draw in range(300):
        differences = random.normal(random.choice([0.0, 0.02]), 0.02, random.integers(2, 14))
        if draw % 2:
            differences = np.round(500 * differences) / 500
        low, high = s.sign_flip_interval(differences)
        excludes = low > 0 or high < 0
        assert excludes == (s.sign_flip_p(differences) <= 0.05)
        excluded += excludes
    assert 50 < excluded < 250


def test_what_rounding_leaves_of_a_tie_is_a_tie():
    """0.1 + 0.2 - 0.3 is 5.6e-17 and not 0; a difference of 0 has either sign, so that p is 4 / 64."""
    differences = np.array([0.1 + 0.2 - 0.3, 0.02, 0.03, 0.04, 0.05, 0.06])
    assert differences[0] > 0 and s.sign_flip_p(differences) == 4 / 64
    assert s.sign_flip_interval(differences) == (0.0, 0.06)
    assert s.sign_flip_interval(-differences) == (-0.06, 0.0)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    """At least 95 % in expectation for symmetric differences; 94.7 % is the least that 1,500 draws may show here."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(1500):
        low, high = s.sign_flip_interval(random.normal(1.0, 2.0, 8))
        covered += low <= 1.0 <= high
    assert 0.94 < covered / 1500 < 0.98


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
    assert math.isnan(few.low)
    [one] = s.compare(accuracies(1, 0.03), "erm_final", ["erm_fine_tune"])
    assert math.isnan(one.low) and math.isnan(one.p) and not one.is_called()


def test_no_condition_of_a_claim_can_be_left_out():
    def called(low=0.01, high=0.05, adjusted=0.04, difference=0.03):
        return s.Comparison("m", "final", tuple(range(6)), difference, low, high, 0.04, adjusted).is_called()

    assert called() and called(low=-0.05, high=-0.01, difference=-0.03)
    assert not called(low=-0.01) and not called(low=0.0) and not called(low=math.nan, high=math.nan)
    assert not called(high=0.0, low=-0.05, difference=-0.03)
    assert not called(adjusted=0.06) and called(adjusted=0.05)
    assert not called(difference=0.009) and called(difference=0.01)


def test_comparisons_are_adjusted_together_and_keep_their_own_p():
    """Two methods with p = 2 / 64 each: Holm doubles both."""
    table = accuracies(6, 0.03)
    table["irm_fine_tune"] = {seed: value + 0.04 for seed, value in table["erm_final"].items()}
    found = s.compare(table, "erm_final", ["erm_fine_tune", "irm_fine_tune"])
    assert [each.p for each in found] == [2 / 64, 2 / 64]
    assert [each.adjusted for each in found] == [4 / 64, 4 / 64]
    assert not any(each.is_called() for each in found)
    [alone] = s.adjusted_together(found[:1])
    assert alone.adjusted == alone.p and alone.is_called()


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

import pytest

from seqfinal_jax.analysis.figures.log_axis import (
    log_ticks,
    on_log,
    round_ticks,
    set_log_axis,
    short_number,
    zero_place,
)
from seqfinal_jax.analysis.figures.palette import new_figure


def test_zero_lies_a_decade_below_the_smallest_positive_value():
    assert zero_place([0, 100, 0.5]) == 0.05
    assert zero_place([0]) == 1
    assert on_log([0, 0.5, 100], 0.05).tolist() == [0.05, 0.5, 100]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 0.01, 0.1, 1], [0.01, 0.1, 1]),
        ([0.5], [0.5]),
        ([1, 2, 10, 100], [1, 10, 100]),  # 1 and 2 would run into one another
        ([0], []),
    ],
)
def test_ticks_are_the_values_unless_they_are_too_near(values, ticks):
    assert log_ticks(values) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.01, 1, [0.01, 0.1, 1]), (2, 40, [3, 10, 30]), (1.5, 6, [2, 3, 4, 5, 6]), (5.1, 5.3, [5.1, 5.2, 5.3]),
        (1e-6, 1e6, [1e-6, 1e-4, 1e-2, 1, 1e2, 1e4, 1e6]),
    ],
)  # fmt: skip
def test_round_ticks_get_finer_where_the_range_is_small(low, high, ticks):
    assert round_ticks(low, high) == pytest.approx(ticks)


def test_numbers_are_short():
    numbers = (0, 1e-5, 0.001, 0.01, 0.5, 1, 1000, 1e4, 2.5e5, 1e6)
    assert " ".join(map(short_number, numbers)) == "0 1e-5 0.001 0.01 0.5 1 1000 1e4 2.5e5 1e6"


def test_zero_is_a_tick():
    axes = new_figure(4, 3).subplots()
    set_log_axis(axes, "y", [0.1, 1], zero=0.01)
    assert axes.get_yscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "0.1", "1"]
    assert axes.get_yticks().tolist() == [0.01, 0.1, 1]

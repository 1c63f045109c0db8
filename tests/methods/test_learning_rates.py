"""Learning rates that fall from time step to time step."""

import pytest

from seqfinal_jax.methods.recipes.learning_rates import decayed_rates


def test_the_worked_examples():
    exponential = [
        (2e-3, 1e-3, 5e-4, 2.5e-4), (2e-4, 1e-4, 5e-5, 2.5e-5), (2e-4, 1.5e-4, 1.125e-4, 8.4375e-5),
    ]  # fmt: skip
    linear = [(1e-3, 9e-4, 8e-4, 7e-4), (1e-4, 9e-5, 8e-5, 7e-5)]
    for decay, wanted in (("exponential", exponential), ("linear", linear)):
        for found, chain in zip(decayed_rates(decay, 4), wanted, strict=True):
            assert found == pytest.approx(chain, rel=1e-14)


def test_a_sequence_of_one_step_has_the_starting_rates():
    assert decayed_rates("exponential", 1) == ((2e-3,), (2e-4,), (2e-4,))


def test_linear_decay_allows_ten_time_steps():
    last = [chain[-1] for chain in decayed_rates("linear", 10)]
    assert last == pytest.approx([1e-4, 1e-5])
    message = "reaches 0 at time step 10, so it allows at most 10 time steps, and the sequence has 11"
    with pytest.raises(ValueError, match=message):
        decayed_rates("linear", 11)
    assert len(decayed_rates("exponential", 11)[0]) == 11


def test_an_unknown_decay():
    with pytest.raises(
        ValueError, match="unknown learning-rate decay 'exponental'; did you mean 'exponential'"
    ):
        decayed_rates("exponental", 4)
    with pytest.raises(ValueError, match="known: linear, exponential"):
        decayed_rates("none", 4)

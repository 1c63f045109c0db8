"""Successive halving: who stops at which rung, and that the winner's bits are those of the full grid."""

import numpy as np
import pytest

from seqfinal_jax.results.checkpoints import ProgressStore, SaveBudget
from seqfinal_jax.training.engine import programs
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.halving import most_epochs, rungs, staying
from seqfinal_jax.training.engine.members import FitSettings, winner
from tests.training.tiny import assert_equal, grid, member, tiny_problem

RULE = StopRule(16, 16, "best", "loss", search="halving")


def curve(*accuracies: float, losses: float = 1.0) -> dict[str, np.ndarray]:
    values = np.array(accuracies + accuracies[-1:] * (17 - len(accuracies)))
    return {"valid_accuracy": values, "valid_loss": np.full(17, losses)}


def test_rungs_are_shares_of_the_allowed_epochs_rounded_up():
    assert rungs(RULE) == (2, 4, 8)
    assert rungs(StopRule(20, search="halving")) == (3, 5, 10)
    assert rungs(StopRule(2, search="halving")) == (1,)
    assert rungs(StopRule(1, search="halving")) == ()
    assert rungs(StopRule(16)) == ()


def test_eight_curves_by_hand():
    """After 2 epochs four stay, after 4 two, after 8 one: ties by order, the one that diverged first of all."""
    curves = [
        curve(0.1, 0.5, 0.9),  # 0: leads, then diverges at epoch 3
        curve(0.1, 0.2, 0.3, 0.4, 0.5),  # 1: slow, and in time for the first rung
        curve(0.1, 0.3),  # 2: equal to 1 at the first rung, behind it at the second
        curve(0.1, 0.3, losses=0.5),  # 3: equal accuracy, lower loss
        curve(0.1, 0.2),  # 4: behind
        curve(0.1, 0.1, 0.1, 0.99),  # 5: would win, and is too late
        curve(0.1, 0.25),
        curve(0.1),
    ]
    curves[0] = {name: values[:4] for name, values in curves[0].items()}
    failed = [True] + [False] * 7
    assert staying(RULE, curves, failed, 2) == [0, 1, 2, 3]
    assert staying(RULE, curves, failed, 4) == [1, 3]
    assert staying(RULE, curves, failed, 8) == [1]


def test_equal_trainings_stay_in_order_and_odd_numbers_round_up():
    equal = [curve(0.5)] * 5
    assert [staying(RULE, equal, [False] * 5, rung) for rung in (2, 4, 8)] == [[0, 1, 2], [0, 1], [0]]


def test_the_bound_on_epochs():
    assert most_epochs(RULE, 8) == 8 * 2 + 4 * 2 + 2 * 4 + 1 * 8
    assert most_epochs(StopRule(16), 8) == 128


@pytest.fixture
def halving(tmp_path):
    def run(members, rule=RULE, vectorise="map", together=1, name="store"):
        settings = FitSettings(rule, vectorise, together, evaluation_batch_size=6)
        return fit(tiny_problem(), members, settings, store=ProgressStore(tmp_path / name, SaveBudget(1.0)))

    return run


def test_the_winner_has_the_bits_of_the_full_grid(halving):
    members = grid()
    found = halving(members)
    assert {result.stop_epoch for result in found if result.halved} == {2, 4, 8}
    for rows in (range(8), range(8, 16)):
        assert sum(not found[row].halved for row in rows) == 1
        won = winner(found, rows, "loss")
        alone = fit(
            tiny_problem(),
            [members[won]],
            FitSettings(StopRule(16, 16, "best", "loss"), evaluation_batch_size=6),
        )
        assert_equal((found[won].best, found[won].last), (alone[0].best, alone[0].last))


def test_a_fit_that_was_killed_goes_on_from_a_rung(halving, monkeypatch):
    """Killed after every few epochs, at and between rungs, it ends with the same histories and stops."""
    members = grid((0,))
    whole = halving(members, name="whole")
    epochs, evaluate = [0], programs.evaluate  # of one set: once at the end of an epoch

    def killed(*arguments):
        epochs[0] += 1
        if epochs[0] % 13 == 0:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(programs, "evaluate", killed)
    found = None
    while found is None:
        try:
            found = halving(members, name="killed")
        except KeyboardInterrupt:
            continue
    assert epochs[0] > 40
    for one, other in zip(found, whole, strict=True):
        assert (one.stop_epoch, one.halved, one.best_epoch) == (
            other.stop_epoch,
            other.halved,
            other.best_epoch,
        )
        assert_equal(one.history, other.history)


@pytest.mark.slow
def test_members_of_one_program_halve_alike(halving):
    together = halving(grid(), together=16, name="together")
    alone = halving(grid(), name="alone")
    assert [(r.stop_epoch, r.halved) for r in together] == [(r.stop_epoch, r.halved) for r in alone]


def test_without_a_place_for_states_all_train_to_their_end():
    settings = FitSettings(RULE, evaluation_batch_size=6)
    assert not any(result.halved for result in fit(tiny_problem(), grid((0,)), settings))


def test_one_training_is_never_stopped(halving):
    result = halving([member()])[0]
    assert not result.halved and result.stop_epoch == 16

"""When trainings stop and which epoch is the best, by hand."""

import numpy as np

from seqfinal_jax.training.engine.early_stopping import StopRule, Track

FLAT = [0.5] * 12


def followed(accuracies, losses=None, finite=None, **rule):
    """(stop epoch, best epoch, failed) of one training under a rule."""
    track, rule = Track.fresh(1), StopRule(**{"max_epochs": 40, **rule})
    for epoch, accuracy in enumerate(accuracies):
        loss = 0.0 if losses is None else losses[epoch]
        sound = finite is None or finite[epoch]
        rule.update(track, epoch, np.array([accuracy]), np.array([loss]), np.array([sound]))
    return int(track.stop_epoch[0]), int(track.best_epoch[0]), bool(track.failed[0])


def best(accuracies, losses, **rule):
    return followed(accuracies, losses, **rule)[1]


def test_the_rule_by_default_is_the_published_one():
    rule = StopRule()
    assert (rule.max_epochs, rule.patience, rule.stop_on, rule.ties, rule.start) == (
        100,
        5,
        "previous",
        "first",
        True,
    )


def test_equal_accuracies_are_decided_by_loss_and_then_by_the_later_epoch():
    assert best([0.5, 0.5, 0.5], [1.0, 0.5, 0.4], ties="first") == 0
    assert best([0.5, 0.5, 0.5], [1.0, 0.5, 0.4], ties="loss") == 2
    assert best([0.5, 0.5, 0.5], [1.0, 0.5, 0.6], ties="loss") == 1
    assert best([0.5, 0.5, 0.5], [1.0, 1.0, 1.0], ties="loss") == 2
    assert best([0.5, 0.4, 0.6], [1.0, 0.1, 9.0], ties="loss") == 2  # accuracy comes before loss
    assert best([0.5, 0.4], [1.0, 0.1], ties="loss") == 0


def test_epochs_without_improvement_are_counted_by_the_same_order():
    falling, rising = np.linspace(1, 0, 12), np.linspace(0, 1, 12)
    for stop_on in ("previous", "best"):
        assert followed(FLAT, falling, patience=2, stop_on=stop_on, ties="loss")[0] == -1
        assert followed(FLAT, rising, patience=2, stop_on=stop_on, ties="loss")[0] == 3
        assert followed(FLAT, falling, patience=2, stop_on=stop_on, ties="first")[0] == 3
    # Every other epoch is better than the one before it, and none is better than the first.
    waves = [0.9] + [0.2, 0.3] * 6
    assert followed(waves, patience=2, stop_on="previous")[0] == -1
    assert followed(waves, patience=2, stop_on="best")[0] == 3


def test_a_random_start_is_never_the_best():
    assert followed([0.9, 0.3, 0.4], start=True)[1] == 0
    assert followed([0.9, 0.3, 0.4], start=False)[1] == 2
    # The first epoch counts as an improvement on nothing; then three without one end the training.
    assert followed([0.9, 0.4, 0.3, 0.3, 0.3, 0.3], start=False, patience=2, stop_on="best") == (4, 1, False)
    assert followed([0.9, 0.4, 0.3, 0.3, 0.3], start=True, patience=2, stop_on="best") == (3, 0, False)


def test_a_training_that_diverges_fails_where_it_does_and_is_left_as_it_is():
    assert followed([0.3, 0.4, 0.9, 0.9], finite=[True, True, False, True]) == (2, 1, True)
    assert followed([0.3, 0.9], finite=[False, True]) == (0, -1, True)  # before there was a best epoch
    assert followed([0.3, 0.9, 0.9], max_epochs=1) == (1, 1, False)
    assert followed([0.3, 0.9], max_epochs=0) == (0, 0, False)

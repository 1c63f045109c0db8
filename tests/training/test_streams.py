"""Streams of minibatches."""

import itertools

import numpy as np

from seqfinal_jax.training.engine.early_stopping import StopRule, Track
from seqfinal_jax.training.engine.streams import (
    EvaluationSet,
    Stream,
    driving_first,
    epoch_batches,
    shuffled,
    stored_order,
)


def used(batches, stream=0):
    mask = np.ones(batches.index.shape, bool) if batches.mask is None else batches.mask
    return [batches.index[i, stream][mask[i, stream]].tolist() for i in range(batches.count)]


def test_an_epoch_sees_every_sample_once_in_a_new_order():
    stream = Stream(0, np.arange(100, 123))
    order = shuffled(5, "final")
    first, second = (used(epoch_batches([stream], order, epoch, 8)) for epoch in (1, 2))
    assert sorted(itertools.chain(*first)) == list(range(100, 123))
    assert [len(batch) for batch in first] == [8, 8, 7]
    assert first != second
    assert used(epoch_batches([stream], shuffled(5, "final"), 1, 8)) == first
    assert used(epoch_batches([stream], shuffled(6, "final"), 1, 8)) != first
    assert used(epoch_batches([stream], shuffled(5, "history"), 1, 8)) != first


def test_full_batches_need_no_mask():
    full = epoch_batches([Stream(0, np.arange(16))], stored_order, 1, 8)
    assert full.mask is None and (full.weight[:2] == 1).all()
    weighted = epoch_batches([Stream(0, np.arange(3), np.asarray([0.25, 0.5, 1]))], stored_order, 1, 2)
    assert weighted.weight[:2, 0].tolist() == [[0.25, 0.5], [1, 0]]


def test_parallel_streams_follow_the_published_rule():
    """Batch counts 2, 3, 2: the second drives; the others go on where the last epoch left them (spec 2.2)."""
    streams = [Stream(0, np.arange(0, 9)), Stream(1, np.arange(20, 40)), Stream(2, np.arange(50, 63))]
    first, second = (epoch_batches(streams, stored_order, epoch, 8) for epoch in (1, 2))
    assert (first.count, second.count) == (3, 3)
    a, b = [0, 1, 2, 3, 4, 5, 6, 7], [8]
    assert used(first, 0) == [a, b, a]
    assert used(second, 0) == [b, a, b]
    assert used(first, 1) == used(second, 1)
    assert [batch[0] for batch in used(second, 2)] == [58, 50, 58]


def test_a_pass_of_a_running_stream_is_shuffled_anew():
    streams = [Stream(0, np.arange(16)), Stream(1, np.arange(100, 124))]
    order = shuffled(0, "all")
    seen = [batch for epoch in (1, 2) for batch in used(epoch_batches(streams, order, epoch, 8), 0)]
    passes = [seen[2 * i] + seen[2 * i + 1] for i in range(3)]
    assert all(sorted(each) == list(range(16)) for each in passes)
    assert len({tuple(each) for each in passes}) == 3


def test_a_last_batch_of_one_sample_is_left_out_if_asked():
    stream = Stream(0, np.arange(17))
    assert epoch_batches([stream], stored_order, 1, 8).count == 3
    assert epoch_batches([stream], stored_order, 1, 8, drop_single=True).count == 2


def test_running_streams_leave_it_out_too_and_lose_no_other_batch():
    """17, 24 and 9 samples: the second drives, the others' passes have 2 and 1 batches."""
    streams = [Stream(0, np.arange(17)), Stream(1, np.arange(20, 44)), Stream(2, np.arange(50, 59))]
    first, second = (epoch_batches(streams, stored_order, epoch, 8, drop_single=True) for epoch in (1, 2))
    assert (first.count, second.count) == (3, 3)
    starts = [[batch[0] for batch in used(epoch, 0)] for epoch in (first, second)]
    assert starts == [[0, 8, 0], [8, 0, 8]]
    assert used(first, 2) == [list(range(50, 58))] * 3
    alone = epoch_batches([Stream(0, np.arange(1))], stored_order, 1, 8, drop_single=True)
    assert used(alone) == [[0]]


def test_the_driving_stream_comes_first_and_the_others_stay_in_order():
    streams = [Stream(step, np.arange(size)) for step, size in enumerate((9, 20, 13, 24))]
    assert [stream.step for stream in driving_first(streams, 8)] == [1, 0, 2, 3]
    assert [stream.step for stream in driving_first(streams, 1)] == [3, 0, 1, 2]
    assert [stream.step for stream in driving_first([Stream(5, np.arange(3))], 8)] == [5]
    singles = [Stream(step, np.arange(size)) for step, size in enumerate((9, 16))]
    assert [stream.step for stream in driving_first(singles, 8)] == [0, 1]
    assert [stream.step for stream in driving_first(singles, 8, drop_single=True)] == [1, 0]


def test_evaluation_sets_keep_their_order():
    batches = EvaluationSet(0, np.arange(50, 57)).batches(3)
    assert used(batches) == [[50, 51, 52], [53, 54, 55], [56]]


def stop(accuracies, **rule):
    track, rule = Track.fresh(1), StopRule(max_epochs=40, **rule)
    for epoch, accuracy in enumerate(accuracies):
        rule.update(track, epoch, np.asarray([accuracy]), np.zeros(1), np.asarray([True]))
        if not track.active[0]:
            break
    return int(track.stop_epoch[0]), int(track.best_epoch[0])


def test_the_worked_examples_of_early_stopping():
    assert stop([0.1, 0.2, 0.3, 0.4] + [0.5] * 40) == (10, 4)
    assert stop([0.5] + [0.4] * 40) == (6, 0)
    assert stop([0.1] + [0.3, 0.2] * 20) == (40, 1)
    assert stop([0.1] + [0.3, 0.2] * 20, stop_on="best") == (7, 1)


def test_a_member_that_has_stopped_is_left_as_it_is():
    track, rule = Track.fresh(2), StopRule(max_epochs=9, patience=0)
    for epoch, pair in enumerate([(0.5, 0.1), (0.4, 0.2), (0.9, 0.3)]):
        rule.update(track, epoch, np.asarray(pair), np.zeros(2), np.asarray([True, True]))
    assert track.stop_epoch.tolist() == [1, -1]
    assert track.best_accuracy.tolist() == [0.5, 0.3]

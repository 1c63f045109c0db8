"""Images of a run laid end to end, and the minibatches that a sequence of the published sizes gives."""

import numpy as np
import pytest

from seqfinal_jax.data import build_sequence
from seqfinal_jax.data.sequences.pool import ROW_BUCKET, pool_sequences
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, epoch_batches, shuffled

SPLITS = ("train", "valid", "test")
FLIP_LAST = "corruption:label_flip:rotation"


def digits(seed, size=50):
    return build_sequence("digits", "recolor:label_flip", size, size, 20, seed=seed, cache=False)


def test_every_split_is_found_again():
    sequences = {("main", 0): digits(0), ("main", 1): digits(1), ("oracle", 0): digits(0, 100)}
    pool = pool_sequences(sequences)
    used = []
    for key, sequence in sequences.items():
        for t, step in enumerate(sequence.steps):
            assert set(pool.rows[key][t]) == {name for name in SPLITS if getattr(step, name) is not None}
            for name, rows in pool.rows[key][t].items():
                split = getattr(step, name)
                for column in ("images", "labels", "source_index"):
                    np.testing.assert_array_equal(getattr(pool, column)[rows], getattr(split, column))
                used.append(rows)
    used = np.concatenate(used)
    assert used.tolist() == list(range(len(used)))
    assert len(pool.images) == len(pool.labels) == len(pool.source_index) == ROW_BUCKET
    assert set(pool.source_index[len(used) :].tolist()) == {-1}
    np.testing.assert_array_equal(
        pool.split_rows(("main", 1), (2, 0), "valid")[1], pool.rows["main", 1][0]["valid"]
    )


def test_minibatches_of_the_published_sizes(toy_cifar10):
    arguments = {"source_size": 6000, "target_sizes": (4000, 6000, 4000), "test_size": 5000}
    sequence = build_sequence("cifar10", FLIP_LAST, **arguments, cache=False, source=toy_cifar10)
    key, history = ("main", 1007), (0, 1, 2)
    pool = pool_sequences({key: sequence})
    pooled = np.concatenate(pool.split_rows(key, history, "train"))
    assert (len(pooled), sum(map(len, pool.split_rows(key, history, "valid")))) == (12800, 3200)
    counts = [Stream(t, pool.rows[key][t]["train"]).num_batches(100) for t in range(4)]
    assert counts == [48, 32, 48, 32]

    orders = []
    for epoch in (1, 2):
        batches = epoch_batches([Stream(0, pooled)], shuffled(1007, "history"), epoch, 100)
        assert (batches.count, batches.mask) == (128, None)
        orders.append(batches.index[:128].ravel())
        assert sorted(orders[-1].tolist()) == pooled.tolist()
    assert (orders[0] != orders[1]).any()

    for name, count in (("valid", 8), ("test", 50)):
        rows = pool.rows[key][3][name]
        passes = [EvaluationSet(3, rows).batches(100) for _ in range(2)]
        assert [one.count for one in passes] == [count, count]
        assert all(one.index[one.mask].tolist() == rows.tolist() for one in passes)


@pytest.mark.parametrize(
    ("samples", "count", "last"),
    [(16000, 160, 100), (12000, 120, 100), (5320, 54, 20), (6400, 64, 100), (3160, 32, 60)],
)
def test_last_minibatches_are_kept(samples, count, last):
    batches = epoch_batches([Stream(0, np.arange(samples))], shuffled(0, "final"), 1, 100)
    sizes = [100] * count if batches.mask is None else batches.mask[:, 0].sum(axis=1)[:count].tolist()
    assert (batches.count, sizes) == (count, [100] * (count - 1) + [last])

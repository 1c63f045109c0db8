import numpy as np
import pytest

from seqfinal_jax.data.sequences import selection
from seqfinal_jax.data.shifts.shift import accumulate

UNIFORM = (0.1,) * 10
THIRD = 1 / 3


@pytest.mark.parametrize(
    ("seed", "drawn"),
    [
        (1007, (6906, 8583, 6709, 343, 3609, 2375, 8750, 2162)),
        (0, (2732, 9845, 3264, 4859, 9225, 7891, 4373, 5874)),
        (1, (235, 5192, 905, 7813, 2895, 5056, 144, 4225)),
        (2, (7336, 2575, 6637, 2514, 1099, 4770, 433, 6751)),
        (42, (7270, 860, 5390, 5191, 5734, 6265, 466, 4426)),
    ],
)
def test_step_seeds(seed, drawn):
    assert selection.step_seeds(seed, 9) == (seed, *drawn)
    assert selection.step_seeds(seed, 4) == (seed, *drawn[:3])


@pytest.mark.parametrize(
    ("total", "sizes", "train"),
    [
        (6000, [600] * 10, 4800),
        (4000, [400] * 10, 3200),
        (20000, [2000] * 10, 16000),
        (1003, [100] * 9 + [103], 802),
        (997, [99] * 9 + [106], 795),
        (33, [3] * 9 + [6], 22),
    ],
)
def test_class_sizes(total, sizes, train):
    assert selection.allocate(total, UNIFORM) == sizes
    assert selection.train_count([[size] for size in sizes]) == train


@pytest.mark.parametrize(
    ("total", "probs", "released", "as_asked"),
    [
        (300, (0.5, 0.5, 0, 0, 0), [150] * 5, [150, 150, 0, 0, 0]),
        (200, (THIRD, THIRD, THIRD, 0, 0), [66, 66, 68, 68, 68], [66, 66, 68, 0, 0]),
        (300, (0, THIRD, THIRD, THIRD, 0), [0, 100, 100, 100, 100], [0, 100, 100, 100, 0]),
        (200, (0, 0, THIRD, THIRD, THIRD), [0, 0, 66, 66, 68], [0, 0, 66, 66, 68]),
        (250, (0, 0, THIRD, THIRD, THIRD), [0, 0, 83, 83, 84], [0, 0, 83, 83, 84]),
        (1000, (0, 0, THIRD, THIRD, THIRD), [0, 0, 333, 333, 334], [0, 0, 333, 333, 334]),
    ],
)
def test_subclass_sizes_by_both_rules(total, probs, released, as_asked):
    assert selection.allocate(total, probs, "released") == released
    assert selection.allocate(total, probs, "as_asked") == as_asked


@pytest.mark.parametrize(
    ("count", "total", "even", "odd"),
    [
        (1, 4000, 280, 520),
        (2, 4000, 160, 640),
        (3, 4000, 40, 760),
        (1, 6000, 420, 780),
        (2, 6000, 240, 960),
        (3, 6000, 60, 1140),
        (1, 5000, 350, 650),
        (2, 5000, 200, 800),
        (3, 5000, 50, 950),
    ],
)
def test_label_shift_sizes(count, total, even, odd):
    probs = accumulate((("label_shift",),) * count, 10)[-1].class_probs
    assert selection.allocate(total, probs) == [even, odd] * 5


def test_pools_are_ascending_and_partition_the_data():
    labels = np.array([1, 0, 1, 0, 1, 0], np.int32)
    assert [[p.tolist() for p in row] for row in selection.make_pools(labels, None, 2, 1)] == [
        [[1, 3, 5]],
        [[0, 2, 4]],
    ]
    subclass = np.array([0, 1, 1, 0, 0, 1], np.int32)
    pools = selection.make_pools(labels, subclass, 2, 2)
    assert [[pool.tolist() for pool in row] for row in pools] == [[[3], [1, 5]], [[0, 4], [2]]]


def test_a_draw_follows_the_published_order_of_shuffles():
    """Worked by hand: per class the training pool, then its test pool; then train, valid and test."""
    pools = ((np.array([0, 2, 4, 6, 8]),), (np.array([1, 3, 5, 7, 9]),))
    tests = ((np.array([0, 2, 4]),), (np.array([1, 3, 5]),))
    drawn = selection.draw(np.random.RandomState(7), pools, [[5], [5]], tests, [[2], [1]])

    rng = np.random.RandomState(7)

    def shuffle(values):
        order = np.arange(len(values))
        rng.shuffle(order)
        return [values[k] for k in order]

    even, even_test = shuffle([0, 2, 4, 6, 8]), shuffle([0, 2, 4])
    odd, odd_test = shuffle([1, 3, 5, 7, 9]), shuffle([1, 3, 5])
    assert drawn.train.tolist() == shuffle(even[:4] + odd[:4])
    assert drawn.valid.tolist() == shuffle(even[4:] + odd[4:])
    assert drawn.test.tolist() == shuffle(even_test[:2] + odd_test[:1])


def test_pools_are_shuffled_even_where_nothing_is_taken():
    pools = ((np.arange(5),), (np.arange(5, 10),))
    tests = ((np.arange(3),), (np.arange(3, 6),))
    none_of_0 = selection.draw(np.random.RandomState(3), pools, [[0], [5]], tests, None)
    some_of_0 = selection.draw(np.random.RandomState(3), pools, [[5], [5]], tests, None)
    assert set(none_of_0.valid.tolist()) == set(some_of_0.valid.tolist()) - set(range(5))
    assert none_of_0.test is None


def test_test_draws_of_their_own_do_not_depend_on_the_training_draws():
    tests = ((np.arange(30),), (np.arange(30, 60),))
    one = selection.draw_test(selection.own_test_generator(6906), tests, [[4], [5]])
    again = selection.draw_test(selection.own_test_generator(6906), tests, [[4], [5]])
    other = selection.draw_test(selection.own_test_generator(6907), tests, [[4], [5]])
    assert one.tolist() == again.tolist() != other.tolist()
    assert (len(one), len(set(one.tolist())), (one < 30).sum()) == (9, 9, 4)


def test_without_drops_taken_images_only():
    pools = selection.without(((np.arange(4),), (np.arange(4, 8),)), np.array([1, 6, 7]))
    assert [[pool.tolist() for pool in row] for row in pools] == [[[0, 2, 3]], [[4, 5]]]


def test_first_too_small():
    pools = ((np.arange(4), np.arange(2)),)
    assert selection.first_too_small([[4, 2]], pools) is None
    assert selection.first_too_small([[4, 3]], pools) == (0, 1)

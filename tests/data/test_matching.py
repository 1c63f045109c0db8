"""Earlier samples that stand in for the final ones, against numbers worked out by hand and by brute force."""

import itertools
import logging
import math

import numpy as np
import pytest

from seqfinal_jax.data.matching import links as matching
from seqfinal_jax.data.matching.distances import squared_distances
from seqfinal_jax.data.matching.links import (
    MATCHING_RULES,
    Samples,
    column_copies,
    links_back,
    nearest_neighbours,
    optimal_matching,
)


def points(values, labels=None, dtype=np.uint8):
    """Images of one pixel; all of class 0 unless labels are given."""
    images = np.array(values, dtype).reshape(-1, 1, 1, 1)
    return Samples(images, np.zeros(len(images), int) if labels is None else np.array(labels))


def random_samples(seed, count, classes=3, dtype=np.uint8):
    random = np.random.RandomState(seed)
    images = random.randint(256, size=(count, 4, 4, 3)).astype(dtype)
    return Samples(images, np.resize(np.arange(classes), count)[random.permutation(count)])


def distance(one, other):
    """The norm by Python's own integers."""
    pairs = zip(one.ravel().tolist(), other.ravel().tolist(), strict=True)
    return math.sqrt(sum((a - b) ** 2 for a, b in pairs))


def brute_nearest(anchors, candidates):
    chosen = []
    for image, label in zip(*anchors, strict=True):
        places = [j for j, other in enumerate(candidates.labels) if other == label]
        chosen.append(min(places, key=lambda j, image=image: distance(image, candidates.images[j])))
    return chosen


def least_cost(anchors, candidates, copies):
    """The least total distance of one class, over all ways to choose."""
    ways = itertools.product(range(len(candidates.labels)), repeat=len(anchors.labels))
    allowed = (way for way in ways if max(np.bincount(way)) <= copies)
    return min(
        sum(distance(image, candidates.images[j]) for image, j in zip(anchors.images, way, strict=True))
        for way in allowed
    )


def cost(anchors, candidates, link):
    pairs = zip(link.anchors, link.positions, strict=True)
    return sum(distance(anchors.images[i], candidates.images[j]) for i, j in pairs)


def test_nearest_by_hand():
    anchors = points([10, 200, 10], [0, 1, 1])
    candidates = points([12, 190, 11, 0], [0, 0, 1, 1])
    link = nearest_neighbours(anchors, candidates)
    assert link.positions.tolist() == [0, 2, 2]
    assert link.anchors.tolist() == [0, 1, 2]


@pytest.mark.parametrize("block", [1, 2, 1024])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_of_equally_near_samples_the_first_is_taken(block, dtype):
    anchors, candidates = points([10], dtype=dtype), points([50, 13, 7, 13, 7], dtype=dtype)
    assert nearest_neighbours(anchors, candidates, block=block).positions.tolist() == [1]


def test_many_equal_samples_give_the_first_one():
    image = np.random.RandomState(0).randint(256, size=(1, 32, 32, 3)).astype(np.uint8)
    candidates = Samples(np.repeat(255 - image, 30, axis=0), np.zeros(30, int))
    candidates.images[5:] = image
    anchors = Samples(image, np.zeros(1, int))
    for dtype in (np.uint8, np.float64):
        cast = [Samples(samples.images.astype(dtype), samples.labels) for samples in (anchors, candidates)]
        assert nearest_neighbours(*cast).positions.tolist() == [5]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("seed", range(3))
def test_nearest_agrees_with_brute_force(dtype, seed):
    anchors, candidates = (random_samples(seed + k, 25, dtype=dtype) for k in (0, 100))
    assert nearest_neighbours(anchors, candidates, block=4).positions.tolist() == brute_nearest(
        anchors, candidates
    )


@pytest.mark.parametrize("candidates", [2, 3, 4, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_matching_has_the_least_cost_of_all_choices(candidates, dtype):
    anchors, samples = random_samples(0, 5, 1, dtype), random_samples(1, candidates, 1, dtype)
    copies = math.ceil(6 * 5 / (5 * candidates))
    assert column_copies(5, candidates) == copies
    link = optimal_matching(anchors, samples)
    assert np.bincount(link.positions).max() <= copies
    assert cost(anchors, samples, link) == pytest.approx(least_cost(anchors, samples, copies), rel=1e-12)


def test_matching_adds_up_norms_not_their_squares():
    """From (50, 50) and (56, 50) to (50, 50) and (49, 57): 0 + 9.9 < 7.1 + 6, though 98 > 50 + 36."""
    anchors, candidates = (
        Samples(np.array(pixels, np.uint8).reshape(-1, 1, 2, 1), np.zeros(len(pixels), int))
        for pixels in ([[50, 50], [56, 50]], [[50, 50], [49, 57], [250, 250]])
    )
    assert optimal_matching(anchors, candidates).positions.tolist() == [0, 1]


def test_matching_lists_class_after_class_and_maps_copies_back():
    anchors = points([100, 10, 101, 102], [1, 0, 1, 1])
    candidates = points([99, 12, 200], [1, 0, 1])
    link = optimal_matching(anchors, candidates)
    assert column_copies(3, 2) == 2
    assert link.positions.tolist() == [1, 0, 0, 2]
    assert link.anchors.tolist() == [1, 0, 2, 3]
    assert anchors.labels[link.anchors].tolist() == candidates.labels[link.positions].tolist()


def test_copies_of_columns():
    assert [column_copies(*sizes) for sizes in ((5, 6), (6, 6), (10, 6), (11, 6), (1, 100))] == [
        1,
        2,
        2,
        3,
        1,
    ]


@pytest.mark.parametrize("how", MATCHING_RULES)
def test_a_link_starts_at_the_sample_chosen_before(how):
    """The final 0 takes 40 at step 1, and 40 takes 70 at step 0 although 5 is nearer to 0."""
    steps = [points([5, 70, 250]), points([40, 200, 255]), points([0])]
    links = links_back(steps, how)
    assert [link.positions.tolist() for link in links] == [[1], [0]]


@pytest.mark.parametrize("how", MATCHING_RULES)
def test_two_steps_and_one(how):
    steps = [points([3, 90, 200]), points([1, 100])]
    assert [link.positions.tolist() for link in links_back(steps, how)] == [[0, 1]]
    assert links_back(steps[1:], how) == []


@pytest.mark.parametrize("how", MATCHING_RULES)
def test_more_final_samples_than_earlier_ones(how):
    steps = [random_samples(0, 6), random_samples(1, 9), random_samples(2, 40)]
    links = links_back(steps, how)
    for samples, link in zip(steps, links, strict=False):
        assert link.positions.shape == (40,)
        np.testing.assert_array_equal(
            np.bincount(samples.labels[link.positions]), np.bincount(steps[-1].labels)
        )
    if how == "optimal_matching":
        wanted = [column_copies(14, 2), column_copies(14, 3)]
        assert wanted == [9, 6]
        assert [np.bincount(link.positions).max() <= most for link, most in zip(links, wanted, strict=True)]


@pytest.mark.parametrize("how", MATCHING_RULES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_blocks_change_nothing(how, dtype):
    steps = [random_samples(seed, 40, dtype=dtype) for seed in range(3)]
    whole = links_back(steps, how)
    for block in (1, 7, 16):
        for one, other in zip(links_back(steps, how, block=block), whole, strict=True):
            np.testing.assert_array_equal(one.positions, other.positions)


@pytest.mark.parametrize("how", MATCHING_RULES)
def test_a_missing_class_is_named_before_any_work(how, monkeypatch):
    monkeypatch.setattr(matching, "squared_distances", None)
    steps = [points([1, 2], [0, 1]), points([1, 2], [0, 0]), points([1, 2, 3], [0, 1, 2])]
    with pytest.raises(ValueError, match=r"step 0: class 2 of the final step has no training sample"):
        links_back(steps, how)
    with pytest.raises(ValueError, match=r"step 0: class 1, 2 of the final step"):
        links_back(steps[1:], how)
    with pytest.raises(ValueError, match=r"step 7: class 1, 2 "):
        MATCHING_RULES[how](steps[2], steps[1], step=7)


def test_a_matrix_too_large_is_refused_before_any_work(monkeypatch):
    """2048 anchors among 1024 samples: 3 copies, 8 * 2048 * 3072 bytes = 3 * 2^-6 GiB."""
    monkeypatch.setattr(matching, "squared_distances", None)
    steps = [points(np.zeros(1024)), points(np.zeros(2048))]
    with pytest.raises(ValueError) as error:
        links_back(steps, "optimal_matching", memory_gib=0.0468)
    for part in ("step 0", "class 0", "2048 anchors by 3072 columns", "0.0469 GiB", "= 0.0468 "):
        assert part in str(error.value)
    assert "config.joint.matching_memory_gib" in str(error.value)
    matching.check_memory(steps[1].labels, steps[0].labels, 0, 3 / 64)


def test_neighbours_need_no_such_matrix():
    steps = [random_samples(0, 30), random_samples(1, 30)]
    assert len(links_back(steps, "nearest_neighbours", memory_gib=0)) == 1


def test_wrong_arguments_are_named():
    steps = [points([1]), points([2])]
    with pytest.raises(ValueError, match=r"optimal_matchin.*optimal_matching"):
        links_back(steps, "optimal_matchin")
    with pytest.raises(
        ValueError, match=r"step 0: its images are \(4, 4, 3\), those of the anchors \(1, 1, 1\)"
    ):
        links_back([random_samples(0, 5), steps[1]], "nearest_neighbours")
    with pytest.raises(ValueError, match=r"step 0: 1 images but 2 labels"):
        links_back([Samples(steps[0].images, np.zeros(2, int)), steps[1]], "nearest_neighbours")


def test_every_step_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        links_back([points([1, 2]), points([1, 2, 3]), points([4])], "nearest_neighbours")
    assert [record.getMessage() for record in caplog.records] == [
        "matching step 1: nearest neighbours of 1 anchors among 3 samples",
        "matching step 0: nearest neighbours of 1 anchors among 2 samples",
    ]


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.uint8, 0, 256), (np.int8, -128, 128), (np.int32, -1000, 1000), (bool, 0, 2)],
)
def test_distances_of_integers_are_exact(dtype, low, high):
    random = np.random.RandomState(0)
    ones, others = (random.randint(low, high, size=(n, 3, 7)).astype(dtype) for n in (9, 5))
    found = np.full((9, 5), -1.0)
    for rows, columns, squared in squared_distances(ones, others, block=4):
        found[rows, columns] = squared
    difference = ones[:, None].astype(int) - others[None].astype(int)
    assert found.tolist() == np.sum(difference**2, axis=(2, 3)).tolist()


def test_large_integers_and_floats_are_subtracted_first():
    """2^40 + 1 and 2^40 differ by 1, which |a|^2 + |b|^2 - 2ab in float64 cannot see."""
    for dtype in (np.int64, np.float64):
        ones, others = (np.array([[2**40 + k]], dtype) for k in (1, 0))
        ((_, _, squared),) = squared_distances(ones, others)
        assert squared.tolist() == [[1.0]]

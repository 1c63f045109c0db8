"""Sequences against numbers of the published program, run on a synthetic CIFAR."""

import numpy as np
import pytest

from seqfinal_jax.data import build_sequence, load_source
from seqfinal_jax.methods.recipes.time_weights import increasing_weights
from tests.data.conftest import SIZES
from tests.data.toy_cifar import TINY10, real_cifar, toy_source

FLIP_LAST = "corruption:label_flip:rotation"
FLIP_FIRST = "rotation:corruption:label_flip"


def sums(split):
    """Pixel sum, and pixel sums of the samples weighted by ((n mod 997) + 1)."""
    per_image = split.images.reshape(len(split), -1).sum(axis=1, dtype=np.int64)
    return int(per_image.sum()), int((per_image * (np.arange(len(split)) % 997 + 1)).sum())


def first(split, name, count):
    return getattr(split, name)[:count].tolist()


def numbers(text):
    return [int(word) for word in text.split()]


def check(sequence, table):
    """Compares lines 't split | idx | lab | S0 | S1', where a blank is not compared."""
    for line in filter(None, table.splitlines()):
        where, idx, lab, s0, s1 = (cell.strip() for cell in line.split("|"))
        t, name = where.split()
        split = getattr(sequence.steps[int(t)], name)
        if idx:
            assert first(split, "source_index", 5) == numbers(idx), where
        if lab:
            assert first(split, "labels", 8) == numbers(lab), where
        found = sums(split)
        assert [str(value) for value, wanted in zip(found, (s0, s1), strict=True) if wanted] == [
            wanted for wanted in (s0, s1) if wanted
        ], where


SELECTED = """
0 train | 5411 26517 28226 29993 20732 | 1 7 6 3 2 1 8 3 | 1879883776 | 908604917248
0 valid | 20239 14008 25042 13057 29176 | 9 8 2 7 6 2 6 1 | 470014976 | 202933272576
1 train | 14398 48348 11172 38536 32057 | | |
1 valid | 28279 35769 36636 8015 47883 | | |
2 train | 9122 38524 15843 19086 8622 | | |
2 valid | 16796 32173 22252 15431 4341 | | |
3 train | 43226 4532 24929 7654 2611 | | |
3 valid | 33068 30798 27978 39306 49639 | | |
3 test | 1184 8979 7237 1968 8628 | | |
"""
LAST_STEP = """
3 train | | 3 7 0 5 8 6 9 1 | 1058164606 | 500838004458
3 valid | | 1 1 1 3 0 5 4 9 | 264505012 | 105944774821
3 test | | 5 0 2 1 1 7 4 5 | 1653605517 | 822686616490
"""
CIFAR10_TABLES = {
    FLIP_LAST: LAST_STEP
    + """
1 train | | 8 8 2 6 7 0 6 8 | 1248595063 | 590897032938
1 valid | | 9 9 6 5 3 8 6 1 | 312103882 | 125001409791
2 train | | 7 5 6 3 7 5 4 4 | 1872703425 | 905209456701
2 valid | | 3 6 7 8 8 1 3 7 | 468209200 | 202189112853
""",
    FLIP_FIRST: LAST_STEP
    + """
1 train | | 8 8 2 6 7 0 6 8 | 1062566420 | 502883153506
1 valid | | 9 9 6 5 3 8 6 1 | 265488960 | 106324448948
2 train | | 2 4 3 6 2 4 5 5 | 1587439973 | 767293496174
2 valid | | 6 3 2 1 1 8 6 2 | 396822344 | 171349600257
""",
    "rotation_cond:rotation_cond:rotation_cond": """
1 train | | | 1062471444 | 502841322850
2 train | | | 1593654068 | 770300365386
3 train | | | 1253222656 | 593127689984
3 test | | | 1958457088 | 974392222720
""",
    "recolor:recolor:recolor": """
1 train | | | 1345812707 | 636904887585
2 train | | | 2139788778 | 1034295195661
3 train | | | 1495805250 | 707948383755
3 test | | | 2337365681 | 1162920945635
""",
}


def test_the_toy_data_are_the_reference_toy_data(toy_cifar10):
    train = toy_cifar10.train_images
    assert train[0, 0, 0].tolist() == [0, 101, 202]
    assert train[0, 0, 1].tolist() == [5, 106, 207]
    assert train[0, 1, 0].tolist() == [3, 104, 205]
    assert train[1, 3, 4].tolist() == [144, 245, 90]
    assert train[49999, 31, 31].tolist() == [49, 150, 251]
    assert train.sum(dtype=np.int64) == 19584014080
    assert toy_cifar10.test_images.sum(dtype=np.int64) == 3916756480


@pytest.mark.parametrize("shifts", CIFAR10_TABLES)
def test_cifar10(build, shifts):
    sequence = build("cifar10", shifts)
    check(sequence, SELECTED + CIFAR10_TABLES[shifts])
    counts = [(len(step.train), len(step.valid), step.test and len(step.test)) for step in sequence.steps]
    assert counts == [(4800, 1200, None), (3200, 800, None), (4800, 1200, None), (3200, 800, 5000)]
    for step in sequence.steps:
        indices = np.concatenate([step.train.source_index, step.valid.source_index])
        assert len(set(indices.tolist())) == len(indices)
        assert np.bincount(step.train.labels).tolist() == [len(step.train) // 10] * 10
        assert np.bincount(step.valid.labels).tolist() == [len(step.valid) // 10] * 10
    test = sequence.steps[3].test
    assert len(set(test.source_index.tolist())) == 5000
    assert np.bincount(test.labels).tolist() == [500] * 10


def test_types_and_description(build):
    sequence = build("cifar10", FLIP_LAST)
    for split in (sequence.steps[3].train, sequence.steps[3].test):
        assert (split.images.dtype, split.labels.dtype, split.source_index.dtype) == (
            np.uint8,
            np.int32,
            np.int64,
        )
        assert split.images.shape[1:] == (32, 32, 3)
    assert sequence.name == "cifar10-source6000-corruption4000-label_flip6000-rotation4000-test5000"
    assert sequence.shifts == (("corruption",), ("label_flip",), ("rotation",))
    assert (sequence.num_classes, sequence.image_shape, sequence.seed) == (10, (32, 32, 3), 1007)
    assert (sequence.num_steps, sequence.final_step, sequence.class_names[9]) == (4, 3, "truck")
    assert sequence.record["origin"] == "memory"
    assert sequence.warnings == ()


def test_recolor_channel_means(build):
    sequence = build("cifar10", "recolor:recolor:recolor")
    expected = {1: (155.6919, 127.4855, 127.5320), 2: (180.3763, 127.5053, 127.4595)}
    expected[3] = (201.4847, 127.5594, 127.4395)
    for t, means in expected.items():
        np.testing.assert_allclose(sequence.steps[t].train.images.mean(axis=(0, 1, 2)), means, atol=5e-5)
    np.testing.assert_allclose(
        sequence.steps[3].test.images.mean(axis=(0, 1, 2)), (201.4850, 127.5225, 127.5092), atol=5e-5
    )


def test_a_lossless_turn_keeps_the_pixel_sum(build, toy_cifar10):
    step = build("cifar10", "rotation_cond:rotation_cond:rotation_cond").steps[3]
    clean = toy_cifar10.train_images, toy_cifar10.train_images, toy_cifar10.test_images
    for split, images in zip((step.train, step.valid, step.test), clean, strict=True):
        assert sums(split)[0] == images[split.source_index].sum(dtype=np.int64)


def test_the_order_of_shifts_does_not_change_the_last_step(build):
    one, other = build("cifar10", FLIP_LAST).steps[3], build("cifar10", FLIP_FIRST).steps[3]
    for name in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(one, name).images, getattr(other, name).images)
        np.testing.assert_array_equal(getattr(one, name).labels, getattr(other, name).labels)


def test_oracle(build):
    oracle = build("cifar10", FLIP_FIRST, target_sizes=(4000, 6000, 20000))
    check(
        oracle,
        """
3 train | 45191 46540 10846 48950 24034 | | 5291081272 | 2632608934242
3 valid | 47131 35509 14452 7680 42063 | | 1322944506 |
3 test | 2606 7016 9167 2639 2851 | | 1653605089 | 822666088301
""",
    )
    step, small = oracle.steps[3], build("cifar10", FLIP_FIRST).steps[3]
    assert np.bincount(step.train.labels).tolist() == [1600] * 10
    for split in (small.train, small.valid):
        assert np.isin(split.source_index, step.train.source_index).all()
    assert np.bincount(step.valid.labels).tolist() == [400] * 10
    orders = [np.argsort(s.test.source_index) for s in (small, step)]
    indices = [s.test.source_index for s in (small, step)]
    np.testing.assert_array_equal(indices[0][orders[0]], indices[1][orders[1]])
    assert (indices[0] != indices[1]).any()
    np.testing.assert_array_equal(small.test.labels[orders[0]], step.test.labels[orders[1]])
    assert (small.test.images[orders[0]] != step.test.images[orders[1]]).any()


def test_steps_overlap_as_published(build):
    steps = build("cifar10", FLIP_LAST).steps
    both = [set(s.train.source_index.tolist()) | set(s.valid.source_index.tolist()) for s in steps]
    pairs = {(0, 1): 480, (0, 2): 732, (1, 2): 513, (0, 3): 465, (1, 3): 315, (2, 3): 504}
    assert {(a, b): len(both[a] & both[b]) for a, b in pairs} == pairs
    history = set().union(*(s.train.source_index.tolist() for s in steps[:3]))
    assert len(history) == 11729
    assert len(history & set(steps[3].train.source_index.tolist())) == 725
    assert len(history & set(steps[3].valid.source_index.tolist())) == 207


def test_sizes_of_pooled_steps(build):
    steps = build("cifar10", FLIP_LAST).steps
    assert sum(len(step.train) for step in steps[:3]) == 12800
    assert sum(len(step.valid) for step in steps[:3]) == 3200
    of_step = increasing_weights(4)
    assert of_step == (0.25, 1 / 3, 0.5, 1)
    weights = np.concatenate([np.full(len(s.train), w) for w, s in zip(of_step, steps, strict=True)])
    assert len(weights) == 16000
    assert weights.sum() == pytest.approx(7866.667, abs=1e-3)


def test_seed_0(build):
    check(
        build("cifar10", FLIP_LAST, seed=0),
        """
0 train | 4235 38946 45139 21331 40275 | | 1880225536 |
3 train | 19916 44080 42419 22718 16562 | | 1058390799 | 500914951922
3 test | | | 1653800397 |
""",
    )


def test_test_sets_at_all_steps_as_published(build):
    sequence = build("cifar10", FLIP_LAST, test_all_steps=True, protocol="released")
    check(
        sequence,
        SELECTED[: SELECTED.index("1 train")]
        + LAST_STEP
        + """
1 train | 14086 49412 20003 41784 44801 | | 1248690478 |
1 test | 2839 9305 9321 7411 3324 | | 1950730046 |
2 train | 33168 28642 16591 17831 20274 | | |
2 test | | | 1950712553 |
""",
    )
    assert sequence.steps[0].test is None


def test_test_sets_at_all_steps_with_draws_of_their_own(build):
    with_tests, without = build("cifar10", FLIP_LAST, test_all_steps=True), build("cifar10", FLIP_LAST)
    for t, (a, b) in enumerate(zip(with_tests.steps, without.steps, strict=True)):
        for name in ("train", "valid", "test") if t == 3 else ("train", "valid"):
            np.testing.assert_array_equal(getattr(a, name).images, getattr(b, name).images)
            np.testing.assert_array_equal(getattr(a, name).source_index, getattr(b, name).source_index)
    assert [step.test and len(step.test) for step in with_tests.steps] == [None, 5000, 5000, 5000]
    assert np.bincount(with_tests.steps[1].test.labels).tolist() == [500] * 10
    first_two = [with_tests.steps[t].test.source_index.tolist() for t in (1, 2)]
    assert first_two[0] != first_two[1]


def test_combined_sequence(build):
    sequence = build(
        "cifar10",
        "corruption,rotation_cond:label_flip,recolor_cond,corruption:rotation,label_flip,recolor:"
        "label_flip,label_shift,corruption",
        seed=3, source_size=1003, target_sizes="997:1234:2011:777", test_size=1111,
    )  # fmt: skip
    check(
        sequence,
        """
0 train | 39165 28424 45830 2357 468 | | 314155008 | 126136102656
1 train | 47532 5136 41603 11458 36950 | | 262809980 | 104600442122
2 train | 42346 18859 44018 41 15773 | | 352565081 | 173470628504
3 train | 31689 30739 16266 14434 12373 | | 665980019 | 282793598178
4 train | 49501 37844 36610 35067 5645 | | 261253361 | 80971204079
4 test | 5108 1173 7611 5935 3113 | 6 1 9 3 1 3 3 9 | 470622245 | 213215191235
""",
    )
    counts = [(len(step.train), len(step.valid)) for step in sequence.steps]
    assert counts == [(802, 201), (795, 202), (983, 251), (1601, 410), (617, 160)]
    assert len(sequence.steps[4].test) == 1111


def test_label_shift(build):
    sequence = build("cifar10", "label_shift:label_shift:label_shift")
    check(sequence, "3 train | 40487 27083 41469 36905 7191 | | 1253292032 |")
    train = [(480, 480), (224, 416), (192, 768), (32, 608)]
    valid = [(120, 120), (56, 104), (48, 192), (8, 152)]
    for step, of_train, of_valid in zip(sequence.steps, train, valid, strict=True):
        assert np.bincount(step.train.labels).tolist() == [*of_train] * 5
        assert np.bincount(step.valid.labels).tolist() == [*of_valid] * 5
    assert np.bincount(sequence.steps[3].test.labels).tolist() == [50, 950] * 5


SUBPOP = "subpop:subpop:subpop"
CIFAR100_LAST = """
3 train | 20670 27380 23070 41566 13417 | 2 16 2 12 9 15 2 11 | 1237760512 | 590234262016
3 valid | 39193 42416 30303 1914 30918 | 15 3 8 7 7 14 15 4 | 329032704 | 138346156032
3 test | 766 9934 9573 266 5995 | 12 12 1 12 0 3 0 19 | 1958364672 | 974360306176
"""


def per_subclass(source, split, test=False):
    subclass = source.test_subclass if test else source.train_subclass
    assert len(set(np.bincount(split.labels, minlength=20).tolist())) == 1
    return (np.bincount(subclass[split.source_index], minlength=5) // 20).tolist()


def test_cifar100_released(build, toy_cifar100):
    sequence = build("cifar100", SUBPOP, protocol="released")
    check(
        sequence,
        CIFAR100_LAST
        + """
0 train | 38894 22281 32074 39458 3528 | 6 19 16 18 3 6 11 18 | 4700171008 | 2338609359616
0 valid | 12442 30333 26118 40321 21066 | 8 10 7 11 12 10 13 14 | 1175037440 | 584559852800
1 train | 35660 42304 23896 17322 44781 | 10 0 17 5 19 9 19 4 | 2083581184 | 996261519616
2 train | 935 43967 37525 19139 33545 | 14 1 6 5 13 12 5 1 | 2506474240 | 1203260787456
""",
    )
    train = [per_subclass(toy_cifar100, step.train) for step in sequence.steps]
    valid = [per_subclass(toy_cifar100, step.valid) for step in sequence.steps]
    assert train == [[120] * 5, [52, 52, 54, 54, 54], [0, 80, 80, 80, 80], [0, 0, 52, 52, 54]]
    assert valid == [[30] * 5, [14] * 5, [0, 20, 20, 20, 20], [0, 0, 14, 14, 14]]
    assert per_subclass(toy_cifar100, sequence.steps[3].test, test=True) == [0, 0, 83, 83, 84]
    assert [note.split()[1::2][:2] for note in sequence.warnings] == [
        ["0", "15000"],
        ["1", "6720"],
        ["2", "8000"],
    ]


def test_cifar100_as_asked(build, toy_cifar100):
    sequence = build("cifar100", SUBPOP)
    check(
        sequence,
        CIFAR100_LAST
        + """
0 train | 46078 7128 31344 8178 2408 | | 1880161280 | 908830331392
1 train | 29886 6232 32745 34207 2037 | | 1237596928 |
2 train | 11283 2296 7698 44159 12554 | | 1879827200 |
""",
    )
    both = [
        np.add(per_subclass(toy_cifar100, s.train), per_subclass(toy_cifar100, s.valid)).tolist()
        for s in sequence.steps
    ]
    assert both == [[150, 150, 0, 0, 0], [66, 66, 68, 0, 0], [0, 100, 100, 100, 0], [0, 0, 66, 66, 68]]
    assert [len(step.train) for step in sequence.steps] == [4800, 3160, 4800, 3160]
    assert [len(step.valid) for step in sequence.steps] == [1200, 840, 1200, 840]
    assert sequence.warnings == ()


def test_cifar100_oracle_has_the_same_size_by_both_rules(build):
    for protocol in ("released", "corrected"):
        oracle = build("cifar100", SUBPOP, protocol=protocol, target_sizes=(4000, 6000, 20000))
        assert (len(oracle.steps[3].train), len(oracle.steps[3].valid)) == (15980, 4020)


def test_cifar100_without_subpop(build, toy_cifar100):
    shifts = "rotation:corruption:label_flip,recolor_cond"
    sequence = build("cifar100", shifts, test_size=4000, protocol="released")
    counts = [(len(step.train), len(step.valid)) for step in sequence.steps]
    assert counts == [(12000, 3000), (8000, 2000), (12000, 3000), (8000, 2000)]
    assert len(sequence.steps[3].test) == 10000
    as_asked = build("cifar100", shifts, source_size=400, target_sizes=400, test_size=4000).steps[3].test
    assert per_subclass(toy_cifar100, as_asked, test=True) == [100, 100, 0, 0, 0]


def test_without_noise_the_pixels_do_not_depend_on_the_generator():
    source = toy_source(TINY10)
    sizes = {"source_size": 50, "target_sizes": 50, "test_size": 10, "cache": False, "source": source}
    one, other = (build_sequence("cifar10", "rotation,recolor", seed=seed, **sizes) for seed in (0, 1))
    for name in ("source_index", "images", "labels"):
        a, b = (
            np.concatenate([getattr(s.steps[1].train, name), getattr(s.steps[1].valid, name)])[
                np.argsort(np.concatenate([s.steps[1].train.source_index, s.steps[1].valid.source_index]))
            ]
            for s in (one, other)
        )
        np.testing.assert_array_equal(a, b)


def test_four_flips_are_the_identity_and_are_reported():
    sequence = build_sequence(
        "digits", "label_flip:label_flip:label_flip:label_flip", 100, 100, 100, cache=False
    )
    assert len(sequence.warnings) == 1
    assert "step 4: 4 label flips are the identity" in sequence.warnings[0]


def test_digits():
    sequence = build_sequence("digits", FLIP_FIRST, 500, (250, 500, 250), 500, cache=False)
    assert [len(step.train) for step in sequence.steps] == [400, 200, 400, 200]
    assert len(sequence.steps[3].test) == 500
    oracle = build_sequence("digits", FLIP_FIRST, 500, (250, 500, 1000), 500, cache=False)
    assert len(oracle.steps[3].train) == 800


@pytest.mark.skipif(not real_cifar(), reason="SEQFINAL_DATA_DIR names no real CIFAR")
def test_real_cifar10_selects_the_same_places_in_each_class(build):
    source = load_source("cifar10")
    real = build_sequence("cifar10", FLIP_LAST, **SIZES, cache=False, source=source)
    toy = build("cifar10", FLIP_LAST)
    for mine, theirs in zip(real.steps, toy.steps, strict=True):
        for name in ("train", "valid") + (("test",) if mine.test else ()):
            real_split, toy_split = getattr(mine, name), getattr(theirs, name)
            np.testing.assert_array_equal(real_split.labels, toy_split.labels)
            labels = source.test_labels if name == "test" else source.train_labels
            place = np.empty(len(labels), int)  # of each image among those of its class
            for y in range(10):
                place[labels == y] = np.arange(np.sum(labels == y))
            np.testing.assert_array_equal(place[real_split.source_index], toy_split.source_index // 10)
    first_image = real.steps[0].train
    assert (first_image.labels[0], toy.steps[0].train.source_index[0] // 10) == (1, 541)

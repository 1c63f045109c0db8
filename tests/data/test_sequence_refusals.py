"""Sequences that cannot be cut from their data are refused, with the field and what would fit."""

import pytest

from seqfinal_jax.data import build_sequence

FLIP_LAST = "corruption:label_flip:rotation"
SUBPOP = "subpop:subpop:subpop"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_size": 1300}, r"data.source_size=1300: step 0 wants 130 .* 'zero', 120 are there; .* 1200"),
        ({"target_sizes": 2000}, r"data.target_sizes\[0\]=2000: step 1 .* at most 1200 fit"),
        ({"test_size": 590}, r"data.test_size=590: step 1 wants 59 test .* 'zero', 58 are there; at most 546 fit"),
        ({"source_size": 1}, r"data.source_size=1: too few samples for both a training and a validation set"),
        ({"shifts": "subpop"}, r"step 1 \(subpop\): subpop needs a data set with sub-classes"),
        ({"shifts": ":".join(["label_shift"] * 4), "target_sizes": 100}, r"step 4 .*at most 3 label_shift"),
        ({"dataset": "digit"}, r"unknown data set 'digit'; did you mean 'digits'"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_says_why(changes, message):
    arguments = {"dataset": "digits", "shifts": "rotation", "source_size": 100, "target_sizes": 100}
    arguments |= {"test_size": 100, "cache": False}
    with pytest.raises(ValueError, match=message):
        build_sequence(**arguments | changes)


@pytest.mark.parametrize(
    ("dataset", "changes", "message"),
    [
        ("cifar10", {"source_size": 60000},
         r"data.source_size=60000: step 0 wants 6000 .* 'airplane', 5000 are there; at most 50000 fit"),
        ("cifar10", {"target_sizes": (4000, 6000, 50010)},
         r"data.target_sizes\[2\]=50010: step 3 wants 5001 .* 'airplane', 5000 are there"),
        ("cifar10", {"test_size": 10010}, r"data.test_size=10010: step 3 wants 1001 test .* at most 10000"),
        ("cifar10", {"test_size": None}, r"data.test_size: .*every sequence ends in a test set"),
        ("cifar10", {"shifts": "rotation:recolour:none"}, r"unknown shift 'recolour'; did you mean 'recolor'"),
        ("cifar10", {"shifts": SUBPOP}, r"step 1 \(subpop\): subpop needs a data set with sub-classes"),
        ("cifar10", {"target_sizes": (4000, 6000)}, "has 2 sizes, data.shifts has 3 steps"),
        ("cifar100", {"shifts": SUBPOP, "source_size": 30000},
         r"step 0 wants 750 .* 'aquatic_mammals', sub-class 0, 500 are there; at most 20000 fit"),
        ("cifar10", {"shifts": ":".join(["label_shift"] * 4), "target_sizes": 400}, "step 4 .*at most 3"),
        ("cifar100", {"shifts": ":".join(["label_shift"] * 4), "target_sizes": 400}, "at most 3 label_shift"),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_from_cifar_says_why(build, dataset, changes, message):
    with pytest.raises(ValueError, match=message):
        build(dataset, **{"shifts": FLIP_LAST} | changes)


@pytest.mark.parametrize("protocol", ["released", "corrected"])
def test_a_test_set_larger_than_cifar100_has_is_refused(build, protocol):
    with pytest.raises(ValueError, match=r"data.test_size=5000: step 3 .* at most 4000 fit"):
        build("cifar100", "rotation:corruption:label_flip", protocol=protocol)


def test_a_fourth_subpop_is_refused(build):
    with pytest.raises(ValueError, match=r"step 4 \(subpop\): at most 3 subpop"):
        build("cifar100", SUBPOP + ":subpop", target_sizes=400, test_size=400)


def test_a_source_of_another_name_is_refused(toy_cifar10):
    with pytest.raises(ValueError, match="'digits' but the source given is 'cifar10'"):
        build_sequence("digits", "rotation", 100, 100, 100, source=toy_cifar10)

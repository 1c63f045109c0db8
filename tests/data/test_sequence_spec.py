from dataclasses import replace

import pytest

from seqfinal_jax.data import fingerprint, load_source, sequence_spec
from tests.data.toy_cifar import TINY100, toy_source

PLAIN = {"dataset": "digits", "shifts": "rotation:recolor", "source_size": 50, "target_sizes": (20, 30)}
PLAIN |= {"test_size": 40}


@pytest.fixture(scope="module")
def digits():
    return load_source("digits")


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({"target_sizes": [20, 30]}, (20, 30)),
        ({"target_sizes": "20:30"}, (20, 30)),
        ({"target_sizes": 25}, (25, 25)),
        ({"target_sizes": None, "target_size": 25}, (25, 25)),
        ({"target_sizes": (20, 30), "target_size": 25}, (20, 30)),
    ],
)
def test_target_sizes(given, sizes):
    assert sequence_spec(**PLAIN | given).target_sizes == sizes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target_sizes": (20, 30, 40)}, "data.target_sizes has 3 sizes, data.shifts has 2 steps"),
        ({"target_sizes": (20, 0)}, r"data.target_sizes\[1\]: expected a whole number above 0, found 0"),
        ({"target_sizes": "20:x"}, "expected sizes such as '4000:6000:4000', found '20:x'"),
        ({"target_sizes": None}, "expected 2 sizes or data.target_size, found neither"),
        ({"target_sizes": -5}, "data.target_sizes: expected a whole number above 0, found -5"),
        ({"source_size": 0}, "data.source_size: expected a whole number above 0, found 0"),
        ({"source_size": 50.5}, "data.source_size: .* found 50.5"),
        ({"test_size": 0}, r"data.test_size: .* \(every sequence ends in a test set\), found 0"),
        ({"test_size": None}, "data.test_size: .* found None"),
        ({"seed": -1}, "seed: expected a whole number 0..4294967295, found -1"),
        ({"seed": True}, "seed: .* found True"),
        ({"protocol": "relased"}, "unknown protocol 'relased'; did you mean 'released'"),
        ({"subpop_sizes": "exact"}, "unknown subpop_sizes 'exact'; known: as_asked, released"),
        ({"test_all_steps_draws": "mine"}, "unknown test_all_steps_draws 'mine'"),
    ],
)
def test_bad_arguments_name_their_flag(given, message):
    with pytest.raises(ValueError, match=message):
        sequence_spec(**PLAIN | given)


def test_protocols_set_fields_that_can_be_overridden():
    corrected, released = sequence_spec(**PLAIN), sequence_spec(**PLAIN, protocol="released")
    assert (corrected.subpop_sizes, corrected.test_all_steps_draws) == ("as_asked", "own")
    assert (released.subpop_sizes, released.test_all_steps_draws) == ("released", "same_stream")
    mixed = sequence_spec(**PLAIN, protocol="released", subpop_sizes="as_asked")
    assert (mixed.subpop_sizes, mixed.test_all_steps_draws) == ("as_asked", "same_stream")


def test_names_are_readable():
    spec = sequence_spec(**PLAIN | {"shifts": "rotation,recolor:none"}, test_all_steps=True, disjoint=True)
    assert spec.name == "digits-source50-rotation+recolor20-none30-test40-test_all_steps-disjoint"
    assert (spec.num_steps, spec.sizes) == (3, (50, 20, 30))


@pytest.mark.parametrize(
    "change",
    [
        {"shifts": "recolor:rotation"},
        {"source_size": 51},
        {"target_sizes": (20, 31)},
        {"test_size": 41},
        {"seed": 1},
        {"disjoint": True},
        {"test_all_steps": True},
    ],
)
def test_what_changes_the_data_changes_the_fingerprint(digits, change):
    assert fingerprint(sequence_spec(**PLAIN), digits) != fingerprint(sequence_spec(**PLAIN | change), digits)


def test_what_changes_nothing_keeps_the_fingerprint(digits):
    plain = fingerprint(sequence_spec(**PLAIN), digits)
    assert fingerprint(sequence_spec(**PLAIN, protocol="released"), digits) == plain
    one = sequence_spec(**PLAIN | {"shifts": "rotation,recolor:none"})
    other = sequence_spec(**PLAIN | {"shifts": "recolor, rotation,rotation : none"})
    assert fingerprint(one, digits) == fingerprint(other, digits)


def test_the_source_and_the_rule_of_sizes_count_where_they_matter(digits):
    spec = sequence_spec(**PLAIN)
    changed = digits.train_images.copy()
    changed[0, 0, 0, 0] ^= 1
    other = replace(digits, train_images=changed)
    assert fingerprint(spec, digits) != fingerprint(spec, other)
    cifar100 = toy_source(TINY100)
    by_rule = {fingerprint(replace(spec, subpop_sizes=rule), cifar100) for rule in ("as_asked", "released")}
    assert len(by_rule) == 2

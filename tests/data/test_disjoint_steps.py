"""Steps that share no image, and test sets at all steps: against draws by hand."""

from dataclasses import replace

import numpy as np
import pytest

from seqfinal_jax.data import build_sequence
from seqfinal_jax.data.base.cifar import CIFAR10
from tests.data.toy_cifar import toy_source

FLIP_LAST = "corruption:label_flip:rotation"
SUBPOP = "subpop:subpop:subpop"
SMALL = replace(CIFAR10, train_count=500, test_count=100)
SMALL_SIZES = {"source_size": 100, "target_sizes": (50, 150, 50), "test_size": 30}


def by_hand(source, draws, disjoint):
    """Indices (train, valid, test) of every step of SMALL_SIZES with test sets at all target steps."""
    seeds = [1007, *np.random.RandomState(1007).randint(10000, size=3).tolist()]
    pools = [np.flatnonzero(source.train_labels == y).tolist() for y in range(10)]
    tests = [np.flatnonzero(source.test_labels == y).tolist() for y in range(10)]
    steps = []

    def shuffle(rng, values):
        order = np.arange(len(values))
        rng.shuffle(order)
        return [values[k] for k in order]

    for t, size in reversed([*enumerate((100, 50, 150, 50))]):
        rng = np.random.RandomState(seeds[t])
        own = t in (1, 2) and draws == "own"
        train, valid, test = [], [], []
        for pool, of_test in zip(pools, tests, strict=True):
            chosen = shuffle(rng, pool)[: size // 10]
            train += chosen[: size // 10 * 4 // 5]
            valid += chosen[size // 10 * 4 // 5 :]
            if t > 0 and not own:
                test += shuffle(rng, of_test)[:3]
        train, valid, test = shuffle(rng, train), shuffle(rng, valid), shuffle(rng, test)
        if own:
            rng = np.random.RandomState([seeds[t], 1])
            test = shuffle(rng, [k for of_test in tests for k in shuffle(rng, of_test)[:3]])
        steps.insert(0, (train, valid, test))
        if disjoint:
            pools = [[k for k in pool if k not in {*train, *valid}] for pool in pools]
    return steps


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("draws", ["own", "same_stream"])
def test_disjoint_steps_and_test_sets_at_all_steps_by_hand(draws, disjoint):
    source = toy_source(SMALL)
    flags = {"test_all_steps": True, "test_all_steps_draws": draws, "disjoint": disjoint}
    sequence = build_sequence("cifar10", FLIP_LAST, source=source, cache=False, **SMALL_SIZES, **flags)
    for step, (train, valid, test) in zip(sequence.steps, by_hand(source, draws, disjoint), strict=True):
        assert step.train.source_index.tolist() == train
        assert step.valid.source_index.tolist() == valid
        assert (step.test.source_index.tolist() if step.test else []) == test
    indices = np.concatenate([s.source_index for step in sequence.steps for s in (step.train, step.valid)])
    assert (len(np.unique(indices)) == 350) is disjoint
    test_sets = [set(step.test.source_index.tolist()) for step in sequence.steps[1:]]
    assert test_sets[0] & test_sets[1] and test_sets[0] & test_sets[2]


def test_test_draws_of_their_own_bring_noise_of_their_own():
    source = toy_source(SMALL)
    arguments = SMALL_SIZES | {"test_all_steps": True, "cache": False, "source": source}
    test = build_sequence("cifar10", "corruption:none:none", **arguments).steps[1].test
    rng = np.random.RandomState([6906, 1])
    for size in [10] * 10 + [30]:
        rng.shuffle(np.arange(size))
    noise = rng.randint(-3, 3, (30, 3, 32, 32)).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(test.images, (source.test_images[test.source_index] + noise).clip(0, 255))


def test_disjoint_steps_keep_test_sets_with_draws_of_their_own():
    arguments = SMALL_SIZES | {"test_all_steps": True, "cache": False, "source": toy_source(SMALL)}
    plain, disjoint = (build_sequence("cifar10", FLIP_LAST, **arguments, disjoint=d) for d in (False, True))
    for a, b in zip(plain.steps[1:], disjoint.steps[1:], strict=True):
        np.testing.assert_array_equal(a.test.source_index, b.test.source_index)
        np.testing.assert_array_equal(a.test.images, b.test.images)
    assert plain.steps[0].train.source_index.tolist() != disjoint.steps[0].train.source_index.tolist()


def test_disjoint_steps_of_sub_classes(build):
    flags = {"disjoint": True, "test_all_steps": True, "source_size": 600, "target_sizes": (400, 600, 400)}
    for protocol in ("released", "corrected"):
        steps = build("cifar100", SUBPOP, **flags, test_size=500, protocol=protocol).steps
        indices = np.concatenate([s.source_index for step in steps for s in (step.train, step.valid)])
        assert len(np.unique(indices)) == len(indices)
        assert [step.test is None for step in steps] == [True, False, False, False]


def test_disjoint_steps_share_no_image(build):
    plain, disjoint = build("cifar10", FLIP_LAST), build("cifar10", FLIP_LAST, disjoint=True)
    indices = np.concatenate([s.source_index for step in disjoint.steps for s in (step.train, step.valid)])
    assert len(indices) == len(np.unique(indices)) == 20000
    for name in ("train", "valid", "test"):
        mine, published = getattr(disjoint.steps[3], name), getattr(plain.steps[3], name)
        np.testing.assert_array_equal(mine.images, published.images)
    assert [np.bincount(step.train.labels).tolist() for step in disjoint.steps] == [
        np.bincount(step.train.labels).tolist() for step in plain.steps
    ]
    with pytest.raises(ValueError, match=r"data.source_size=40000: step 0"):
        build("cifar10", FLIP_LAST, disjoint=True, source_size=40000)

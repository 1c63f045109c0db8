"""The seeds that methods are compared on."""

from seqfinal_jax.analysis.tables.shared_seeds import shared_seeds


def test_all_seeds_where_all_have_them():
    assert shared_seeds({"a": [1, 0], "b": [0, 1]}) == (["a", "b"], [0, 1])
    assert shared_seeds({}) == ([], []) and shared_seeds({"a": []}) == ([], [])


def test_a_seed_that_some_lack_is_not_used():
    assert shared_seeds({"final": range(7), "oracle": range(7), "probe": range(6)})[1] == [0, 1, 2, 3, 4, 5]


def test_a_method_with_few_seeds_is_left_out():
    assert shared_seeds({"a": range(6), "b": range(6), "c": [0]}) == (["a", "b"], [0, 1, 2, 3, 4, 5])


def test_what_no_method_has_alone():
    """Two methods share three seeds of four each: six results, where one method has four."""
    assert shared_seeds({"a": [0, 1, 2, 3], "b": [1, 2, 3, 4]}) == (["a", "b"], [1, 2, 3])
    assert shared_seeds({"c": [9], "a": [0, 1, 2, 3], "b": [1, 2, 3, 4]}) == (["a", "b"], [1, 2, 3])


def test_of_as_many_results_those_of_more_methods():
    assert shared_seeds({"a": [0, 1], "b": [0]}) == (["a", "b"], [0])


def test_one_method_of_each_group_is_compared():
    """The final step alone has 20 seeds, which no way has."""
    have = {"final": range(20), "way": range(6)}
    assert shared_seeds(have) == (["final"], list(range(20)))
    assert shared_seeds(have, (["final"], ["way"])) == (["final", "way"], [0, 1, 2, 3, 4, 5])
    assert shared_seeds({"final": [0], "way": [1]}, (["final"], ["way"])) == ([], [])

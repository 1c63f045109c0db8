"""Row numbers of matched samples, and their file on disk."""

import logging

import numpy as np
import pytest

from seqfinal_jax.data import build_sequence
from seqfinal_jax.data.matching import rows as module
from seqfinal_jax.data.matching.links import MATCHING_RULES
from seqfinal_jax.data.matching.rows import matched_rows, usage_counts
from seqfinal_jax.data.sequences.pool import pool_sequences


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def pool():
    sequences = {
        ("main", seed): build_sequence("digits", "rotation:corruption", 300, 250, 20, seed=seed, cache=False)
        for seed in (0, 1)
    }
    return pool_sequences(sequences)


def rows_of(pool, seed):
    return pool.split_rows(("main", seed), (0, 1, 2), "train")


def refuse_to_match(monkeypatch):
    def refuse(*_):
        raise AssertionError("matched although it is cached")

    monkeypatch.setattr(module, "links_back", refuse)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("how", MATCHING_RULES)
def test_rows_are_of_their_step_and_of_the_final_classes(pool, how):
    rows = rows_of(pool, 1)
    matched = matched_rows(pool.images, pool.labels, rows, how, cache=False)
    assert [len(numbers) for numbers in matched] == [len(rows[2])] * 2
    for numbers, of_step in zip(matched, rows, strict=False):
        assert set(numbers.tolist()) <= set(of_step.tolist())
        np.testing.assert_array_equal(np.bincount(pool.labels[numbers]), np.bincount(pool.labels[rows[2]]))
    if how == "nearest_neighbours":
        np.testing.assert_array_equal(pool.labels[matched[0]], pool.labels[rows[2]])


@pytest.mark.parametrize("how", MATCHING_RULES)
def test_a_second_call_reads_the_file(pool, how, cache_dir, monkeypatch, caplog):
    first = matched_rows(pool.images, pool.labels, rows_of(pool, 0), how)
    (path,) = cache_dir.iterdir()
    assert path.name.startswith(how)
    refuse_to_match(monkeypatch)
    with caplog.at_level(logging.INFO):
        assert_same(matched_rows(pool.images, pool.labels, rows_of(pool, 0), how), first)
    assert f"read from {path}" in caplog.text


def test_the_file_is_found_wherever_the_samples_lie(pool, cache_dir, monkeypatch):
    first = matched_rows(pool.images, pool.labels, rows_of(pool, 1), "nearest_neighbours")
    refuse_to_match(monkeypatch)
    start = rows_of(pool, 1)[0][0]
    moved = [numbers - start for numbers in rows_of(pool, 1)]
    again = matched_rows(pool.images[start:], pool.labels[start:], moved, "nearest_neighbours")
    assert_same(again, [numbers - start for numbers in first])


def cut(content):
    return content[: len(content) // 2]


def change_a_position(content):
    place = content.index(b"positions.npy") + 400
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [cut, change_a_position, lambda content: b"no zip at all"])
def test_a_damaged_file_is_reported_and_made_anew(pool, cache_dir, caplog, damage):
    first = matched_rows(pool.images, pool.labels, rows_of(pool, 0), "nearest_neighbours")
    (path,) = cache_dir.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert_same(matched_rows(pool.images, pool.labels, rows_of(pool, 0), "nearest_neighbours"), first)
    assert "is damaged" in caplog.text
    assert path.read_bytes() == whole


def test_the_key_holds_rule_images_and_labels(pool, cache_dir):
    rows, labels, images = rows_of(pool, 0), pool.labels.copy(), pool.images.copy()
    for how in MATCHING_RULES:
        matched_rows(images, labels, rows, how)
    labels[rows[0][:2]] = labels[rows[0][:2]][::-1]
    images[rows[1][0], 0, 0, 0] += 1
    matched_rows(pool.images, labels, rows, "nearest_neighbours")
    matched_rows(images, pool.labels, rows, "nearest_neighbours")
    matched_rows(images, pool.labels, rows[1:], "nearest_neighbours")
    assert len(list(cache_dir.iterdir())) == 5


def test_without_cache_or_earlier_steps_nothing_is_written(pool, cache_dir):
    matched_rows(pool.images, pool.labels, rows_of(pool, 0), "nearest_neighbours", cache=False)
    assert matched_rows(pool.images, pool.labels, rows_of(pool, 0)[2:], "nearest_neighbours") == []
    assert not cache_dir.exists()


def test_errors_are_those_of_the_rules(pool, cache_dir):
    rows = rows_of(pool, 0)
    with pytest.raises(ValueError, match="matching_memory_gib"):
        matched_rows(pool.images, pool.labels, rows, "optimal_matching", memory_gib=1e-9)
    with pytest.raises(ValueError, match="unknown choice of samples"):
        matched_rows(pool.images, pool.labels, rows, "all")
    no_nine = rows[0][pool.labels[rows[0]] != 9]
    with pytest.raises(ValueError, match="step 0: class 9"):
        matched_rows(pool.images, pool.labels, [no_nine, *rows[1:]], "nearest_neighbours")


def test_usage_counts_every_sample_of_a_step():
    rows = [np.array([7, 3, 5]), np.array([11, 10]), np.array([20, 21, 22, 23])]
    matched = [np.array([5, 5, 3, 5]), np.array([10, 10, 10, 10])]
    counts = usage_counts(rows, matched)
    assert [step.tolist() for step in counts] == [[0, 1, 3], [0, 4], [1, 1, 1, 1]]

import logging

import numpy as np
import pytest

from seqfinal_jax.data import build_sequence
from seqfinal_jax.data.sequences import cache as sequence_cache
from seqfinal_jax.data.sequences import sequence

ARGUMENTS = {"dataset": "digits", "shifts": "corruption:rotation", "source_size": 60, "target_sizes": 40}
ARGUMENTS |= {"test_size": 50, "test_all_steps": True}


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def assert_same(one, other):
    assert one.fingerprint == other.fingerprint
    for a, b in zip(one.steps, other.steps, strict=True):
        assert (a.test is None) == (b.test is None)
        for name in ("train", "valid") + (("test",) if a.test is not None else ()):
            for column in ("images", "labels", "source_index"):
                mine, theirs = getattr(getattr(a, name), column), getattr(getattr(b, name), column)
                np.testing.assert_array_equal(mine, theirs)
                assert mine.dtype == theirs.dtype


def refuse_to_build(monkeypatch):
    def refuse(*_):
        raise AssertionError("built although it is cached")

    monkeypatch.setattr(sequence, "accumulate", refuse)


def test_a_second_build_reads_the_stored_sequence(cache_dir, monkeypatch):
    built = build_sequence(**ARGUMENTS)
    assert [path.name for path in cache_dir.iterdir()] == [f"{built.name}-{built.fingerprint[:16]}.npz"]
    refuse_to_build(monkeypatch)
    assert_same(build_sequence(**ARGUMENTS), built)


def test_without_cache_nothing_is_written(cache_dir):
    build_sequence(**ARGUMENTS, cache=False)
    assert not cache_dir.exists()


def cut(content):
    return content[: len(content) // 2]


def change_a_pixel(content):
    place = content.index(b"images.npy") + 4000
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage", [cut, change_a_pixel, lambda content: b"", lambda content: b"no zip at all"]
)
def test_a_damaged_file_is_reported_and_built_anew(cache_dir, caplog, damage):
    built = build_sequence(**ARGUMENTS)
    (path,) = cache_dir.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with caplog.at_level(logging.WARNING):
        assert_same(build_sequence(**ARGUMENTS), built)
    assert "is damaged" in caplog.text
    assert "built again" in caplog.text
    assert path.read_bytes() == whole


def test_a_file_of_another_sequence_is_not_taken(cache_dir, caplog):
    one, other = build_sequence(**ARGUMENTS), build_sequence(**ARGUMENTS, seed=1)
    paths = [sequence_cache.cache_path(s.name, s.fingerprint) for s in (one, other)]
    paths[0].write_bytes(paths[1].read_bytes())
    assert_same(build_sequence(**ARGUMENTS), one)
    assert "do not match their digest" in caplog.text


def test_a_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "file"))
    assert len(build_sequence(**ARGUMENTS).steps) == 3
    assert "the sequence is not cached" in caplog.text


def test_a_failed_write_leaves_nothing_behind(cache_dir, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(build_sequence(**ARGUMENTS).steps) == 3
    assert list(cache_dir.iterdir()) == []
    assert "No space left" in caplog.text

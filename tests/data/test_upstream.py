import os
import pickle

import numpy as np
import pytest

from seqfinal_jax.data import SourceError
from seqfinal_jax.data.cifar import CIFAR10
from seqfinal_jax.data.upstream import RawFile, checked, find_upstream, unpickle
from tests.data.toy_cifar import python2_pickle

UPSTREAM = CIFAR10.upstream
CONTENT = {b"data": np.arange(12, dtype=np.uint8).reshape(2, 6), b"labels": [3, 4], b"batch_label": b"one"}


def read(content):
    return unpickle(RawFile("data_batch_1", "data_batch_1", content), UPSTREAM)


@pytest.mark.parametrize(
    "write", [python2_pickle, lambda c: pickle.dumps(c, 3), lambda c: pickle.dumps(c, 4)], ids=["2", "3", "4"]
)
def test_plain_pickles_are_read(write):
    found = read(write(CONTENT))
    np.testing.assert_array_equal(found["data"], CONTENT[b"data"])
    assert found["data"].dtype == np.uint8
    assert (found["labels"], found["batch_label"]) == ([3, 4], b"one")


def test_the_python_2_form_is_the_upstream_form():
    assert b"numpy.core.multiarray" in python2_pickle(CONTENT)
    assert pickle.loads(python2_pickle(CONTENT), encoding="bytes")[b"batch_label"] == b"one"


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 4])
def test_foreign_code_is_not_run(tmp_path, protocol):
    content = pickle.dumps({"data": Harmful(tmp_path / "harm")}, protocol)
    with pytest.raises(SourceError, match=r"found a reference to (posix|nt).mkdir, which was not run"):
        read(content)
    assert not (tmp_path / "harm").exists()
    pickle.loads(content)
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(CONTENT, 4)[:-20], r"expected a whole pickle, found \d+ bytes that cannot be read"),
        (b"some words", "expected a whole pickle"),
        (pickle.dumps([1, 2]), "expected a dictionary, found list"),
        (pickle.dumps({b"data": np.zeros(3)}, 4), "reference to an array of type 'f8'"),
        (pickle.dumps({b"data": np.array([object])}, 4), "which was not run"),
    ],
)
def test_damaged_pickles(content, message):
    with pytest.raises(SourceError, match=message) as error:
        read(content)
    assert "cifar-10-python.tar.gz" in str(error.value) or "dictionary" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"\n <!DOCTYPE html><html>not found</html>", "found a web page"),
        (b"<HTML>log in first</HTML>", "found a web page"),
    ],
)
def test_empty_files_and_web_pages(content, message):
    with pytest.raises(SourceError, match=message):
        checked(RawFile("x", "x", content), UPSTREAM)


def test_find_upstream(tmp_path):
    assert find_upstream(UPSTREAM, tmp_path) == []
    (tmp_path / UPSTREAM.archive).touch()
    assert find_upstream(UPSTREAM, tmp_path) == [tmp_path / UPSTREAM.archive]
    folder = tmp_path / UPSTREAM.folder
    folder.mkdir()
    assert find_upstream(UPSTREAM, tmp_path) == [folder, tmp_path / UPSTREAM.archive]
    assert find_upstream(UPSTREAM, folder) == [folder]

import os
import pickle
import tarfile

import numpy as np
import pytest

from seqfinal_jax.data import SourceError
from seqfinal_jax.data.base.cifar import CIFAR10
from seqfinal_jax.data.base.upstream import RawFile, checked, find_upstream, read_files, unpickle
from tests.data.toy_cifar import python2_pickle

UPSTREAM = CIFAR10.upstream
CONTENT = {b"data": np.arange(12, dtype=np.uint8).reshape(2, 6), b"labels": [3, 4], b"batch_label": b"one"}


def read(content):
    return unpickle(RawFile("data_batch_1", "data_batch_1", content), UPSTREAM)


@pytest.mark.parametrize(
    "write",
    [python2_pickle, *(lambda c, p=protocol: pickle.dumps(c, p) for protocol in (2, 3, 4, 5))],
    ids=["of Python 2", "2", "3", "4", "5"],
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


def test_only_harmless_encodings_are_undone():
    rot13 = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    with pytest.raises(SourceError, match="the encoding 'rot13'"):
        read(rot13)


def upstream_files(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in UPSTREAM.files:
        (folder / name).write_bytes(b"content of " + name.encode())
    return folder


@pytest.mark.parametrize("target", ["elsewhere", f"x/{UPSTREAM.folder}"])
@pytest.mark.parametrize("link", ["short", UPSTREAM.folder])
def test_a_folder_is_found_through_links_of_any_name(tmp_path, target, link):
    real = upstream_files(tmp_path / target)
    place = tmp_path / "data" / link
    place.parent.mkdir()
    place.symlink_to(real, target_is_directory=True)
    assert find_upstream(UPSTREAM, place)[0] == place
    names = [file.name for file in read_files(UPSTREAM, place)]
    assert names == list(UPSTREAM.files)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_is_read_whether_packed_or_not(tmp_path, mode):
    """Some programs unpack a .tar.gz on the way and leave its name."""
    path = tmp_path / UPSTREAM.archive
    with tarfile.open(path, mode) as archive:
        archive.add(upstream_files(tmp_path / UPSTREAM.folder), UPSTREAM.folder)
    found = {file.name: file.content for file in read_files(UPSTREAM, path)}
    assert found == {name: b"content of " + name.encode() for name in UPSTREAM.files}
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(SourceError, match=r"cut off|not found|cannot be read"):
        list(read_files(UPSTREAM, path))


def test_a_whole_archive_beside_a_broken_folder_is_taken(tmp_path, monkeypatch, caplog):
    from seqfinal_jax.data.base import cifar

    folder = upstream_files(tmp_path / UPSTREAM.folder)
    (folder / "data_batch_3").unlink()
    (tmp_path / UPSTREAM.archive).write_bytes(b"")
    read, opened = cifar.read_files, []
    monkeypatch.setattr(cifar, "read_files", lambda *given: opened.append(given[1].name) or read(*given))
    with pytest.raises(SourceError, match=r"tar\.gz: expected data, found an empty file"):
        cifar.load_cifar(CIFAR10, tmp_path)
    assert opened == [UPSTREAM.folder, UPSTREAM.archive]
    assert "missing data_batch_3" in caplog.text
    (tmp_path / UPSTREAM.archive).unlink()
    with pytest.raises(SourceError, match="missing data_batch_3"):
        cifar.load_cifar(CIFAR10, tmp_path)

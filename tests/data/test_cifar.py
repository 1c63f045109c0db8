import hashlib
import io
import os
import pickle
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from seqfinal_jax.data import SourceError, load_source
from seqfinal_jax.data.base.cifar import CIFAR10, CIFAR100, load_cifar
from seqfinal_jax.data.base.cifar_names import FINE, PLACE_OF_FINE, SUPERCLASS_OF_FINE, SUPERCLASSES
from tests.data.toy_cifar import TINY10, TINY100, python2_pickle, real_cifar, toy_files, toy_source, write_toy

TINY = pytest.mark.parametrize("tiny", [TINY10, TINY100], ids=["cifar10", "cifar100"])


@pytest.fixture(autouse=True)
def no_tfds(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)


def same_content(source, other):
    return source.record["content_sha256"] == other.record["content_sha256"]


def write_archive(tiny, path, change=None):
    """An archive in the upstream layout; `change` edits file name -> bytes."""
    files = {name: python2_pickle(content) for name, content in toy_files(tiny).items()}
    if change:
        change(files)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{tiny.upstream.folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_fine_classes_are_partitioned():
    assert len(FINE) == len(set(FINE)) == 100
    assert (FINE[0], FINE[55], FINE[69], FINE[99]) == ("apple", "otter", "rocket", "worm")
    assert (SUPERCLASS_OF_FINE[55], PLACE_OF_FINE[55]) == (0, 0)
    assert (SUPERCLASS_OF_FINE[69], PLACE_OF_FINE[69]) == (19, 4)
    assert np.bincount(SUPERCLASS_OF_FINE * 5 + PLACE_OF_FINE).tolist() == [1] * 100
    assert len(SUPERCLASSES) == 20


@TINY
def test_folder(tiny, tmp_path):
    write_toy(tiny, tmp_path)
    np.save(tmp_path / tiny.upstream.folder / "exact.npy", np.ones(3))
    source = load_cifar(tiny, tmp_path)
    assert same_content(source, toy_source(tiny))
    assert same_content(load_cifar(tiny, tmp_path / tiny.upstream.folder), source)
    assert (source.record["origin"], source.record["official"]) == ("folder", False)
    assert source.record["path"] == str(tmp_path / tiny.upstream.folder)
    assert set(source.record["files"]) == set(tiny.upstream.files)
    assert "not the official files" in source.record["note"]


@TINY
def test_archive(tiny, tmp_path):
    write_archive(tiny, tmp_path / tiny.upstream.archive)
    source = load_cifar(tiny, tmp_path)
    assert same_content(source, toy_source(tiny))
    assert (source.record["origin"], source.record["official"]) == ("archive", False)
    assert set(source.record["files"]) == {*tiny.upstream.files, tiny.upstream.archive}
    assert [path.name for path in tmp_path.iterdir()] == [tiny.upstream.archive]


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def with_sums_of(tiny, folder):
    sums = {name: md5(folder / name) for name in tiny.upstream.files}
    return replace(tiny, upstream=replace(tiny.upstream, files=sums))


def test_official_files_are_recognised_by_their_md5(tmp_path, caplog):
    write_toy(TINY100, tmp_path)
    official = with_sums_of(TINY100, tmp_path / TINY100.upstream.folder)
    record = load_cifar(official, tmp_path).record
    assert (record["official"], record["note"]) == (True, "the official files")
    assert all(file["official"] for file in record["files"].values())
    assert caplog.text == ""


def test_a_wrong_md5_is_recorded_and_reported(tmp_path, caplog):
    write_toy(TINY10, tmp_path)
    folder = tmp_path / TINY10.upstream.folder
    official = with_sums_of(TINY10, folder)
    content = toy_files(TINY10)["data_batch_4"]
    (folder / "data_batch_4").write_bytes(swap(content, "batch_label", b"another label"))
    record = load_cifar(official, tmp_path).record
    assert (record["official"], record["note"]) == (False, "not the official files: data_batch_4")
    assert record["files"]["data_batch_4"] == {"md5": md5(folder / "data_batch_4"), "official": False}
    assert record["files"]["data_batch_5"]["official"] is True
    assert "differ from the official ones (data_batch_4)" in caplog.text


def test_an_archive_packed_anew_is_told_from_its_official_files(tmp_path):
    write_toy(TINY100, tmp_path / "unpacked")
    official = with_sums_of(TINY100, tmp_path / "unpacked" / TINY100.upstream.folder)
    archive = tmp_path / TINY100.upstream.archive
    write_archive(TINY100, archive)
    record = load_cifar(official, tmp_path).record
    assert record["official"] is True
    assert record["files"][archive.name] == {"md5": md5(archive), "official": False}
    same = replace(official, upstream=replace(official.upstream, archive_md5=md5(archive)))
    assert load_cifar(same, tmp_path).record["files"][archive.name]["official"] is True


def test_labels_of_cifar100_are_super_classes(tmp_path):
    write_toy(TINY100, tmp_path)
    source = load_cifar(TINY100, tmp_path)
    assert (source.num_classes, source.num_subclasses, source.class_names[0]) == (20, 5, "aquatic_mammals")
    assert (source.train_labels[55], source.train_subclass[55]) == (0, 0)
    assert (source.test_labels[95], source.test_subclass[95]) == (0, 4)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_full_size_folder(name, toy_cifar_dir, toy_cifar10, toy_cifar100):
    source = load_source(name, toy_cifar_dir)
    assert same_content(source, {"cifar10": toy_cifar10, "cifar100": toy_cifar100}[name])


def swap(content, key, value):
    return python2_pickle({**content, key.encode(): value})


def first_label(value):
    return lambda c: swap(c, "labels", [value, *c[b"labels"][1:]])


BAD_BATCHES = {
    "not a batch": (lambda c: python2_pickle({b"x": 1}), r"the keys 'data' and 'labels' of cifar10, found \['x'\]"),
    "too few rows": (lambda c: swap(c, "data", c[b"data"][:9]), r"uint8 \(10, 3072\), found uint8 \(9, 3072\)"),
    "no array": (lambda c: swap(c, "data", [1, 2]), "expected 'data' as uint8 .*, found list"),
    "float": (lambda c: pickle.dumps({**c, b"data": c[b"data"] / 2}, 4), "an array of type 'f8'"),
    "too few labels": (lambda c: swap(c, "labels", [1, 2]), "expected a list of 10 labels, found 2"),
    "label list": (lambda c: swap(c, "labels", b"123"), "expected a list of 10 labels, found a bytes"),
    "label range": (first_label(10), r"expected labels 0\.\.9, found 10"),
    "label type": (first_label(1.5), r"expected labels 0\.\.9, found 1.5"),
    "label count": (first_label(1), r"training split: expected 5 images of 'airplane' \(label 0\), found 4"),
    "empty": (lambda c: b"", "found an empty file"),
    "cut off": (lambda c: python2_pickle(c)[:5000], "expected a whole pickle, found 5000 bytes"),
    "web page": (lambda c: b"<!doctype html><p>404", "found a web page"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_BATCHES)
@pytest.mark.parametrize("place", ["folder", "archive"])
def test_bad_batches(case, place, tmp_path):
    damage, message = BAD_BATCHES[case]
    damaged = damage(toy_files(TINY10)["data_batch_2"])
    if place == "folder":
        write_toy(TINY10, tmp_path)
        (tmp_path / TINY10.upstream.folder / "data_batch_2").write_bytes(damaged)
    else:
        archive = tmp_path / TINY10.upstream.archive
        write_archive(TINY10, archive, lambda files: files.update(data_batch_2=damaged))
    with pytest.raises(SourceError, match=message) as error:
        load_cifar(TINY10, tmp_path)
    assert "data_batch_2" in str(error.value) or case == "label count"


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@TINY
@pytest.mark.parametrize("place", ["folder", "archive"])
def test_code_in_a_batch_is_never_run(tiny, place, tmp_path):
    content = {**toy_files(tiny)[tiny.test_file], b"filenames": Harmful(tmp_path / "harm")}
    damaged = pickle.dumps(content, 4)
    if place == "folder":
        write_toy(tiny, tmp_path)
        (tmp_path / tiny.upstream.folder / tiny.test_file).write_bytes(damaged)
    else:
        archive = tmp_path / tiny.upstream.archive
        write_archive(tiny, archive, lambda files: files.update({tiny.test_file: damaged}))
    with pytest.raises(SourceError, match=r"found a reference to \w+\.mkdir, which was not run"):
        load_cifar(tiny, tmp_path)
    assert not (tmp_path / "harm").exists()


def test_a_wrong_super_class_is_found(tmp_path):
    write_toy(TINY100, tmp_path)
    content = toy_files(TINY100)["test"]
    content[b"coarse_labels"][1] = 7
    (tmp_path / TINY100.upstream.folder / "test").write_bytes(python2_pickle(content))
    with pytest.raises(SourceError, match="row 1 has fine label 1, expected super-class 1, found 7"):
        load_cifar(TINY100, tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (lambda names: [names[1], names[0], *names[2:]], "label 0 to be 'apple', found 'aquarium_fish'"),
        (lambda names: names[:99], "expected 100 label names, found 99"),
        (lambda names: None, "expected a list 'fine_label_names'"),
    ],
)
def test_label_names_must_be_the_official_ones(names, message, tmp_path):
    write_toy(TINY100, tmp_path)
    meta = swap({}, "fine_label_names", names([name.encode() for name in FINE]))
    (tmp_path / TINY100.upstream.folder / "meta").write_bytes(meta)
    with pytest.raises(SourceError, match=message):
        load_cifar(TINY100, tmp_path)


def test_missing_files_are_named(tmp_path):
    write_toy(TINY10, tmp_path)
    (tmp_path / TINY10.upstream.folder / "data_batch_3").unlink()
    with pytest.raises(
        SourceError, match=r"missing data_batch_3; expected .* found batches.meta, data_batch_1,"
    ):
        load_cifar(TINY10, tmp_path)


def test_an_archive_that_lacks_a_file(tmp_path):
    write_archive(TINY10, tmp_path / TINY10.upstream.archive, lambda files: files.pop("test_batch"))
    with pytest.raises(SourceError, match="expected cifar-10-batches-py/test_batch inside, not found"):
        load_cifar(TINY10, tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_an_archive_with_something_else_in_a_file_s_place(kind, tmp_path):
    member = tarfile.TarInfo(f"{TINY10.upstream.folder}/data_batch_1")
    member.type, member.linkname = kind, "nowhere"
    with tarfile.open(tmp_path / TINY10.upstream.archive, "w:gz") as archive:
        archive.addfile(member)
    with pytest.raises(SourceError, match="expected cifar-10-batches-py/data_batch_1 to be a file"):
        load_cifar(TINY10, tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) * 2 // 3], "bytes that cannot be read .* probably cut off"),
        (lambda content: content[:30], "cannot be read"),
        (lambda content: b"PK\x03\x04 a zip", "expected a whole .tar.gz archive"),
        (lambda content: b"", "found an empty file"),
        (lambda content: b"<html>please log in</html>", r"a web page .* Fetch cifar-10-python.tar.gz again"),
        (lambda content: content[:-8] + bytes(8), "cannot be read"),
    ],
    ids=["cut", "cut early", "zip", "empty", "web page", "bad checksum"],
)  # fmt: skip
def test_damaged_archives(damage, message, tmp_path):
    archive = tmp_path / TINY10.upstream.archive
    write_archive(TINY10, archive)
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(SourceError, match=message) as error:
        load_cifar(TINY10, tmp_path)
    assert str(archive) in str(error.value)


def test_the_folder_of_the_other_data_set_is_recognised(tmp_path):
    write_toy(TINY100, tmp_path)
    with pytest.raises(SourceError, match="expected cifar10, found the folder of cifar100; name the folder"):
        load_cifar(TINY10, tmp_path / TINY100.upstream.folder)


def test_an_empty_folder_and_a_file_in_its_place(tmp_path):
    folder = tmp_path / TINY10.upstream.folder
    folder.mkdir()
    with pytest.raises(SourceError, match=r"missing data_batch_1, .*, found nothing. Unpack cifar-10-python"):
        load_cifar(TINY10, tmp_path)
    folder.rmdir()
    folder.write_bytes(b"not a folder")
    with pytest.raises(SourceError, match=r"expected a whole .tar.gz archive, found 12 bytes"):
        load_cifar(TINY10, tmp_path)


def test_the_archive_itself_is_no_data_folder(tmp_path):
    archive = tmp_path / TINY10.upstream.archive
    write_archive(TINY10, archive)
    with pytest.raises(SourceError, match=r"gz': expected a folder, found a file there"):
        load_source("cifar10", archive)


def test_nothing_found_says_where_it_looked_and_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "cifar-10-batches-bin").mkdir()
    with pytest.raises(SourceError) as error:
        load_source("cifar10", tmp_path)
    message = str(error.value)
    assert f"expected cifar-10-batches-py/ or cifar-10-python.tar.gz in {tmp_path}" in message
    assert "found cifar-10-batches-bin" in message
    assert "pip install tensorflow-datasets" in message
    monkeypatch.delenv("SEQFINAL_DATA_DIR", raising=False)
    with pytest.raises(SourceError, match="no folder given by --data_dir or SEQFINAL_DATA_DIR"):
        load_source("cifar100")


real = pytest.mark.skipif(not real_cifar(), reason="SEQFINAL_DATA_DIR names no real CIFAR")


def words(labels):
    return " ".join(map(str, labels))


@real
def test_real_cifar10():
    source = load_source("cifar10")
    assert words(source.train_labels[:10]) == "6 9 9 4 1 1 2 7 8 3"
    assert words(source.test_labels[:10]) == "3 8 8 0 6 6 1 6 3 1"
    official = {name: source.record["files"][name]["official"] for name in CIFAR10.upstream.files}
    assert source.record["official"] is all(official.values())
    assert official["batches.meta"] is True


@real
def test_real_cifar100():
    """Fine labels 19 29 0 11 1 86 90 28 23 31, by way of super-class and place; the test set likewise."""
    source = load_source("cifar100")
    assert source.record["official"] is True
    for labels, subclass, fine in (
        (source.train_labels, source.train_subclass, [19, 29, 0, 11, 1, 86, 90, 28, 23, 31]),
        (source.test_labels, source.test_subclass, [49, 33, 72, 51, 71, 92, 15, 14, 23, 0]),
    ):
        assert labels[:10].tolist() == SUPERCLASS_OF_FINE[fine].tolist()
        assert subclass[:10].tolist() == PLACE_OF_FINE[fine].tolist()
    assert CIFAR100.upstream.files["train"] == source.record["files"]["train"]["md5"]

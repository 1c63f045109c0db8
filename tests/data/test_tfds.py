import sys
from types import SimpleNamespace

import numpy as np
import pytest

from seqfinal_jax.data import SourceError
from seqfinal_jax.data.base import tfds
from seqfinal_jax.data.base.cifar import load_cifar
from seqfinal_jax.data.base.tfds import upstream_order
from tests.data.toy_cifar import TINY10, TINY100, toy_images, toy_labels, toy_source


def examples(tiny, split, ids=True):
    """What TensorFlow Datasets gives: the same images in an order of its own."""
    first, count = (0, tiny.train_count) if split == "train" else (tiny.train_count, tiny.test_count)
    images, labels = toy_images(first, count), toy_labels(tiny, count)
    order = np.random.RandomState(0).permutation(count)
    found = [
        {"image": images[k], "label": np.int64(labels[k]), "id": f"{split}_{k:05d}".encode()} for k in order
    ]
    if not ids:
        for example in found:
            del example["id"]
    return found


@pytest.fixture
def fake(monkeypatch):
    def install(data_source):
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", SimpleNamespace(data_source=data_source))

    return install


@pytest.mark.parametrize("tiny", [TINY10, TINY100], ids=["cifar10", "cifar100"])
def test_the_upstream_order_is_restored(tiny, fake):
    fake(lambda name, split: examples(tiny, split))
    source = load_cifar(tiny, None)
    assert source.record["content_sha256"] == toy_source(tiny).record["content_sha256"]
    assert (source.record["origin"], source.record["official"]) == ("tfds", "unverified")
    assert "upstream order restored" in source.record["note"]


def test_it_is_asked_only_where_the_folder_has_nothing(tmp_path, fake, caplog):
    asked = []
    fake(lambda name, split: asked.append((name, split)) or examples(TINY10, split))
    load_cifar(TINY10, tmp_path)
    assert asked == [("cifar10", "train"), ("cifar10", "test")]
    assert "asking TensorFlow Datasets" in caplog.text


def test_without_ids_the_order_stays_and_the_record_says_so(fake, caplog):
    fake(lambda name, split: examples(TINY10, split, ids=False))
    source = load_cifar(TINY10, None)
    assert source.train_labels.tolist() == [int(e["label"]) for e in examples(TINY10, "train")]
    assert "draws differ" in source.record["note"]
    assert "draws differ" in caplog.text


def test_missing_examples_are_found(fake):
    fake(lambda name, split: examples(TINY10, split)[1:])
    with pytest.raises(SourceError, match=r"expected example ids 0\.\.48, each once"):
        load_cifar(TINY10, None)
    fake(lambda name, split: examples(TINY10, split, ids=False)[1:])
    with pytest.raises(SourceError, match="expected 5 images of"):
        load_cifar(TINY10, None)


def test_a_failed_download_says_what_to_do(fake):
    def fail(name, split):
        raise ConnectionError("no route to host")

    fake(fail)
    with pytest.raises(
        SourceError, match=r"no train split \(ConnectionError: no route to host\). Put cifar-10-py"
    ):
        load_cifar(TINY10, None)


def test_a_missing_package_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(SourceError, match=r"cannot be imported .* pip install tensorflow-datasets"):
        load_cifar(TINY10, None)


def test_upstream_order():
    assert upstream_order([b"train_2", "train_00000", b"train_1"], "x").tolist() == [1, 2, 0]
    assert upstream_order([None, b"train_0"], "x") is None
    assert upstream_order([b"airplane_1", b"train_0"], "x") is None
    with pytest.raises(SourceError, match="each once, found others or repeats"):
        upstream_order([b"test_0", b"test_0"], "x")


def not_here(tmp_path, prepared):
    folder = tmp_path / "cifar10"
    if prepared:
        folder.mkdir()
    return SimpleNamespace(
        builder=lambda name: SimpleNamespace(data_path=folder),
        data_source=lambda name, split: examples(TINY10, split),
    )


@pytest.fixture
def no_network(monkeypatch):
    """Nobody answers; what was asked."""
    asked = []

    def create_connection(address, timeout):
        asked.append((address, timeout))
        raise OSError("no route to host")

    monkeypatch.setattr(tfds.socket, "create_connection", create_connection)
    for variable in tfds.PROXIES:
        monkeypatch.delenv(variable, raising=False)
    return asked


def test_without_a_network_it_ends_at_once_and_says_what_to_fetch(tmp_path, monkeypatch, no_network):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", not_here(tmp_path, prepared=False))
    with pytest.raises(
        SourceError, match=r"cannot be downloaded: \S+ does not answer \(no route to host\)\. Put"
    ) as error:
        load_cifar(TINY10, None)
    assert TINY10.upstream.archive in str(error.value) and "--data_dir" in str(error.value)
    assert len(no_network) == 1 and no_network[0][1] <= 10


def test_what_was_downloaded_before_needs_no_network(tmp_path, monkeypatch, no_network):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", not_here(tmp_path, prepared=True))
    assert load_cifar(TINY10, None).record["origin"] == "tfds" and not no_network


def test_behind_a_proxy_the_download_is_tried(tmp_path, monkeypatch, no_network):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", not_here(tmp_path, prepared=False))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert load_cifar(TINY10, None).record["origin"] == "tfds" and not no_network

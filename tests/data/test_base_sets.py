"""Base data sets beside CIFAR: IDX files, and a user's own images."""

import gzip
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from configs.fashion_mnist_rcl import get_config
from seqfinal_jax.data.base import idx
from seqfinal_jax.data.base.sources import SourceError, load_source
from seqfinal_jax.data.sequences.sequence import build_sequence
from tests.data.made_images import own_folder, picture
from tests.runs import make_plan

PLACES = [
    idx.DEBIAN,
    *(Path(place) / "fashion-mnist" for place in [os.environ.get("SEQFINAL_DATA_DIR")] if place),
]
REAL = next((place for place in PLACES if (place / f"{idx.FILES[0]}.gz").is_file()), None)


def idx_bytes(array):
    header = bytes((0, 0, idx.BYTES, array.ndim)) + np.array(array.shape, ">i4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def made_files(tmp_path_factory):
    """Files of the right sizes: image k holds k mod 251 everywhere, labels go round."""
    folder = tmp_path_factory.mktemp("idx") / "fashion-mnist"
    folder.mkdir()
    for place, count in ((0, idx.TRAIN), (2, idx.TEST)):
        images = np.broadcast_to((np.arange(count) % 251)[:, None, None], (count, 28, 28))
        (folder / f"{idx.FILES[place]}.gz").write_bytes(gzip.compress(idx_bytes(images), 1))
        (folder / idx.FILES[place + 1]).write_bytes(idx_bytes(np.arange(count) % 10))
    return folder


def test_packed_and_plain_files(made_files):
    source = load_source("fashion_mnist", made_files.parent)
    assert source.image_shape == (28, 28, 1) and source.class_names[9] == "ankle boot"
    assert len(source.train_labels) == 60000 and len(source.test_labels) == 10000
    assert source.train_images[252, 5, 5, 0] == 1 and source.test_labels[13] == 3
    assert source.record["official"] is False and source.record["origin"] == "folder"


def test_damaged_files_are_refused(made_files, tmp_path):
    for name in os.listdir(made_files):
        (tmp_path / name).symlink_to(made_files / name)
    packed = tmp_path / f"{idx.FILES[0]}.gz"
    packed.unlink()
    packed.write_bytes((made_files / packed.name).read_bytes()[:1000])
    with pytest.raises(SourceError, match=r"expected a whole .gz file"):
        load_source("fashion_mnist", tmp_path)
    packed.write_bytes(gzip.compress(b"<html>not found</html>"))
    with pytest.raises(SourceError, match="expected an IDX file"):
        load_source("fashion_mnist", tmp_path)
    packed.write_bytes(gzip.compress(idx_bytes(np.zeros((5, 28, 28)))))
    with pytest.raises(SourceError, match="expected 60000 images of 28x28"):
        load_source("fashion_mnist", tmp_path)
    (tmp_path / idx.FILES[3]).unlink()
    with pytest.raises(SourceError, match="missing t10k-labels"):
        load_source("fashion_mnist", tmp_path)


def test_shifts_that_need_colour_or_sub_classes_are_refused(made_files):
    for shifts, reason in (
        ("recolor", "needs colour images"),
        ("subpop", "needs a data set with sub-classes"),
    ):
        config = get_config()
        config.data.shifts, config.data.target_sizes = shifts, (4000,)
        with pytest.raises(ValueError, match=reason):
            make_plan(config, str(made_files.parent)).source.build("main", 0)


def test_a_network_that_shrinks_them_to_nothing_is_refused(made_files):
    config = get_config("smoke")
    config.architectures = ("densenet-4",)
    with pytest.raises(ValueError, match="densenet-4"):
        make_plan(config, str(made_files.parent))


@pytest.mark.skipif(REAL is None, reason="Debian's package dataset-fashion-mnist is not there")
def test_the_official_files():
    source = load_source("fashion_mnist", REAL)
    assert source.record["official"] is True
    assert np.bincount(source.train_labels).tolist() == [6000] * 10
    sequence = build_sequence(
        "fashion_mnist",
        "rotation:corruption:label_flip",
        6000,
        (4000, 6000, 4000),
        5000,
        seed=1007,
        source=source,
    )
    assert [len(step.train) for step in sequence.steps] == [4800, 3200, 4800, 3200]


def test_own_images_with_and_without_a_test_folder(tmp_path):
    own_folder(tmp_path / "split", ("train", "test"), ("cat", "dog"), count=6)
    source = load_source("own_images", tmp_path / "split")
    assert source.image_shape == (32, 32, 3) and source.class_names == ("cat", "dog")
    assert len(source.train_labels) == 12 and len(source.test_labels) == 12
    own_folder(tmp_path, ("whole",), ("cat", "dog"), count=12)
    source = load_source("own_images", tmp_path / "whole")
    assert np.bincount(source.train_labels).tolist() == [10, 10] and len(source.test_labels) == 4
    sequence = build_sequence("own_images", "rotation:label_flip", 10, (6, 6), 4, seed=0, source=source)
    assert sequence.num_classes == 2 and len(sequence.steps[2].test) == 4


def test_own_images_of_a_file(tmp_path):
    arrays = {
        "train_images": picture(0, 40 * 28, 28, 1).reshape(40, 28, 28), "train_labels": np.arange(40) % 4,
        "test_images": picture(1, 8 * 28, 28, 1).reshape(8, 28, 28), "test_labels": np.arange(8) % 4,
    }  # fmt: skip
    np.savez(tmp_path / "own.npz", **arrays)
    source = load_source("own_images", tmp_path)
    assert source.image_shape == (28, 28, 1) and source.class_names == ("0", "1", "2", "3")
    del arrays["test_labels"]
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(SourceError, match="expected the arrays train_images"):
        load_source("own_images", tmp_path)
    own_folder(tmp_path / "deep" / "er", ("a",), ("b",))
    with pytest.raises(SourceError, match="expected train/CLASS/IMAGE"):
        load_source("own_images", tmp_path / "deep")


def test_without_files_tensorflow_datasets_is_asked(tmp_path, monkeypatch):
    def data_source(name, split):
        count = 30 if split == "train" else 10
        return [{"image": picture(k, 28, 28, 1), "label": k % 10} for k in range(count)]

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", SimpleNamespace(data_source=data_source))
    source = load_source("mnist", tmp_path)
    assert source.record["origin"] == "tfds" and source.image_shape == (28, 28, 1)
    assert source.test_labels.tolist() == list(range(10))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(SourceError, match=r"Put train-images-idx3-ubyte.gz and the three"):
        load_source("mnist", tmp_path)

from dataclasses import replace

import numpy as np
import pytest

from seqfinal_jax.data import DATASETS, SourceError, load_source
from seqfinal_jax.data.base.sources import data_folder


@pytest.fixture(scope="module")
def digits():
    return load_source("digits")


def test_registered_names():
    assert {"digits", "cifar10", "cifar100"} <= set(DATASETS)
    with pytest.raises(ValueError, match="unknown data set 'cifar-10'; did you mean 'cifar10'"):
        load_source("cifar-10")


def test_digits(digits):
    """The first scan is a zero whose first row is 0 0 5 13 9 1 0 0 of 16."""
    assert (digits.num_classes, digits.image_shape, digits.num_subclasses) == (10, (32, 32, 3), 1)
    assert np.bincount(digits.train_labels).tolist() == [120] * 10
    assert np.bincount(digits.test_labels).tolist() == [58, 62, 57, 63, 61, 62, 61, 59, 54, 60]
    first = digits.train_images[0]
    assert first[0, ::4, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert digits.train_labels[0] == 0
    np.testing.assert_array_equal(first[:4, 8:12], np.full((4, 4, 3), 80))
    assert digits.train_images.max() == 255
    assert digits.record["origin"] == "embedded"
    assert digits.record["official"] is True


def test_arrays_are_read_only(digits):
    with pytest.raises(ValueError, match="read-only"):
        digits.train_images[0] = 0


def test_the_content_hash_is_one_of_content(digits):
    same = replace(digits, record={}, train_images=digits.train_images.copy())
    assert same.record["content_sha256"] == digits.record["content_sha256"]
    relabelled = replace(digits, record={}, train_labels=digits.train_labels[::-1].copy())
    assert relabelled.record["content_sha256"] != digits.record["content_sha256"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"train_images": s.train_images / 255}, r"expected images as uint8 .*, found float64"),
        (
            lambda s: {"test_images": s.test_images[:, :16]},
            r"test split: .*found \(16, 32, 3\)",
        ),
        (lambda s: {"train_labels": s.train_labels[1:]}, r"expected int32 \(1200,\), found int32 \(1199,\)"),
        (lambda s: {"train_labels": s.train_labels.astype(float)}, "found float64"),
        (lambda s: {"train_labels": s.train_labels + np.int32(1)}, r"expected values 0\.\.9, found 1\.\.10"),
        (lambda s: {"class_names": ("a", "b")}, "10 classes but 2 names"),
        (lambda s: {"train_subclass": s.train_labels}, "for both splits or for none"),
        (
            lambda s: {"train_subclass": s.train_labels * 0, "test_subclass": s.test_labels},
            "test split: sub-cl",
        ),
    ],
)
def test_a_source_that_does_not_fit_together_is_refused(digits, change, message):
    with pytest.raises(SourceError, match=message):
        replace(digits, **change(digits))


def test_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("SEQFINAL_DATA_DIR", raising=False)
    assert data_folder(None) is None
    monkeypatch.setenv("SEQFINAL_DATA_DIR", str(tmp_path))
    assert data_folder(None) == tmp_path
    (tmp_path / "other").mkdir()
    assert data_folder(tmp_path / "other") == tmp_path / "other"
    with pytest.raises(SourceError, match=r"data_dir='.*nowhere': expected a folder, found nothing there"):
        data_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEQFINAL_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(
        SourceError, match=r"SEQFINAL_DATA_DIR='.*file': expected a folder, found a file there"
    ):
        data_folder(None)

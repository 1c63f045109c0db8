"""Stored models: found from wherever they are named, and clear about what they take."""

import os
import shutil

import numpy as np
import pytest

import seqfinal_jax
from seqfinal_jax import stored_model
from tests.runs import smoke_run

CELL = "cells/erm_final/convnet-1/seed0"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    smoke_run(folder, methods=("erm_final",), grid__dropout=(0.0,))
    return folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def logits(workdir, images):
    return seqfinal_jax.load_model(workdir / CELL)(images)


@pytest.mark.parametrize(
    ("start", "path"),
    [
        (CELL, "."),
        ("cells/erm_final/convnet-1", "seed0"),
        ("cells/erm_final", "../erm_final/convnet-1/seed0"),
        (".", f"{CELL}/result.json"),
        (".", f"{CELL}/../seed0/"),
    ],
)
def test_a_cell_is_found_from_anywhere(workdir, images, logits, monkeypatch, start, path):
    monkeypatch.chdir(workdir / start)
    np.testing.assert_array_equal(seqfinal_jax.load_model(path)(images), logits)


def test_a_record_from_before_precision_is_of_float32(tmp_path, monkeypatch):
    """Such a model multiplies as it did when it was trained; one of today in the precision that its record names."""
    smoke_run(tmp_path, methods=("erm_final",), grid__dropout=(0.0,), precision="bfloat16")
    assert seqfinal_jax.load_model(tmp_path / CELL).network.precision == "bfloat16"
    whole = stored_model.read_folder

    def without_precision(folder):
        arrays, meta, rest = whole(folder)
        return arrays, {**meta, "model": {k: v for k, v in meta["model"].items() if k != "precision"}}, rest

    monkeypatch.setattr(stored_model, "read_folder", without_precision)
    assert seqfinal_jax.load_model(tmp_path / CELL).network.precision == "highest"


def test_links_and_stages_are_followed(workdir, images, logits, tmp_path):
    os.symlink(workdir / CELL, tmp_path / "model")
    np.testing.assert_array_equal(seqfinal_jax.load_model(tmp_path / "model")(images), logits)
    stage = next(workdir.glob("stages/*/seed0"))
    np.testing.assert_array_equal(seqfinal_jax.load_model(stage)(images), logits)


@pytest.mark.parametrize(
    "path", ["", "cells", "cells/erm_final", "cells/erm_final/convnet-1", "stages", "no"]
)
def test_other_levels_are_one_clear_line(workdir, path):
    with pytest.raises(ValueError, match=r"holds no model; give a folder cells/METHOD/ARCHITECTURE/seedK"):
        seqfinal_jax.load_model(workdir / path)


def test_a_cell_apart_from_its_run_folder_and_damage_are_named(workdir, tmp_path):

    shutil.copytree(workdir / CELL, tmp_path / "seed0")
    with pytest.raises(ValueError, match="is a cell outside its run folder"):
        seqfinal_jax.load_model(tmp_path / "seed0")
    shutil.copytree(workdir, tmp_path / "run")
    arrays = next((tmp_path / "run").glob("stages/*/seed0/arrays.npz"))
    arrays.write_bytes(arrays.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"the model in .* is damaged"):
        seqfinal_jax.load_model(tmp_path / "run" / CELL)
    shutil.rmtree(tmp_path / "run" / "stages")
    with pytest.raises(ValueError, match=r"should lie in .*stages.*, and is not there"):
        seqfinal_jax.load_model(tmp_path / "run" / CELL)
    (tmp_path / "run" / CELL / "result.json").write_text('{"stages": []}')
    with pytest.raises(ValueError, match=r"result.json is damaged"):
        seqfinal_jax.load_model(tmp_path / "run" / CELL)


def test_pixels_have_one_range_whatever_their_type(workdir, images, logits):
    model = seqfinal_jax.load_model(workdir / CELL)
    for kind in (np.float32, np.float64, np.int64):
        np.testing.assert_allclose(model(images.astype(kind)), logits, rtol=1e-6)
    with pytest.raises(
        ValueError, match=r"expected pixels 0..255, found numbers up to 1, which look like 0..1"
    ):
        model.predict(images / 255)
    with pytest.raises(ValueError, match=r"expected pixels 0..255, found -"):
        model.predict(images.astype(float) - 128)
    with pytest.raises(ValueError, match=r"expected pixels 0..255, found 256 to 511"):
        model.predict(images.astype(int) + 256)
    with pytest.raises(ValueError, match=r"expected pixels 0..255, found nan"):
        model.predict(np.full((1, 32, 32, 3), np.nan))
    with pytest.raises(ValueError, match="expected pixels as numbers"):
        model.predict(images.astype(str))
    assert model.predict(images[:0]).shape == (0,)


def test_one_image_is_taken_as_it_is(workdir, images, logits):
    model = seqfinal_jax.load_model(workdir / CELL)
    one = model(images[2])
    assert one.shape == (10,)
    np.testing.assert_allclose(one, logits[2], rtol=1e-5, atol=1e-6)  # another batch, another order of sums
    assert model.predict(images[2]) == logits[2].argmax()


@pytest.mark.parametrize("shape", [(28, 28, 3), (2, 28, 28, 3), (32, 32), (2, 32, 32, 1)])
def test_other_shapes_are_refused_with_the_remedy(workdir, shape):
    with pytest.raises(ValueError, match=r"scale them to 32 x 32 pixels and give them 3 channels"):
        seqfinal_jax.load_model(workdir / CELL)(np.ones(shape, np.uint8))

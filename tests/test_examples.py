"""The plugins of examples/: each runs on tiny data, and the model that is loaded has the table's accuracy."""

import re
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import seqfinal_jax
from seqfinal_jax.analysis.report import report_run
from seqfinal_jax.analysis.weight_space.run_data import data_reader
from seqfinal_jax.records.plugins import load_plugins
from seqfinal_jax.results.run_folder import CellFolder, read_result
from seqfinal_jax.training.augmentations import AUGMENTATIONS
from tests.plugin_files import forget
from tests.runs import smoke_run
from tests.test_extending import EXAMPLES, OBJECTIVES

FOLDER = Path(__file__).parents[1] / "examples"
METHODS = {
    "wise_ft": ("my_wise_ft",), "window": ("my_window",), "replay": ("my_replay",), "auto_rgn": ("my_auto_rgn",),
    "time_conditioned": ("my_time_conditioned",), "averages": ("my_ema", "my_sequential_average"),
    "domains": ("my_vrex", "my_coral"), "optimisers": ("my_sam", "my_adamw", "my_sgd_cosine"),
    "self_training": ("my_self_training",),
}  # fmt: skip


NAMES = (*(name for each in METHODS.values() for name in each), *OBJECTIVES)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of all methods, with those of docs/objectives.md, which share their stages and programs."""
    folder = tmp_path_factory.mktemp("examples")
    for name in OBJECTIVES:
        (folder / f"{name}.py").write_text(EXAMPLES[name])
    files = [FOLDER / f"{name}.py" for name in METHODS] + [folder / f"{name}.py" for name in OBJECTIVES]
    workdir, plugins = folder / "run", tuple(map(str, files))
    smoke_run(workdir, methods=("erm_fine_tune", *NAMES), plugins=plugins, grid__dropout=(0.0,))
    yield workdir
    forget(FOLDER)
    forget(folder)


def cell(workdir, method):
    return CellFolder(workdir / "cells" / method / "convnet-1" / "seed0", method, "convnet-1", 0)


@pytest.mark.rare
@pytest.mark.parametrize("method", NAMES)
def test_a_loaded_model_has_the_accuracy_of_the_table(run, method):
    own = cell(run, method)
    stored = seqfinal_jax.read_predictions(own.path).test
    model, (sequence, _) = seqfinal_jax.load_model(own.path), data_reader(None)(own)
    images = sequence.steps[-1].test.images
    np.testing.assert_allclose(model(images), stored.logits, rtol=1e-4, atol=1e-4)
    found = np.mean(model.predict(images) == stored.labels)
    assert found == pytest.approx(read_result(own)["test_accuracy"])


@pytest.mark.rare
def test_a_network_and_metrics_of_ones_own(tmp_path):
    files = tuple(str(FOLDER / f"{name}.py") for name in ("vit", "calibration"))
    networks = {"architectures": ("my_vit-1",), "network__stem_width": 16}
    try:
        smoke_run(tmp_path, methods=("erm_final",), plugins=files, grid__dropout=(0.0,), **networks)
        report_run(tmp_path)
        assert (tmp_path / "figures" / "my_confidences.png").is_file()
        own = CellFolder(tmp_path / "cells" / "erm_final" / "my_vit-1" / "seed0", "erm_final", "my_vit-1", 0)
        answers = seqfinal_jax.read_predictions(own.path).test
        model, (sequence, _) = seqfinal_jax.load_model(own.path), data_reader(None)(own)
        np.testing.assert_allclose(
            model(sequence.steps[-1].test.images), answers.logits, rtol=1e-4, atol=1e-4
        )
        found = seqfinal_jax.load_results(tmp_path, metrics=("my_brier",))
        assert 0 < found["test_my_brier"].item() < 2
    finally:
        forget(FOLDER)


@pytest.mark.rare
def test_crops_reach_every_method_and_no_evaluation(tmp_path):
    """Also objectives that make their logits themselves."""
    names = ("my_coral", "my_time_conditioned")
    files = tuple(str(FOLDER / f"{name}.py") for name in ("crops", "domains", "time_conditioned"))
    fields = {"methods": names, "plugins": files, "grid__dropout": (0.0,), "seeds": (0,)}
    try:
        smoke_run(tmp_path, **fields, training__augmentation="my_crop_and_cutout")
        for name in names:
            own = cell(tmp_path, name)
            stored = seqfinal_jax.read_predictions(own.path).test
            model, (sequence, _) = seqfinal_jax.load_model(own.path), data_reader(None)(own)
            found = np.mean(model.predict(sequence.steps[-1].test.images) == stored.labels)
            assert found == pytest.approx(read_result(own)["test_accuracy"])
    finally:
        forget(FOLDER)


def test_crops_by_hand():
    """Every crop is a window of the padded image, and the square that is left out is black."""
    images = np.random.default_rng(0).integers(1, 256, (6, 32, 32, 3)).astype(np.uint8)
    try:
        load_plugins((str(FOLDER / "crops.py"),))
        crop, cutout = (AUGMENTATIONS.get(name) for name in ("my_crop", "my_crop_and_cutout"))
        key = jax.random.key(0)
        padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")
        for image, found in zip(padded, np.asarray(crop(images, key)), strict=True):
            windows = np.lib.stride_tricks.sliding_window_view(image, found.shape)
            assert (windows == found).all((-1, -2, -3)).sum() == 1
        left_out = (np.asarray(cutout(images, key)) == 0).all(-1)
        assert all(0 < count <= 7 * 7 for count in left_out.sum((1, 2)))
    finally:
        forget(FOLDER)


def test_no_example_is_long_or_private():
    texts = [path.read_text() for path in FOLDER.glob("*.py")]
    assert max(text.count("\n") for text in texts) <= 60
    assert not any(re.search(r"batch_stats\[|\._(?!replace)", text) for text in texts)


@pytest.mark.rare
def test_a_choice_names_its_candidates(run):
    grid = pd.read_csv(cell(run, "my_window").path / "grid.csv")
    named = grid[grid.stage == "choice"]
    assert named["k"].tolist() == [3, 2, 1] and named["chosen"].sum() == 1
    report_run(run)
    results = pd.read_csv(run / "results.csv")
    row = results[results.method == "my_window"]
    np.testing.assert_array_equal(row["k"], named.loc[named.chosen, "k"])

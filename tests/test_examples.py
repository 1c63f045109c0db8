"""The plugins of examples/: each runs on tiny data, and the model that is loaded has the table's accuracy."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import seqfinal_jax
from seqfinal_jax.analysis.weight_space.run_data import data_reader
from seqfinal_jax.results.run_folder import CellFolder, read_result
from tests.plugin_files import forget
from tests.runs import smoke_run

FOLDER = Path(__file__).parents[1] / "examples"
METHODS = {
    "wise_ft": ("my_wise_ft",), "window": ("my_window",), "replay": ("my_replay",), "auto_rgn": ("my_auto_rgn",),
    "time_conditioned": ("my_time_conditioned",),
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of all methods, which share their stages and programs."""
    workdir = tmp_path_factory.mktemp("examples") / "run"
    names = tuple(name for each in METHODS.values() for name in each)
    files = tuple(str(FOLDER / f"{name}.py") for name in METHODS)
    smoke_run(workdir, methods=("erm_fine_tune", *names), plugins=files, grid__dropout=(0.0,))
    yield workdir
    forget(FOLDER)


def cell(workdir, method):
    return CellFolder(workdir / "cells" / method / "convnet-1" / "seed0", method, "convnet-1", 0)


@pytest.mark.parametrize("method", [name for each in METHODS.values() for name in each])
def test_a_loaded_model_has_the_accuracy_of_the_table(run, method):
    own = cell(run, method)
    stored = seqfinal_jax.read_predictions(own.path).test
    model, (sequence, _) = seqfinal_jax.load_model(own.path), data_reader(None)(own)
    images = sequence.steps[-1].test.images
    np.testing.assert_allclose(model(images), stored.logits, rtol=1e-4, atol=1e-4)
    found = np.mean(model.predict(images) == stored.labels)
    assert found == pytest.approx(read_result(own)["test_accuracy"])


def test_no_example_is_long_or_private():
    texts = [path.read_text() for path in FOLDER.glob("*.py")]
    assert max(text.count("\n") for text in texts) <= 60
    assert not any(re.search(r"batch_stats\[|\._(?!replace)", text) for text in texts)


def test_a_choice_names_its_candidates(run):
    grid = pd.read_csv(cell(run, "my_window").path / "grid.csv")
    named = grid[grid.stage == "choice"]
    assert named["k"].tolist() == [3, 2, 1] and named["chosen"].sum() == 1
    results = pd.read_csv(run / "results.csv")
    row = results[results.method == "my_window"]
    np.testing.assert_array_equal(row["k"], named.loc[named.chosen, "k"])

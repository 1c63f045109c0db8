"""Models whose objective makes logits in its own way answer the same in the run, when loaded, and in the analysis."""

import json
import shutil

import numpy as np
import pytest

import seqfinal_jax
from seqfinal_jax.analysis import steps
from seqfinal_jax.analysis.weight_space.run_data import data_reader
from seqfinal_jax.analysis.weight_space.run_models import last_update, passed_models
from seqfinal_jax.records import plugins
from seqfinal_jax.records.registry import Registry
from seqfinal_jax.results.run_folder import CellFolder
from seqfinal_jax.results.run_plugins import copy_folder
from tests.runs import smoke_run

ROLLED = '''
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from seqfinal_jax.methods import Stage, Transform, method
from seqfinal_jax.methods.stages.objectives import Pooled


@dataclass(frozen=True)
class Rolled(Pooled):
    """Class k is said by output k - step: nobody can read the answers who does not know the step."""

    by: int = 0
    parts: tuple = (("a", "b"), (0.5,))

    def training_logits(self, params, context):
        logits, stats = super().training_logits(params, context)
        return jnp.roll(logits, self.by, axis=-1), stats

    def logits(self, variables, data, index, step):
        return jnp.roll(super().logits(variables, data, index, step), step, axis=-1)


def stage(setting, name="final"):
    last = (setting.final_step,)
    return Stage(name, "final", last, last, setting.plain_grid, objective=Rolled(by=setting.final_step))


@method("rolled")
def rolled(setting):
    """The final step alone, its logits rolled."""
    return stage(setting)


def doubled_weights(variables):
    return jax.tree.map(lambda leaf: leaf * 1.0, variables)


@method("rolled_again")
def rolled_again(setting):
    """The same after a transformation."""
    return Transform(doubled_weights, stage(setting), statistics=(setting.final_step,))
'''


def forget_all():
    for path in list(plugins._loaded):
        plugins._forget(path)
    plugins._loaded.clear()


def cell(workdir, method="rolled"):
    return CellFolder(workdir / "cells" / method / "convnet-1" / "seed0", method, "convnet-1", 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rolled")
    path = folder / "rolled_plugin.py"
    path.write_text(ROLLED)
    smoke_run(
        folder / "run", methods=("rolled", "rolled_again"), plugins=(str(path),), grid__dropout=(0.0,),
        training__max_epochs=20,
    )  # fmt: skip
    yield folder
    forget_all()
    for registry in Registry.every:
        registry.forget(str(path))


@pytest.mark.parametrize("method", ["rolled", "rolled_again"])
def test_a_loaded_model_answers_as_in_the_table(made, method):
    forget_all()
    workdir = made / "run"
    with np.load(cell(workdir, method).path / "predictions.npz") as stored:
        logits, labels = stored["test_logits"], stored["test_labels"]
    model = seqfinal_jax.load_model(cell(workdir, method).path)
    sequence, _ = data_reader(None)(cell(workdir, method))
    images = sequence.steps[-1].test.images
    np.testing.assert_allclose(model(images), logits, rtol=1e-4, atol=1e-4)
    accuracy = json.loads((cell(workdir, method).path / "result.json").read_text())["test_accuracy"]
    assert np.mean(model.predict(images) == labels) == pytest.approx(accuracy)
    np.testing.assert_allclose(
        model(images, step=0), np.roll(logits, -model.trained_on, -1), rtol=1e-4, atol=1e-4
    )
    with pytest.raises(ValueError, match="step = -1: expected a time step, counted from 0"):
        model(images, step=-1)


def test_the_analysis_asks_the_objective_too(made):
    workdir = made / "run"
    data_of = data_reader(None)
    frame = steps.step_matrix(cell(workdir), passed_models(cell(workdir)), data_of)
    recorded = json.loads((cell(workdir).path / "result.json").read_text())["test_accuracy"]
    assert frame["accuracy"].iloc[-1] == pytest.approx(recorded)
    with pytest.raises(ValueError, match="Rolled makes logits in its own way"):
        last_update(cell(workdir, "rolled_again"))


def test_an_export_says_that_the_network_alone_is_exported(made, tmp_path, caplog):
    forget_all()
    seqfinal_jax.load_model(cell(made / "run").path).export(tmp_path / "out")
    said = "made by rolled_plugin.Rolled, which is not exported"
    assert json.loads((tmp_path / "out" / "description.json").read_text())["logits"] == said
    assert f"the network's outputs are not the logits: these are {said}" in caplog.text


def test_a_model_whose_objective_is_not_loaded_is_refused(made, tmp_path):
    """The records of the plugin are taken away: what is left is a class that nobody has loaded."""
    forget_all()
    shutil.copytree(made / "run", tmp_path / "run")
    forgotten = seqfinal_jax.stored_model.load_recorded
    try:
        seqfinal_jax.stored_model.load_recorded = lambda *_: None
        with pytest.raises(
            ValueError, match=r"made by rolled_plugin.Rolled .* not loaded; name the file"
        ) as error:
            seqfinal_jax.load_model(cell(tmp_path / "run").path)
        assert "\n" not in str(error.value)
    finally:
        seqfinal_jax.stored_model.load_recorded = forgotten


def test_the_copy_answers_where_the_file_has_changed(made):
    forget_all()
    path, images = made / "rolled_plugin.py", np.zeros((1, 32, 32, 3), np.uint8)
    expected = seqfinal_jax.load_model(cell(made / "run").path)(images)
    try:
        path.write_text(ROLLED.replace("step, axis=-1)", "step + 1, axis=-1)"))
        forget_all()
        np.testing.assert_array_equal(seqfinal_jax.load_model(cell(made / "run").path)(images), expected)
        named = seqfinal_jax.load_model(cell(made / "run").path, plugins=(str(path),))(images)
        np.testing.assert_array_equal(named, np.roll(expected, 1, -1))
    finally:
        path.write_text(ROLLED)
        forget_all()


def test_the_run_keeps_a_copy_of_a_configuration_file_that_defines_methods(tmp_path):
    path = tmp_path / "own_config.py"
    path.write_text(
        ROLLED
        + """
def get_config(presets=""):
    from configs.digits_rcl import get_config
    config = get_config("smoke")
    config.seeds, config.methods, config.grid.dropout = (0,), ("rolled",), (0.0,)
    config.architectures = ("convnet-1",)
    return config
"""
    )
    try:
        seqfinal_jax.run(str(path), tmp_path / "run")
        environment = json.loads((tmp_path / "run" / "environment.json").read_text())
        (record,) = environment["plugins"]
        assert record["path"] == str(path)
        assert (copy_folder(tmp_path / "run", record["digest"]) / "own_config.py").is_file()
        assert seqfinal_jax.load_model(cell(tmp_path / "run").path).objective.by == 3
    finally:
        forget_all()
        for registry in Registry.every:
            registry.forget(str(path))

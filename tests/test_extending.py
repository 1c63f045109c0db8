"""The examples of own_method.md, extending.md and objectives.md, each run from its own file on tiny data."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import seqfinal_jax
from seqfinal_jax.analysis.report import report_run
from seqfinal_jax.config import apply_presets
from tests.plugin_files import forget
from tests.processes import forked
from tests.runs import make_plan, smoke_config, smoke_run

ROOT = Path(__file__).parents[1]
PAGES = ("own_method.md", "extending.md", "objectives.md")
OBJECTIVES = ("mean_and_worst", "both_penalties", "running_weights")
EXAMPLES = {
    match[1]: match[2]
    for page in PAGES
    for match in re.finditer(r"```python\n# (\w+)\.py\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)
}
GREY = {"input_mean": (0.2,), "input_std": (0.2,)}
ONE = {"methods": ("erm_final",), "grid__dropout": (0.0,)}


@pytest.fixture
def own(tmp_path):
    """Writes an example, or a text, into a file of the user's; what it registers is forgotten afterwards."""
    folder = tmp_path / "mine"
    folder.mkdir()

    def write(name, text=None):
        (folder / f"{name}.py").write_text(EXAMPLES[name] if text is None else text)
        return str(folder / f"{name}.py")

    yield write
    forget(folder)


def cell(workdir, method, seed=0, architecture="convnet-1"):
    return workdir / "cells" / method / architecture / f"seed{seed}"


def result(workdir, method, **place):
    return json.loads((cell(workdir, method, **place) / "result.json").read_text())


def timing(workdir):
    return pd.read_csv(workdir / "timing.csv")


def test_the_pages_hold_these_examples_and_none_is_long():
    wanted = {
        "wise_ft",
        "label_smoothing",
        "blur",
        "shapes",
        "sensor",
        "perceptron",
        "gap_figure",
        "brier",
        "lion",
        "dim",
    }
    assert set(EXAMPLES) == wanted | set(OBJECTIVES)
    assert max(text.count("\n") for text in EXAMPLES.values()) <= 60


def test_a_method_by_transformation(own, tmp_path):
    path, workdir = own("wise_ft"), tmp_path / "run"
    smoke_run(
        workdir, methods=("erm_fine_tune", "wise_ft"), plugins=(path,), grid__dropout=(0.0,), seeds=(0, 1)
    )
    grid = pd.read_csv(cell(workdir, "wise_ft") / "grid.csv")
    shares = grid[grid.stage == "between"]
    np.testing.assert_allclose(shares["alpha"], np.arange(11) / 10)
    assert shares["chosen"].sum() == 1
    assert shares.loc[shares.chosen, "best_accuracy"].item() == shares["best_accuracy"].max()
    assert len(timing(workdir)) == 2  # history and final: nothing was fitted for it
    report_run(workdir)
    assert "WiSE" in (workdir / "report" / "index.html").read_text()
    assert seqfinal_jax.load_model(cell(workdir, "wise_ft")).class_names[0] == "zero"
    assert "Nothing to do: all " in smoke_run(
        workdir, methods=("erm_fine_tune", "wise_ft"), plugins=(path,), grid__dropout=(0.0,), seeds=(0, 1)
    )


def test_a_loss_of_ones_own_whose_strength_is_searched(own, tmp_path):
    path, workdir = own("label_smoothing"), tmp_path / "run"
    fields = {"methods": ("erm_final", "label_smoothing"), "plugins": (path,), "grid__dropout": (0.0,)}
    smoke_run(workdir, **fields)
    grid = pd.read_csv(cell(workdir, "label_smoothing") / "grid.csv")
    assert grid["smoothing"].tolist() == [0.0, 0.1, 0.2]
    report_run(workdir)
    assert "smoothing" in pd.read_csv(workdir / "results.csv").columns
    plain = pd.read_csv(cell(workdir, "erm_final") / "history.csv")
    own_history = pd.read_csv(cell(workdir, "label_smoothing") / "history.csv")
    none = own_history[own_history.member == 0]
    np.testing.assert_allclose(none["train_loss"], plain["train_loss"], rtol=1e-5)  # no smoothing: plain risk
    assert own_history.groupby("member")["train_loss"].last().nunique() == 3


def test_own_fields_are_set_on_the_command_line_and_named_in_the_id(own, tmp_path):
    path, workdir = own("label_smoothing"), tmp_path / "run"
    command = ["seqfinal_jax.main", "--config=configs/digits_rcl.py:smoke", "--dry_run"]
    command += ["--config.methods=label_smoothing", f"--config.plugins={path}", f"--workdir={workdir}"]
    values = ("0.0,0.05", "much")
    named, done = forked([[*command, f"--config.label_smoothing.smoothing={value}"] for value in values])
    assert "methods label_smoothing_smoothing_0,0.05" in named.stdout, named.stderr
    assert done.returncode == 2 and "config.label_smoothing.smoothing: expected one or more" in done.stderr


def test_a_shift(own, tmp_path):
    path, workdir = own("blur"), tmp_path / "run"
    smoke_run(workdir, **ONE, plugins=(path,), data__shifts="blur:blur:label_flip")
    assert cell(workdir, "erm_final").is_dir()
    from seqfinal_jax.data import build_sequence

    blurred = build_sequence("digits", "blur:blur", 100, (100, 100), 100, seed=0)
    sharp = build_sequence("digits", "none:none", 100, (100, 100), 100, seed=0)
    edges = [
        [np.abs(np.diff(step.train.images.astype(int), axis=1)).mean() for step in each.steps]
        for each in (blurred, sharp)
    ]
    assert edges[0][0] == edges[1][0]  # the source step is as it was
    assert edges[0][2] < edges[0][1] < edges[1][1]
    for one, other in zip(blurred.steps, sharp.steps, strict=True):
        np.testing.assert_array_equal(one.train.source_index, other.train.source_index)


@pytest.mark.slow
def test_a_base_data_set_of_other_images(own, tmp_path):
    path, workdir = own("shapes"), tmp_path / "run"
    fields = {"plugins": (path,), "data__dataset": "shapes", "architectures": ("convnet-1", "densenet-2")}
    sizes = {"network__dense_layers": (1, 1)}
    smoke_run(workdir, **ONE, **GREY, **fields, **sizes)
    assert result(workdir, "erm_final")["n_test"] == 100
    model = seqfinal_jax.load_model(cell(workdir, "erm_final"))
    assert model.class_names == ("square", "cross", "bar")
    assert model(np.zeros((2, 28, 28, 1), np.uint8)).shape == (2, 3)
    with pytest.raises(ValueError, match="have 3 numbers, and images of shapes have 1 channels"):
        smoke_run(tmp_path / "other", **ONE, **fields)
    with pytest.raises(ValueError, match="densenet-4 shrinks images of 28x28 to nothing at layer3"):
        smoke_run(tmp_path / "other", **ONE, **GREY, **{**fields, "architectures": ("densenet-4",)})
    with pytest.raises(ValueError, match="step 2: recolor needs colour images"):
        smoke_run(tmp_path / "other", **ONE, **GREY, **fields, data__shifts="rotation:recolor:none")


@pytest.mark.slow
def test_a_recorded_sequence(own, tmp_path):
    path, workdir = own("sensor"), tmp_path / "run"
    fields = {**GREY, "plugins": (path,), "data__dataset": "sensor", "grid__dropout": (0.0,)}
    methods = ("erm_all", "sequential_ewc")
    said = smoke_run(workdir, methods=(), **fields, architectures=("convnet-1",), dry_run=True)
    assert "oracle is left out for convnet-1: these data have no variant 'oracle'" in said
    smoke_run(workdir, methods=methods, **fields)
    assert result(workdir, "erm_all")["stages"][0]["train_steps"] == list(range(12))
    assert result(workdir, "erm_all")["n_test"] == 80
    assert len(pd.read_csv(cell(workdir, "sequential_ewc") / "grid.csv")["stage"].unique()) == 12
    report_run(workdir)
    with pytest.raises(ValueError, match="these data have no variant 'oracle'"):
        smoke_run(tmp_path / "other", methods=("oracle",), **fields)


@pytest.mark.slow
def test_a_network(own, tmp_path):
    path, workdir = own("perceptron"), tmp_path / "run"
    smoke_run(
        workdir, methods=("erm_linear_probe_fine_tune",), plugins=(path,), grid__dropout=(0.0,),
        architectures=("perceptron-2",),
    )  # fmt: skip
    place = cell(workdir, "erm_linear_probe_fine_tune", architecture="perceptron-2")
    assert set(seqfinal_jax.load_model(place).variables["params"]) == {"conv1", "layer1", "layer2", "fc"}
    with pytest.raises(ValueError, match="the number of blocks must be 1 to 3"):
        smoke_run(tmp_path / "other", **ONE, plugins=(path,), architectures=("perceptron-4",))
    with pytest.raises(
        ValueError, match="a multi-layer perceptron has no side modules other than whole blocks"
    ):
        smoke_run(
            tmp_path / "other", methods=("erm_side_tune",), plugins=(path,), architectures=("perceptron-1",),
        )  # fmt: skip


def test_a_width_that_a_file_sets_for_all_its_networks_is_no_error_for_one_without(own, tmp_path):
    """On the command line it is."""
    fields = {**ONE, "plugins": (own("perceptron"),), "architectures": ("perceptron-1",)}
    config = smoke_config(**fields)
    assert config.network.width_factor != 1
    make_plan(config)
    with pytest.raises(ValueError, match=r"config.network.width_factor = [\d.]+ changes nothing in this run"):
        make_plan(config, overrides=("network.width_factor",))


def test_a_figure_and_one_that_fails(own, tmp_path, caplog):
    fails = """
from seqfinal_jax.analysis.figures.record import figure

@figure("broken")
def broken(workdir):
    raise RuntimeError("planted in a figure")
"""
    workdir, paths = tmp_path / "run", (own("broken", fails), own("gap_figure"))
    smoke_run(workdir, **ONE, plugins=paths)
    report_run(workdir)
    page = (workdir / "report" / "index.html").read_text()
    assert "Further figures: validation_gap.png" in page and "Accuracy of the methods: methods.png" in page
    said = "The figure <code>broken</code> could not be drawn: "
    assert f"{said}{paths[0]}, line 6: RuntimeError: planted in a figure" in page
    assert (workdir / "results.csv").is_file() and "planted" in caplog.text


@pytest.mark.rare
def test_an_optimiser_and_an_augmentation(own, tmp_path):
    """Each makes a result of its own, and none is trained again."""
    paths = (own("lion"), own("dim"))
    given = ({}, {"training__optimiser": "lion"}, {"training__augmentation": "dim"})
    losses = set()
    for number, fields in enumerate(given):
        workdir, fields = tmp_path / str(number), {**ONE, "plugins": paths, **fields}
        smoke_run(workdir, **fields)
        losses.add(result(workdir, "erm_final")["test_loss"])
        assert "Nothing to do" in smoke_run(workdir, **fields)
    assert len(losses) == 3


HELPER = "def strength():\n    return {value}\n"
USES_HELPER = """
import helper_of_mine
from seqfinal_jax.methods import Transform, method
from seqfinal_jax.methods.recipes.single import erm_final
import jax

def scaled(variables):
    return jax.tree.map(lambda leaf: leaf * helper_of_mine.strength(), variables)

@method("scaled_final", column="scaled")
def scaled_final(setting):
    \"\"\"The final model with scaled weights.\"\"\"
    return Transform(scaled, erm_final(setting))
"""


def test_after_an_edit_of_an_imported_module_just_its_cells_are_made_anew(own, tmp_path, caplog):
    own("helper_of_mine", HELPER.format(value=1.0))
    path, workdir = own("uses_helper", USES_HELPER), tmp_path / "run"
    fields = {
        "methods": ("erm_final", "scaled_final"),
        "plugins": (path,),
        "grid__dropout": (0.0,),
        "seeds": (0, 1),
    }
    smoke_run(workdir, **fields)
    before, kept = (
        result(workdir, "scaled_final"),
        (cell(workdir, "erm_final") / "result.json").stat().st_mtime_ns,
    )
    assert before["test_loss"] == result(workdir, "erm_final")["test_loss"]
    own("helper_of_mine", HELPER.format(value=0.5))
    smoke_run(workdir, **{**fields, "seeds": (0,)})
    after = result(workdir, "scaled_final")
    assert after["recipe"] != before["recipe"] and after["test_loss"] != before["test_loss"]
    assert (cell(workdir, "erm_final") / "result.json").stat().st_mtime_ns == kept
    assert not cell(workdir, "scaled_final", seed=1).exists()  # made by the earlier code, not to be mixed in
    assert "was computed by code that has changed since" in caplog.text


def test_after_an_edit_of_a_shift_all_its_cells_are_made_anew(own, tmp_path, caplog):
    path, workdir = own("blur"), tmp_path / "run"
    fields = {**ONE, "plugins": (path,), "data__shifts": "blur:blur:label_flip"}
    smoke_run(workdir, **fields)
    before = result(workdir, "erm_final")
    own("blur", EXAMPLES["blur"].replace("0.7 * occurred", "1.4 * occurred"))
    smoke_run(workdir, **fields)
    assert result(workdir, "erm_final")["test_loss"] != before["test_loss"]
    assert "was computed by code that has changed since" in caplog.text


@pytest.mark.slow
def test_a_configuration_file_may_define_records_itself(own, tmp_path):
    path = own(
        "mine_too",
        EXAMPLES["label_smoothing"]
        + """

def get_config():
    from configs.digits_rcl import get_config
    config = get_config("smoke")
    config.methods = ("label_smoothing",)
    config.seeds = (0,)
    return config
""",
    )
    command = [sys.executable, "-m", "seqfinal_jax.main", f"--config={path}", f"--workdir={tmp_path / 'run'}"]
    done = subprocess.run(
        [*command, "--config.label_smoothing.smoothing=0.1,"],
        cwd=ROOT, env=None, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "cells" / "label_smoothing_smoothing_0.1").is_dir()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import absent_module", "line 1: ModuleNotFoundError"),
        ("x = (", "line 1: '(' was never closed"),
        (
            "from seqfinal_jax.methods import method\n@method('erm_final')\ndef f(s):\n    pass",
            "registered twice",
        ),
        ("\n\n1 / 0", "line 3: ZeroDivisionError"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_shown_with_its_line(own, tmp_path, text, message):
    path = own("bad", text)
    with pytest.raises(ValueError, match=r"config.plugins: .*bad.py cannot be loaded: ") as error:
        smoke_run(tmp_path / "run", **ONE, plugins=(path,))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_84_steps_of_unequal_size_are_planned_in_a_moment(own):
    """The graph of a chain that holds on to all earlier models used to be walked along every path."""
    import time

    from seqfinal_jax.methods.grid import Grid
    from seqfinal_jax.methods.method import METHODS
    from seqfinal_jax.methods.nodes import all_stages
    from seqfinal_jax.methods.setting import Setting

    began = time.perf_counter()
    node = METHODS.get("sequential_ewc").build(Setting(84, Grid()))
    stages = all_stages(node)
    assert len(stages) == len({stage.key for stage in stages}) == 85
    assert time.perf_counter() - began < 5  # it took a tenth of a second; by paths it would take for ever


def test_presets_leave_a_recorded_sequences_sizes_alone(own):
    from seqfinal_jax.config import base_config

    config = apply_presets(base_config("mine", "sensor"), "quick,smoke")
    assert config.data.target_sizes == () and config.training.max_epochs == 2


TWO = """
from seqfinal_jax.methods import Axis, Stage, Transform, method
from seqfinal_jax.methods.recipes.single import erm_final
from seqfinal_jax.methods.grid import Grid
import jax

def same(variables):
    return jax.tree.map(lambda leaf: {factor} * leaf, variables)

@method("one_of_two")
def one_of_two(setting):
    return Transform(same, erm_final(setting))

@method("two_of_two", axes=(Axis("share", (0.5,)),))
def two_of_two(setting):
    last, (share,) = (setting.final_step,), setting.axes["share"]
    return Transform(same, erm_final(setting), name=f"scaled {share}")

@method("other_grid")
def other_grid(setting):
    last = (setting.final_step,)
    return Stage("final", "final", last, last, Grid((1e-3,), (1e-4,), dropout=({dropout},)))
"""


def test_after_an_edit_a_run_of_one_method_keeps_no_old_row_of_the_others(own, tmp_path, caplog):
    text = TWO.replace("{factor}", "1.0").replace("{dropout}", "0.0")
    path, workdir = own("two", text), tmp_path / "run"
    fields = {"plugins": (path,), "grid__dropout": (0.0,)}
    others = ("two_of_two", "other_grid", "erm_final")
    smoke_run(workdir, methods=("one_of_two", *others), **fields)
    command = [sys.executable, "-m", "seqfinal_jax.main", "--config=configs/digits_rcl.py:smoke"]
    flags = ["--config.methods=two_of_two", f"--config.plugins={path}", f"--workdir={workdir}"]
    more = ["--config.seeds=0,", "--config.grid.dropout=0.0,", "--config.two_of_two.share=0.25,"]
    patience = ["--config.training.patience=5"]
    done = subprocess.run(
        [*command, *flags, *more, *patience], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert cell(workdir, "two_of_two_share_0.25").exists()
    smoke_run(workdir, methods=("one_of_two",), **fields)
    assert all(
        cell(workdir, name).exists() for name in (*others, "two_of_two_share_0.25")
    )  # nothing has changed
    own("two", TWO.replace("{factor}", "0.5").replace("{dropout}", "0.5"))
    smoke_run(workdir, methods=("one_of_two",), **fields)
    left = sorted(each.name for each in (workdir / "cells").glob("*") if any(each.glob("*/seed*")))
    assert left == ["erm_final", "one_of_two"]
    assert caplog.text.count("was computed by code that has changed since") == 4
    smoke_run(workdir, methods=("erm_final",), grid__dropout=(0.0,))  # without the plugin and its axis

"""The way in: commands, named configurations, lists, and the Python interface."""

import io
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import seqfinal_jax
from seqfinal_jax import api, listing
from seqfinal_jax.config import config_files
from seqfinal_jax.config.command_line import read_configuration
from seqfinal_jax.methods.method import METHODS, method_id, other_names
from seqfinal_jax.records.registry import resolved
from tests.analysis.run_folders import make_run_folder
from tests.plugin_files import forget
from tests.processes import forked
from tests.runs import make_plan, smoke_config

ROOT = Path(__file__).parents[1]
SMALL = {"methods": ("erm_final", "erm_fine_tune"), "seeds": (0,), "grid.dropout": (0.0,)}


MISTYPED = [
    (["tabels"], "unknown command 'tabels'; did you mean 'tables'?"),
    (["run", "--config=configs/digits_rlc.py"], "Did you mean configs/digits_rcl.py?"),
    (["run", "--config=digits"], "there is no file digits. Did you mean digits_rcl?"),
    (["run", "--config=digits_rcl", "--methods=erm_final"], "unknown flag --methods; did you mean --config.methods?"),
    (["run", "--config=digits_rcl", "--patience=3"], "did you mean --config.training.patience?"),
    (["run", "--config=digits_rcl", "--wrkdir=x"], "did you mean --workdir?"),
    (["run", "--config=digits_rcl", "--config.methods=LP-TF"], "did you mean 'LP-FT'?"),
    (["sweep", "--config=digits_rcl", "--workdir=x", "--methods=erm_final"], "did you mean --config.methods?"),
    (["list", "--plugins=nothing.py"], "nothing.py"),
    (["list", "--plugin=x.py"], "unknown flag --plugin; did you mean --plugins?"),
    (["tables", "runs/x", "--foramt=csv"], "unknown flag --foramt; did you mean --format?"),
    (["report", "runs/x", "--seeds=0"], "unknown flag --seeds; --help shows all flags"),
    (["export"], "the following arguments are required: cell, --out"),
    (["tables", "runs/x", "--layout=wide"], "--layout: invalid choice: 'wide'"),
]  # fmt: skip
HELP = (["seqfinal_jax", "--help"], ["seqfinal_jax"])
HELP_OF_A_RUN = (["seqfinal_jax", "run", "--help"], ["seqfinal_jax.main", "--help"])
LIST = ["seqfinal_jax", "list", "methods"]


@pytest.fixture(scope="module")
def answers():
    """What the short commands of this file give, by their words."""
    commands = [*(["seqfinal_jax", *words] for words, _ in MISTYPED), *HELP, *HELP_OF_A_RUN, LIST]
    return {" ".join(done.args): done for done in forked(commands)}


def test_help_shows_the_commands_in_80_columns(answers):
    done, bare = (answers[" ".join(command)] for command in HELP)
    assert done.returncode == 0 and done.stdout == bare.stdout
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  seqfinal")] == [
        "run", "list", "tables", "report", "export", "sweep", "run",
    ]  # fmt: skip
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(("words", "message"), MISTYPED)
def test_what_is_mistyped_gets_the_nearest_match(answers, words, message):
    done = answers[" ".join(["seqfinal_jax", *words])]
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", HELP_OF_A_RUN, ids=" ".join)
def test_help_of_a_run_says_what_it_does_and_has_all_flags(answers, command):
    """It was a usage line and nothing more."""
    done = answers[" ".join(command)]
    assert done.returncode == 0 and "Trains the methods of a configuration" in done.stdout
    for flag in ("--config CONFIG", "--data_dir", "--workdir", "--dry_run", "--shard", "--config.FIELD="):
        assert flag in done.stdout


def test_the_package_shows_its_interface_and_nothing_else():
    code = "import seqfinal_jax; print(dir(seqfinal_jax))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    names = ["__version__", "load_config", "load_model", "load_results", "plot", "read_predictions", "run"]
    assert done.stdout.strip() == str(names)


def test_a_list_into_a_pipe_breaks_nothing(answers):
    done = answers[" ".join(LIST)]
    assert "sequential_fine_tune_exponential" in done.stdout
    assert any(
        line.startswith("oracle") and line.rstrip().endswith("samples") for line in done.stdout.splitlines()
    )


@pytest.mark.parametrize(
    "name",
    [
        "erm_linear_probe_fine_tune",
        "LP-FT",
        "lp-ft",
        "ERM + LP-FT",
        "erm + lp-ft",
        "ERM_Linear_Probe_Fine_Tune",
    ],
)
def test_a_method_has_three_names_whatever_their_case(name):
    assert method_id(name) == "erm_linear_probe_fine_tune"
    plan = make_plan(smoke_config(methods=(name,)))
    assert plan.methods == ("erm_linear_probe_fine_tune",)


def test_no_two_methods_share_a_name():
    """What stands for a method in a table stands for it on the command line."""
    for id in METHODS:
        assert {method_id(name) for name in (id, *other_names(id))} == {id}


def test_a_name_of_several_methods_is_refused():
    names = {"one": ("Same",), "two": ("same", "Other")}
    assert resolved("method", "Same", names) == "one" and resolved("method", "OTHER", names) == "two"
    with pytest.raises(ValueError, match="method 'SAME' stands for several: one, two; give one of these"):
        resolved("method", "SAME", names)


@pytest.mark.parametrize("kind", list(listing.KINDS))
def test_lists_say_something_of_everything(kind):
    heads, rows = listing.KINDS[kind]()
    assert rows and all(len(row) == len(heads) and row[0] for row in rows)
    for row in rows:
        assert any(len(text) > 5 for text in row[1:]), row
        assert not any("partial(func" in text for text in row)


def test_lists_fit_80_columns_and_hold_what_the_registries_hold():
    console = Console(file=io.StringIO(), width=80)
    for kind in listing.KINDS:
        listing.print_list(kind, console)
    said = console.file.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    for word in (
        "erm_linear_probe_fine_tune",
        "resnet-1 to resnet-4",
        "label_flip",
        "cifar10_rcl",
        "training.patience",
    ):
        assert word in said


def test_configurations_are_found_by_name_wherever_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("digits_rcl:smoke", "configs/digits_rcl.py:smoke"):
        config, changed = read_configuration(text, ["--config.seeds=3,"])
        assert config.name == "digits_rcl-smoke" and tuple(config.seeds) == (3,) and changed == ("seeds",)
    (tmp_path / "configs").mkdir()
    own = "from configs.digits_rcl import get_config as digits\n\n\ndef get_config():\n    return digits('smoke')\n"
    (tmp_path / "configs" / "mine.py").write_text(f'"""My own."""\n{own}')
    assert config_files.named_configs()["mine"] == Path("configs/mine.py")
    assert config_files.summary(Path("configs/mine.py")) == "My own."


def test_the_python_interface(tmp_path, capfd):
    results = seqfinal_jax.run("digits_rcl:smoke", tmp_path / "run", settings=SMALL)
    said = capfd.readouterr()
    assert said.out == "" and said.err == ""  # quiet by default
    assert results["method"].tolist() == ["erm_final", "erm_fine_tune"]
    model = seqfinal_jax.load_model(results["path"][1])
    assert len(model.class_names) == 10
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    config = seqfinal_jax.load_config("digits_rcl:smoke", seeds=(1,))
    config.methods, config.grid.dropout = ("erm_final",), (0.0,)
    seqfinal_jax.run(config, tmp_path / "other")
    assert tuple(config.seeds) == (1,)
    both = seqfinal_jax.load_results(tmp_path / "run", tmp_path / "other")
    assert both["seed"].tolist() == [0, 1, 0] and both["path"].map(lambda path: Path(path).is_dir()).all()
    figure = seqfinal_jax.plot(tmp_path / "run", tmp_path / "other")
    figure.savefig(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 10_000


def test_the_python_interface_says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match=r"no field 'training.patienc'"):
        seqfinal_jax.run("digits_rcl:smoke", tmp_path, settings={"training.patienc": 3})
    with pytest.raises(ValueError, match=r"no field 'sedes'"):
        seqfinal_jax.load_config("digits_rcl", sedes=(1,))
    with pytest.raises(ValueError, match=r"load_results needs a run folder"):
        seqfinal_jax.load_results()
    with pytest.raises(ValueError, match=r"is not a folder"):
        seqfinal_jax.plot(tmp_path / "nothing")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = seqfinal_jax.nothing


@pytest.mark.slow
def test_a_wheel_brings_its_configurations(tmp_path):
    """Built, and unpacked into an environment that sees the libraries of this one, away from the checkout."""
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True)
    [wheel] = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", str(wheel)], check=True)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(
        sysconfig.get_path("purelib")
    )  # their libraries, not their own package
    (tmp_path / "work").mkdir()
    flags = ["--config=digits_rcl:smoke", "--config.methods=erm_final", "--config.seeds=0,"]
    program = str(tmp_path / "venv" / "bin" / "seqfinal")
    done = subprocess.run([program, "run", *flags], cwd=tmp_path / "work", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work" / "runs" / "digits_rcl-smoke" / "report" / "index.html").is_file()
    code = "import importlib.util as u, seqfinal_jax; print(seqfinal_jax.__file__, u.find_spec('launch'))"
    where = subprocess.run([str(python), "-c", code], cwd=tmp_path / "work", capture_output=True, text=True)
    assert str(site) in where.stdout and where.stdout.split()[-1] == "None"
    flags += ["--workdir=sweep", "--dry_run"]
    sweep = subprocess.run([program, "sweep", *flags], cwd=tmp_path / "work", capture_output=True, text=True)
    assert sweep.returncode == 0 and "1 cells" in sweep.stdout, sweep.stderr


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("grid.learning_rate", 0.1, (0.1,)),
        ("grid.learning_rate", np.logspace(-3, -2, 2), (0.001, 0.01)),
        ("seeds", range(2), (0, 1)),
        ("seeds", 0, (0,)),
        ("seeds", np.arange(2), (0, 1)),
        ("methods", "erm_final", ("erm_final",)),
        ("training.max_epochs", np.int64(3), 3),
        ("data.steps", ["a", "b"], ("a", "b")),
    ],
)
def test_settings_mean_what_they_say(name, value, held):
    found = api._configuration("digits_rcl:smoke", {name: value})
    section, _, field = name.rpartition(".")
    assert (found[section] if section else found)[field] == held
    if not section:
        assert seqfinal_jax.load_config("digits_rcl:smoke", **{name: value})[field] == held


@pytest.mark.parametrize("config", [None, {}, "", 3])
def test_what_is_no_configuration_is_said(config, tmp_path):
    with pytest.raises(
        ValueError, match=r"run: expected a configuration of load_config, or the name or file of one"
    ):
        seqfinal_jax.run(config, tmp_path)


def test_a_value_of_another_type_is_one_line():
    with pytest.raises(
        ValueError, match=r"config.training.max_epochs: expected a value such as \d+, found 'many'"
    ):
        api._configuration("digits_rcl:smoke", {"training.max_epochs": "many"})


def test_a_learning_rate_that_is_zero_in_float32_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"config.grid.learning_rate: .*found 1e-50, which is 0 in single precision"
    ):
        seqfinal_jax.run("digits_rcl:smoke", tmp_path, settings={**SMALL, "grid.learning_rate": 1e-50})


def test_results_of_a_list_of_folders(tmp_path):
    folder = make_run_folder(tmp_path / "run", {("erm_final", "convnet-1", seed): 0.5 for seed in (0, 1)})
    assert seqfinal_jax.load_results([folder]).equals(seqfinal_jax.load_results(str(folder)))
    with pytest.raises(ValueError, match="load_results needs a run folder"):
        seqfinal_jax.load_results([])


def test_settings_name_a_plugin_and_its_fields_in_any_order(tmp_path):
    from seqfinal_jax.api import _configuration
    from tests.test_extending import EXAMPLES

    path = tmp_path / "smoothing_of_settings.py"
    path.write_text(EXAMPLES["label_smoothing"])
    try:
        settings = {"label_smoothing.smoothing": (0.1,), "plugins": (str(path),)}
        found = _configuration("digits_rcl:smoke", settings)
        assert found.label_smoothing.smoothing == (0.1,) and found.plugins == (str(path),)
        with pytest.raises(ValueError, match=r"has no field 'label_smoothing\.smoothnig'"):
            _configuration("digits_rcl:smoke", {"label_smoothing.smoothnig": (0.1,), "plugins": (str(path),)})
    finally:
        forget(path.parent)

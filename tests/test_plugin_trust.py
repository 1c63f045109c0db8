"""A run folder never executes code by itself: plugins run where the user names them, ran them, or says so."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import seqfinal_jax
from seqfinal_jax import export
from seqfinal_jax.analysis import report
from seqfinal_jax.analysis.tables.command import main as tables
from seqfinal_jax.records import plugins
from seqfinal_jax.records.plugins import PluginError, load_plugins
from seqfinal_jax.results.run_folder import read_environment
from tests.processes import forked
from tests.runs import smoke_run

ROOT = Path(__file__).parents[1]
CELL = "cells/wide/convnet-1/seed0"
BESIDE = "COLUMN = 'Wide'\n"
PLUGIN = """
import os
from pathlib import Path
from beside import COLUMN
from seqfinal_jax.methods.method import method
from seqfinal_jax.methods.recipes.single import erm_final

with Path({trace!r}).open("a") as trace:
    trace.write("ran" + os.linesep)

@method("wide", column=COLUMN, legend={legend!r})
def wide(setting):
    return erm_final(setting)
"""


def forget_all():
    """As in a new process: nothing is loaded."""
    for path in list(plugins._loaded):
        plugins._forget(path)
    plugins._loaded.clear()
    for name in [name for name in sys.modules if name.startswith("seqfinal_plugin_") or name == "beside"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with a plugin, the plugin's file, and the file that it writes to when it is executed."""
    folder = tmp_path_factory.mktemp("trust")
    (folder / "mine").mkdir()
    (folder / "mine" / "beside.py").write_text(BESIDE)
    path = folder / "mine" / "wide.py"
    path.write_text(plugin_text(folder / "trace"))
    smoke_run(folder / "run", methods=("wide",), plugins=(str(path),), grid__dropout=(0.0,))
    report.report_run(folder / "run")
    forget_all()
    yield folder
    forget_all()


def plugin_text(trace, legend="A wide one"):
    return PLUGIN.format(trace=str(trace), legend=legend)


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of the run folder, elsewhere, in a process that has loaded nothing; the trace is empty."""
    shutil.copytree(made / "run", tmp_path / "run")
    shutil.copytree(made / "mine", tmp_path / "mine")
    (made / "trace").write_text("")
    before = list(sys.path)
    forget_all()
    yield tmp_path
    forget_all()
    sys.path[:] = before


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """A user whose runs have never used the plugin."""
    monkeypatch.setenv("SEQFINAL_CACHE_DIR", str(tmp_path / "strangers-cache"))


def ran(made):
    return (made / "trace").read_text().count("ran")


def model(place, **options):
    return seqfinal_jax.load_model(place / "run" / CELL, **options)


def test_the_run_folder_records_path_digest_and_a_copy(made):
    (record,) = read_environment(made / "run")["plugins"]
    assert record["path"] == str(made / "mine" / "wide.py") and len(record["digest"]) == 64
    copy = made / "run" / "plugins" / record["digest"][:16]
    assert (copy / "wide.py").read_text() == (made / "mine" / "wide.py").read_text()
    assert (copy / "beside.py").read_text() == BESIDE


def test_ones_own_plugin_is_loaded_without_a_question(made, place):
    assert model(place)(np.zeros((1, 32, 32, 3), np.uint8)).shape == (1, 10)
    assert ran(made) == 1


def test_a_stranger_is_told_what_to_do_and_nothing_runs(made, place, stranger):
    with pytest.raises(
        ValueError, match=r"needs the plugin .*wide.py .*no run of yours.*trust_code=True"
    ) as error:
        model(place)
    assert ran(made) == 0 and "\n" not in str(error.value)
    assert model(place, trust_code=True).class_names
    assert ran(made) == 1


def test_a_plugin_that_is_named_runs(made, place, stranger):
    model(place, plugins=(str(place / "mine" / "wide.py"),))
    assert ran(made) == 1


def test_no_file_of_the_working_folder_is_executed(made, place, stranger, monkeypatch):
    """The record of an earlier version: a relative path, and a file of that name in the current folder."""
    trap = place / "trap"
    trap.mkdir()
    (trap / "wide.py").write_text(f"open({str(made / 'trace')!r}, 'a').write('ran')")
    monkeypatch.chdir(trap)
    whole = seqfinal_jax.stored_model.read_folder

    def earlier(folder):
        arrays, meta, rest = whole(folder)
        return arrays, {**meta, "model": {**meta["model"], "plugins": ["wide.py"]}}, rest

    monkeypatch.setattr(seqfinal_jax.stored_model, "read_folder", earlier)
    with pytest.raises(ValueError, match=r"needs the plugin wide.py, whose code was not recorded"):
        model(place)
    assert ran(made) == 0


def test_an_edited_plugin_is_not_what_answers(made, place):
    """The copy runs, with the digest that this user's run had; the edited file does not."""
    path, text = made / "mine" / "wide.py", (made / "mine" / "wide.py").read_text()
    try:
        path.write_text("raise RuntimeError('the edited file was executed')")
        model(place)
        shutil.rmtree(place / "run" / "plugins")
        forget_all()
        with pytest.raises(ValueError, match=r"neither that file nor a copy in .* is that; name the file"):
            model(place)
    finally:
        path.write_text(text)


def test_a_copy_that_was_changed_does_not_run(made, place, stranger):
    copy = next((place / "run" / "plugins").glob("*/beside.py"))
    copy.write_text("raise RuntimeError('the changed copy was executed')")
    with pytest.raises(ValueError, match="neither that file nor a copy"):
        model(place, trust_code=True)
    assert ran(made) == 0


def test_what_runs_are_the_bytes_that_were_read(tmp_path, monkeypatch):
    """A file that changes between its reading and its execution."""
    from seqfinal_jax.records import plugin_code

    path = tmp_path / "swap.py"
    (tmp_path / "swap_beside.py").write_text("VALUE = 'as read'")
    path.write_text("import swap_beside\nVALUE = swap_beside.VALUE\n")
    code = plugin_code.read_code(str(path), path)
    path.write_text("VALUE = 'swapped'")
    (tmp_path / "swap_beside.py").write_text("VALUE = 'swapped'")
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert plugin_code.execute(code).VALUE == "as read"


def test_tables_and_reports_of_a_stranger_run_no_code(made, place, stranger, capsys, caplog):
    assert tables([str(place / "run")]) == 0
    assert "Wide" in capsys.readouterr().out
    assert report.main([str(place / "run")]) == 0
    assert "A wide one" in (place / "run" / "report" / "index.html").read_text()
    assert ran(made) == 0 and "figures of plugins are not drawn" in caplog.text
    assert report.main([str(place / "run"), "--trust_code"]) == 0
    assert ran(made) == 1


def test_a_model_of_a_stranger_is_exported_where_its_code_is_trusted(made, place, stranger, capsys):
    flags = [str(place / "run" / CELL), f"--out={place / 'exported'}"]
    assert export.main(flags) == 2
    assert "no run of yours has used" in capsys.readouterr().err and ran(made) == 0
    assert export.main([*flags, "--trust_code"]) == 0
    assert ran(made) == 1


def test_an_edited_legend_is_the_same_in_tables_and_report(made, place, stranger, capsys):
    (place / "mine" / "wide.py").write_text(plugin_text(made / "trace", "An edited one"))
    load_plugins([str(place / "mine" / "wide.py")])
    assert tables([str(place / "run")]) == 0
    assert "A wide one" in capsys.readouterr().out
    report.report_run(place / "run")
    assert "An edited one" not in (place / "run" / "report" / "index.html").read_text()


def test_a_list_that_belongs_to_somebody_else_trusts_nothing(made, place, monkeypatch):
    if not hasattr(os, "geteuid"):
        pytest.skip("no users here")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ValueError, match="no run of yours has used"):
        model(place)
    assert ran(made) == 0


def test_weight_space_reads_the_configuration_without_the_plugin_of_a_path(made, place, stranger):
    from seqfinal_jax.analysis.weight_space.run_data import spec_of

    with pytest.raises(ValueError, match="no run of yours has used"):
        spec_of(place / "run")
    assert ran(made) == 0


PROGRAMS = [
    ("import sys\nsys.exit()", "line 2: it called sys.exit(None)"),
    ("import sys\n\nsys.exit(0)", "line 3: it called sys.exit(0)"),
    (
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--x', required=True)\n"
        "parser.parse_args()",
        "line 4: it called sys.exit(2)",
    ),
    ("\nimport no_such_package", "line 2: ModuleNotFoundError: No module named 'no_such_package'"),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A plugin for each of these texts, and what a run says of it."""
    paths = [tmp_path_factory.mktemp("plugin") / "program.py" for _ in PROGRAMS]
    for path, (text, _) in zip(paths, PROGRAMS, strict=True):
        path.write_text(text)
    command = ["seqfinal_jax.main", "--config=configs/digits_rcl.py:smoke", "--dry_run"]
    done = forked([[*command, f"--config.plugins={path}"] for path in paths])
    return dict(zip((text for text, _ in PROGRAMS), zip(paths, done, strict=True), strict=True))


@pytest.mark.parametrize(("text", "said"), PROGRAMS)
def test_a_plugin_that_is_a_program_is_one_line(programs, text, said):
    path, done = programs[text]
    with pytest.raises(PluginError) as error:
        load_plugins([str(path)])
    assert f"{path}, {said}" in str(error.value)
    assert done.returncode == 2 and f"{path}, {said}" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not done.stdout


def test_what_a_plugin_prints_is_shown(tmp_path, capsys):
    path = tmp_path / "talks.py"
    path.write_text("print('hello')")
    load_plugins([str(path)])
    assert capsys.readouterr().out == "hello\n"

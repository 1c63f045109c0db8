"""What a run folder says of its commands: the log, the history of commands, and the commands of the report."""

import html
import json
import re
import shlex

from rich.console import Console

from seqfinal_jax.analysis.report import write_report
from tests.runs import run, smoke_config, smoke_run

ONE = {"methods": ("erm_final",), "grid__dropout": (0.0,)}


def test_the_log_has_what_was_said_before_the_folder_was_there(tmp_path):
    """What the run consists of, its warnings, and each cell: it was empty although runs had warned."""
    notes = {**ONE, "data__shifts": "label_flip:" * 3 + "label_flip", "data__target_sizes": (100,) * 4}
    smoke_run(tmp_path / "run", **{**notes, "protocol__decay_selection": "test"})
    text = (tmp_path / "run" / "run.log").read_text()
    assert "protocol custom, methods erm_final" in text
    assert re.search(r"WARNING data, main seed 0: step 4: 4 label flips are the identity", text)
    assert re.search(r"INFO erm_final, convnet-1, seed 0: test accuracy \d", text)


def test_the_log_lowers_no_level_for_others(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        smoke_run(tmp_path, **ONE)
    assert not [record for record in caplog.records if record.levelname == "INFO"]
    assert "INFO" in (tmp_path / "run.log").read_text()


def test_the_history_of_commands_is_kept(tmp_path):
    """Each with its methods and seeds; the same command twice is one entry."""
    data = tmp_path / "photos"
    data.mkdir()
    for changes in ({}, {}, {"methods": ("erm_all",), "seeds": (0, 1)}):
        config = smoke_config(**{**ONE, **changes})
        run(config, tmp_path / "run", str(data), overrides=tuple(changes), source="digits_rcl:smoke")
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    first, second = environment["commands"]
    assert (first["methods"], first["seeds"], first["set"]) == (["erm_final"], [0], {})
    assert (second["methods"], second["seeds"]) == (["erm_all"], [0, 1])
    assert second["set"] == {"methods": ["erm_all"], "seeds": [0, 1]}
    assert second["config"] == "digits_rcl:smoke" and second["data_dir"] == str(data)


def test_the_commands_of_a_report_name_the_run_and_its_data(tmp_path):
    data = tmp_path / "photos of mine"
    data.mkdir()
    run(smoke_config(**ONE), tmp_path / "my run", str(data), console=Console(quiet=True))
    write_report(tmp_path / "my run")
    page = html.unescape((tmp_path / "my run" / "report" / "index.html").read_text())
    folder = shlex.quote(str(tmp_path / "my run"))
    assert f"analysis.interpolation {folder} --data_dir={shlex.quote(str(data))}" in page
    assert f"analysis.projection {folder}<" in page


def test_what_commands_write_by_default_is_ignored_by_git(pytestconfig):
    ignored = (pytestconfig.rootpath / ".gitignore").read_text().splitlines()
    assert {"/runs/", "/sweeps/", "/pictures/", "/shifts/"} <= set(ignored)

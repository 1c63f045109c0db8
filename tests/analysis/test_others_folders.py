"""Run folders of somebody else, which can be read and not written."""

import os
import shutil

import pytest

from seqfinal_jax.analysis import interpolation, projection, report, steps
from seqfinal_jax.analysis import svcca as svcca_command
from seqfinal_jax.analysis.tables.command import main as tables
from tests.analysis.read_only import make_read_only
from tests.analysis.run_folders import make_run_folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    made = make_run_folder(
        tmp_path / "theirs",
        {(method, "convnet-1", seed): 0.5 for method in ("erm_final", "erm_all") for seed in (0, 1, 2)},
        methods=("erm_final", "erm_all"),
    )
    make_read_only(monkeypatch, made)
    return made


def files(folder):
    return sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)


def test_tables_are_shown_and_one_line_says_what_is_not_written(folder, capsys):
    before = files(folder)
    assert tables([str(folder)]) == 0
    said = capsys.readouterr()
    assert (
        "Final" in said.out
        and said.err == f"warning: {folder}/results.csv is not written (Permission denied)\n"
    )
    assert files(folder) == before


def test_a_report_shows_the_table_and_asks_for_another_folder(folder, tmp_path, capsys):
    assert report.main([str(folder)]) == 2
    said = capsys.readouterr()
    assert "Final" in said.out
    assert (
        said.err == f"error: {folder}/report cannot be written; write the report elsewhere with --out=DIR\n"
    )
    assert report.main([str(folder), f"--out={tmp_path / 'mine'}"]) == 0
    assert (tmp_path / "mine" / "index.html").is_file()


@pytest.mark.parametrize("command", [interpolation, projection, svcca_command, steps])
def test_what_computes_asks_before_it_computes(folder, capsys, monkeypatch, command):
    monkeypatch.setattr(command, "draw", lambda *_: pytest.fail("something was computed"))
    assert command.main([str(folder)]) == 2
    assert (
        "figures cannot be written; name another folder for the figures with --out=DIR"
        in capsys.readouterr().err
    )


def test_a_report_into_a_file_is_one_line(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert report.main([str(folder), f"--out={tmp_path / 'file'}"]) == 2
    assert f"{tmp_path / 'file'}: expected a folder, found a file; name a folder" in capsys.readouterr().err


def test_a_table_into_a_place_that_cannot_be_is_one_line(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert tables([str(folder), f"--out={tmp_path / 'file' / 'table.md'}", "--format=markdown"]) == 2
    assert "table.md cannot be written" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "theirs", ignore_errors=True)


def test_methods_without_a_common_seed_are_one_line(tmp_path, capsys):
    for place, method, seed in (("a", "erm_final", 0), ("b", "erm_all", 1)):
        make_run_folder(
            tmp_path / place, {(method, "convnet-1", seed): 0.5}, methods=(method,), seeds=(seed,)
        )
    assert tables([str(tmp_path / "a"), str(tmp_path / "b"), "--against=erm_final"]) == 2
    assert "no other method has a seed in common with 'erm_final'" in capsys.readouterr().err

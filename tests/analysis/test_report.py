import base64
import json
import re

from seqfinal_jax.analysis import report
from seqfinal_jax.analysis.page.facts import run_facts, stage_rows
from seqfinal_jax.analysis.tables.results_table import results_table
from tests.analysis.run_folders import make_run_folder, write_change, write_joint_grid, write_table


def change(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_page_holds_everything(workdir):
    *_, page = report.write_report(workdir)
    text = page.read_text()
    for part in (
        "digits_rcl, protocol corrected", "60.0 ± 10.0", "X failed", "– missing", "config.protocol.input_scaling",
        "selection: validation accuracy of the final step", "seeds: 0, 1, 2 (each draws", ">3</td>", ">2/3</td>",
        "test samples: 500", "standardised", "embedded", "official data",
        "erm_all, convnet-2, seed 0: MemoryError: &lt;no&gt; room",
        "<td>history</td><td>start</td><td>0.003</td><td>0.0001</td><td>0.5</td><td>4 / –</td><td>6</td><td>65.0</td>",
    ):  # fmt: skip
        assert part in text
    assert "<no>" not in text


def test_links_are_relative_and_lead_somewhere(workdir):
    *_, page = report.write_report(workdir)
    report.write_results_csv(workdir)
    links = set(re.findall(r'href="([^"]+)"', page.read_text()))
    assert "../figures/methods.png" in links
    for link in links:
        assert (page.parent / link).is_file(), link


def test_the_page_holds_its_pictures(workdir):
    *paths, page = report.write_report(workdir)
    held = re.findall(r'src="data:image/png;base64,([^"]+)"', page.read_text())
    assert [base64.b64decode(each) for each in held] == [p.read_bytes() for p in paths if p.suffix == ".png"]
    assert "http" not in re.sub(r'base64,[^"]+', "", page.read_text())  # it works offline


def test_the_same_cells_give_the_same_page(workdir):
    first = report.write_report(workdir)[-1].read_bytes()
    assert report.write_report(workdir)[-1].read_bytes() == first
    assert sorted(path.name for path in (workdir / "report").iterdir()) == [
        "index.html",
        "table.csv",
        "table.md",
    ]


def test_data_that_are_not_official_are_named_and_no_path_is_shown(workdir):
    record = {
        "dataset": "cifar10",
        "origin": "folder",
        "path": "/home/me",
        "official": False,
        "note": "971 JPEG",
    }
    change(workdir / "environment.json", data=record)
    facts = dict(run_facts(workdir, results_table(workdir)))
    assert facts["official data"] == "no: other files than the official ones"
    assert facts["data source: note"] == "971 JPEG"
    assert "/home/me" not in str(facts)


def test_a_run_without_environment_or_done_cells_has_a_report(tmp_path):
    make_run_folder(tmp_path, {("erm_all", "convnet-1", 0): None}, methods=("erm_all",), seeds=(0,))
    (tmp_path / "environment.json").unlink()
    text = report.write_report(tmp_path)[-1].read_text()
    assert "not recorded" in text
    assert "No cell is done." in text
    assert "selection: no cell is done" in text
    assert "protocol input_scaling=standardised, subpop_sizes=as_asked" in text
    assert "erm_all, convnet-1, seed 0: MemoryError: &lt;no&gt; room" in text


def test_penalties_of_a_method_get_a_column(workdir):
    path = workdir / "cells/oracle/convnet-1/seed0/result.json"
    record = json.loads(path.read_text())
    record["stages"][0]["hyper"]["fisher_weight"] = 2.0
    path.write_text(json.dumps(record))
    heads, rows = stage_rows([workdir])
    values = [row[heads.index("fisher weight")] for row in rows]
    assert sorted(set(values)) == ["2", "–"]


def test_command(workdir, tmp_path, capsys):
    assert report.main([str(workdir)]) == 0
    output = capsys.readouterr().out
    assert "60.0 ± 10.0" in output
    for name in ("results.csv", "figures/methods.png", "report/table.md", "report/index.html"):
        assert f"wrote {workdir / name}\n" in output
        assert (workdir / name).is_file()
    assert report.main([str(tmp_path / "nothing")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_figures_of_the_joint_model_are_shown_with_their_numbers(workdir):
    for rate, cell in enumerate(workdir.glob("cells/erm_final/convnet-1/seed*")):
        write_change(cell, {"conv1": (1.0 + rate, 2.0), "fc": (3.0, 4.0)})
        write_table(cell, "sample_usage.csv", "step,times_used,samples", [(0, 0, 3), (0, 2, 1), (1, 1, 2)])
        write_joint_grid(cell, [(0.01, 0.5), (0.1, 0.75)], "efficient_decay")
    text = report.write_report(workdir)[-1].read_text()
    pictures = re.findall(r'<a href="../figures/([^"]+)"><img', text)
    assert [name for name in pictures if not name.startswith(("methods", "learning"))] == [
        "weight_change_convnet-1.png", "sample_usage_erm_final.png", "efficient_sweep_erm_final_convnet-1.png",
    ]  # fmt: skip
    assert '<a href="../figures/efficient_sweep_erm_final_convnet-1.csv">' in text

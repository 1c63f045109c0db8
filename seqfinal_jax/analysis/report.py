"""The report of a run folder: report/index.html with the table, what was run, failures and figures.

Command   python -m seqfinal_jax.analysis.report WORKDIR
"""

import argparse
import base64
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from seqfinal_jax.analysis.answer import answers
from seqfinal_jax.analysis.figures.every import draw_figures
from seqfinal_jax.analysis.figures.record import Drawn
from seqfinal_jax.analysis.report_page import PAGE
from seqfinal_jax.analysis.tables.cells import HYPERS, read_stages
from seqfinal_jax.analysis.tables.labels import listed, method_name, number, percent
from seqfinal_jax.analysis.tables.results_table import ResultsTable, results_table
from seqfinal_jax.analysis.tables.text import print_summary, to_csv, to_markdown, write_results_csv
from seqfinal_jax.records.plugins import load_plugins
from seqfinal_jax.results.run_folder import RunFolderError, read_config, read_environment, write_whole

log = logging.getLogger(__name__)
SMALLEST_DIFFERENCE = 1.0  # in points, of runs that were made before the field was there
PLACE_COLUMNS = ("method", "architecture", "seed", "stage", "role")
OUTCOME_COLUMNS = ("best_epoch", "stop_epoch", "valid_accuracy")
SHOWN_OF_DATA = ("dataset", "origin", "note", "content_sha256")
OFFICIAL = {True: "yes", False: "no: other files than the official ones", "unverified": "not verified"}


def report_run(workdir: str | Path, console: Console | None = None) -> None:
    """All that follows a run: results.csv and the table first, then figures and the page; their paths are printed.

    Methods, architectures and seeds that the configuration names are shown as missing where they lack.

    Args:
        workdir: a run folder.
        console: where to print; default: standard output.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    console = console or Console(highlight=False)
    load_run_plugins(workdir)
    results = write_results_csv(workdir)
    table = print_summary(workdir, console=console)
    for sentence in run_answer(workdir, table):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for path in [results, *write_report(workdir)]:
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def run_answer(workdir: str | Path, table: ResultsTable) -> list[str]:
    """Whether history is worth using, and which way: a paragraph for each architecture."""
    analysis = read_config(workdir).get("analysis", {})
    smallest = analysis.get("smallest_difference", SMALLEST_DIFFERENCE) / 100
    return [" ".join(answer.sentences) for answer in answers(table.cells, smallest)]


def load_run_plugins(workdir: str | Path) -> None:
    """Loads the plugins of a run, which name its methods and may add figures; one that is gone is a warning."""
    for name in read_config(workdir).get("plugins", ()):
        try:
            load_plugins([name])
        except ValueError as error:
            log.warning("%s; its figures are not drawn", error)


def write_report(workdir: str | Path) -> list[Path]:
    """Writes report/table.md and report/table.csv, draws the figures, and writes report/index.html.

    Args:
        workdir: a run folder.

    Returns:
        The files, the page last. It holds its pictures, and its links to tables are relative: the page can be sent alone,
        and the run folder can be moved.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    table, folder = results_table(workdir), Path(workdir) / "report"
    tables = [
        write_whole(folder / "table.md", to_markdown(table)),
        write_whole(folder / "table.csv", to_csv(table)),
    ]
    drawn = draw_figures(workdir)
    page = write_whole(folder / "index.html", _page(workdir, table, drawn))
    return [*tables, *drawn.paths, page]


def run_facts(workdir: str | Path, table: ResultsTable) -> list[tuple[str, str]]:
    """What was run, as names and texts: sequence, every protocol field, seeds, data source, versions."""
    config, environment = read_config(workdir), read_environment(workdir)
    facts = [("sequence", table.sequence), ("protocol", table.protocol)]
    facts += _fields("protocol", config.get("protocol"))
    facts += [("methods", listed(table.methods)), ("architectures", listed(table.architectures))]
    facts += [("seeds", listed(table.seeds)), ("config.data_seed", str(config.get("data_seed", "unknown")))]
    facts += _fields("data", config.get("data")) + _data_facts(environment.get("data"))
    rest = {name: value for name, value in environment.items() if name not in ("data", "machine")}
    rest |= environment.get("machine", {})
    return facts + [(name, _text(value)) for name, value in rest.items()]


def _fields(section: str, fields: Any) -> list[tuple[str, str]]:
    """A section of the configuration, a line a field."""
    fields = fields if isinstance(fields, dict) else {}
    return [(f"config.{section}.{name}", _text(value)) for name, value in fields.items()]


def _data_facts(record: Any) -> list[tuple[str, str]]:
    """Where the data came from and whether they are the official ones; no local path."""
    if not isinstance(record, dict):
        return [("data source", "not recorded")]
    facts = [(f"data source: {name}", _text(record[name])) for name in SHOWN_OF_DATA if record.get(name)]
    return [*facts, ("official data", OFFICIAL.get(record.get("official"), "not recorded"))]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return listed(f"{name} {_text(part)}" for name, part in value.items())
    return listed(map(number, value)) if isinstance(value, (list, tuple)) else number(value)


def _page(workdir: str | Path, table: ResultsTable, drawn: Drawn) -> str:
    from jinja2 import Environment, StrictUndefined

    heads, stages = _stage_rows(workdir)
    template = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return template.from_string(PAGE).render(
        table=table, names=method_name, answer=run_answer(workdir, table), facts=run_facts(workdir, table),
        figures=[path.name for path in drawn.paths], pictures=_embedded(drawn.paths), undrawn=drawn.failed,
        failures=table.failures.to_dict("records"), stage_heads=heads, stages=stages,
    )  # fmt: skip


def _embedded(paths: Sequence[Path]) -> dict[str, str]:
    """The pictures as addresses that hold them, so that the page can be sent alone."""
    return {
        path.name: "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
        for path in paths
        if path.suffix == ".png"
    }


def _stage_rows(workdir: str | Path) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the chosen hyper-parameters; penalties of some methods get columns of their own."""
    stages = read_stages(workdir)
    fixed = {*PLACE_COLUMNS, *OUTCOME_COLUMNS, "position", "step", "train_steps", "fingerprint"}
    more = [name for name in stages.columns if name not in fixed | set(HYPERS)]
    columns = [name for name in (*PLACE_COLUMNS, *HYPERS, *more, *OUTCOME_COLUMNS) if name in stages.columns]
    rows = [[_stage_value(name, row[name]) for name in columns] for row in stages.to_dict("records")]
    heads = [
        "validation accuracy (%)" if name == "valid_accuracy" else name.replace("_", " ") for name in columns
    ]
    return heads, rows


def _stage_value(name: str, value: Any) -> str:
    if name == "method":
        return method_name(value).column
    return percent(value) if name == "valid_accuracy" else _text(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report and prints the table; 2 where the folder cannot be read."""
    parser = argparse.ArgumentParser(
        description="Write results.csv, the figures and the report of a run folder."
    )
    parser.add_argument("workdir", type=Path, help="the --workdir of a run")
    try:
        report_run(parser.parse_args(arguments).workdir)
    except RunFolderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

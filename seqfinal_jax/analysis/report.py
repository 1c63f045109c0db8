"""The report of a run: one page with the answer, charts, tables, figures, failures and what was run.

Command   seqfinal report RUN [RUN...] [--out=DIR] [--metric=ece,nll]
          python -m seqfinal_jax.analysis.report is the same command

Of one folder the page is RUN/report/index.html. Several folders of one sequence and protocol, such as one for each seed,
are joined into DIR/index.html, beside its tables and charts. --metric adds columns that are computed from the stored
logits; those of the metrics in your own plugins are shown without it.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from seqfinal_jax.analysis.answer import answers
from seqfinal_jax.analysis.figures.cost_chart import draw_costs
from seqfinal_jax.analysis.figures.every import draw_figures
from seqfinal_jax.analysis.figures.method_chart import draw_methods
from seqfinal_jax.analysis.figures.record import Drawn, house_style
from seqfinal_jax.analysis.page.comparisons import differences, sampling_note, standings
from seqfinal_jax.analysis.page.facts import changed_fields, run_facts, stage_rows
from seqfinal_jax.analysis.page.metrics import metric_table
from seqfinal_jax.analysis.page.pictures import HEADINGS, grouped, model_groups
from seqfinal_jax.analysis.run_code import add_code_flags, allowed_code, load_figure_plugins
from seqfinal_jax.analysis.tables.comparisons import smallest_difference
from seqfinal_jax.analysis.tables.labels import method_name
from seqfinal_jax.analysis.tables.metrics import metrics_named, own_metrics
from seqfinal_jax.analysis.tables.results_table import ResultsTable, results_table
from seqfinal_jax.analysis.tables.text import (
    csv_text,
    print_summary,
    to_csv,
    to_markdown,
    write_results_csv,
)
from seqfinal_jax.config.command_line import FlagParser
from seqfinal_jax.results.run_folder import (
    RunFolderError,
    check_run_folder,
    read_environment,
    refuse_unwritable,
    write_whole,
)

log = logging.getLogger(__name__)
TEMPLATES = Path(__file__).with_name("page")


@dataclass(frozen=True)
class Sources:
    """What a page is made from: run folders, where their joined results and the models' figures are, and the page."""

    workdirs: tuple[Path, ...]
    results: Path
    page: Path

    @property
    def figures(self) -> Path:
        """Where the commands that read models leave their figures."""
        return self.workdirs[0] / "figures"


def report_run(workdir: str | Path, console: Console | None = None, metrics: Sequence[str] = ()) -> None:
    """All that follows a run: results.csv and the table first, then figures and the page; their paths are printed.

    Methods, architectures and seeds that the configuration names are shown as missing where they lack.

    Args:
        workdir: a run folder.
        console: where to print; default: standard output.
        metrics: further metrics that the page shows, by their ids.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
        ValueError: an unknown metric.
    """
    console = console or Console(highlight=False)
    load_figure_plugins(workdir)
    results = write_results_csv(workdir)
    table = print_summary(workdir, console=console)
    paths = [results, *write_report(workdir, metrics)]
    for sentence in run_answer(workdir, table):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for path in paths:
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def report_or_table(workdir: Path, metrics: Sequence[str] = ()) -> None:
    """The report of a run; of a folder that cannot be written the table and the answer, and then RunFolderError."""
    console = Console(highlight=False)
    try:
        refuse_unwritable(check_run_folder(workdir) / "report", "write the report elsewhere with --out=DIR")
        refuse_unwritable(workdir, "write the report elsewhere with --out=DIR")
    except RunFolderError:
        if workdir.is_dir() and (workdir / "config.json").is_file():
            table = print_summary(workdir, console=console)
            for sentence in run_answer(workdir, table):
                console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        raise
    report_run(workdir, console, metrics)


def run_answer(workdir: str | Path, table: ResultsTable) -> list[str]:
    """Whether history is worth using, and which way: a paragraph for each architecture."""
    found = answers(table.cells, smallest_difference(workdir), table.records)
    return [" ".join(answer.sentences) for answer in found]


def write_report(workdir: str | Path, metrics: Sequence[str] = ()) -> list[Path]:
    """Writes report/table.md and report/table.csv, draws the figures, and writes report/index.html.

    Args:
        workdir: a run folder.
        metrics: further metrics that the page shows, by their ids; those of loaded plugins are always shown.

    Returns:
        The files, the page last. It holds its pictures, and its links to tables are relative: the page can be sent alone,
        and the run folder can be moved.

    Raises:
        RunFolderError: not a run folder, or a damaged one.
    """
    workdir = Path(workdir)
    table, folder = results_table(workdir), workdir / "report"
    tables = _write_tables(table, folder)
    drawn = draw_figures(workdir)
    sources = Sources((workdir,), workdir / "results.csv", folder / "index.html")
    return [*tables, *drawn.paths, _write_page(sources, table, drawn, metrics)]


def write_joined_report(
    workdirs: Sequence[str | Path], out: str | Path, metrics: Sequence[str] = ()
) -> list[Path]:
    """The report of several run folders of one sequence and protocol, in a folder of its own.

    Returns:
        The files, the page last.

    Raises:
        RunFolderError: not run folders, damaged ones, or ones that do not go together.
    """
    out, folders = Path(out), tuple(map(Path, workdirs))
    table = results_table(folders)
    rows = table.cells.itertuples(index=False)
    results = write_whole(out / "results.csv", csv_text(tuple(table.cells.columns), rows))
    with house_style():
        charts = [draw_methods(table, out / "methods.png"), *(draw_costs(table, out / "cost.png") or ())]
    drawn = Drawn([path for path in charts if path], [])
    tables = _write_tables(table, out)
    return [
        results,
        *tables,
        *drawn.paths,
        _write_page(Sources(folders, results, out / "index.html"), table, drawn, metrics),
    ]


def _write_tables(table: ResultsTable, folder: Path) -> list[Path]:
    return [
        write_whole(folder / "table.md", to_markdown(table)),
        write_whole(folder / "table.csv", to_csv(table)),
    ]


def _write_page(sources: Sources, table: ResultsTable, drawn: Drawn, metrics: Sequence[str] = ()) -> Path:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    workdir, smallest = sources.workdirs[0], smallest_difference(sources.workdirs[0])
    heads, stages = stage_rows(sources.workdirs)
    groups = grouped(drawn.paths, sources.page)
    measured = metric_table(table, sources.workdirs, [*metrics_named(metrics), *own_metrics()])
    lead = groups.pop(HEADINGS["methods"], None)
    pages = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                        keep_trailing_newline=True)  # fmt: skip
    text = pages.get_template("page.html.jinja").render(
        table=table, names=method_name, answer=run_answer(workdir, table), lead=lead, groups=groups.values(),
        differences=differences(table.cells, smallest, table.records), standings=standings(table.cells),
        noise=sampling_note(table.cells), smallest=100 * smallest,
        models=model_groups(sources.figures, sources.page, str(workdir), _data_dir(workdir)), undrawn=drawn.failed,
        failures=table.failures.to_dict("records"), stage_heads=heads, stages=stages,
        measured=measured, facts=run_facts(workdir, table), changed=changed_fields(workdir),
        folders=len(sources.workdirs),
        results="results.csv" if sources.results.parent == sources.page.parent else "../results.csv",
    )  # fmt: skip
    return write_whole(sources.page, text)


def _data_dir(workdir: Path) -> str:
    """The folder of the data sets that the last command named; empty where it named none."""
    commands = read_environment(workdir).get("commands") or [{}]
    return commands[-1].get("data_dir", "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report and prints the table; 2 where a folder cannot be read."""
    parser = FlagParser(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--out", type=Path, help="folder of a report that joins run folders")
    parser.add_argument(
        "--metric", action="append", default=[], help="further metrics that the page shows, with commas"
    )
    add_code_flags(parser)
    return parser.run(_report, arguments)


def _report(options: argparse.Namespace) -> None:
    with allowed_code(options):
        _write(options)


def _write(options: argparse.Namespace) -> None:
    if options.out is None and len(options.runs) > 1:
        raise RunFolderError("several run folders need a place for their report; name it with --out=DIR")
    for run in options.runs:
        load_figure_plugins(check_run_folder(run))
    metrics = [metric.id for metric in metrics_named(",".join(options.metric))]
    if options.out is None:
        report_or_table(options.runs[0], metrics)
        return
    refuse_unwritable(options.out, "name a folder that you may write to with --out=DIR")
    for path in write_joined_report(options.runs, options.out, metrics):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())

"""The tables of results in the documents, written from the committed results.csv files.

python -m benchmarks.doc_tables            writes every table again
python -m benchmarks.doc_tables --check    names the documents that differ from the files, and ends with 1

A table stands between two comments. The first names the kind of table and its arguments; files are named from the root of
the repository:

    <!-- table: methods docs/results/digits_rcl/results.csv --columns=mean,n,difference --against=erm_final -->
    <!-- end of table -->

Kinds:

methods FILE...     one row per method. --columns: of mean, n, seeds, test, validation, difference, p, chosen, epoch.
                    --against: the reference of difference and p. --methods: which, by comma; default: all that the files
                    have. --architecture: where they have several. --side_by_side: in so many parts beside each other.
                    --notes: a CSV file with two columns, the method and a note. The note becomes the second column of
                    the table, under the heading that the file gives it;
                    methods that only it has get dashes.
beside HEAD=FILE... test accuracy of each file, one row per method of the first one.
paired              two runs of the same cells; every further line of the comment is a row: its name, one file or several
                    with + between, the others, and where wanted --architecture and --method.
parity FILE         ours beside the published program.
run FILE            the table and the answer that a run prints, as a block of text.
printed FILE        all that a run has printed from the title of its table to its answer. The file is the output of
                    python -m seqfinal_jax.analysis.report RUN.
"""

import argparse
import io
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from rich.console import Console

from benchmarks import paired, parity
from seqfinal_jax.analysis.answer import answers
from seqfinal_jax.analysis.statistics import Comparison, compare
from seqfinal_jax.analysis.tables.comparisons import accuracies_by_seed
from seqfinal_jax.analysis.tables.labels import MISSING, in_order, listed, percent
from seqfinal_jax.analysis.tables.text import printed_table

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/*.md", "docs/results/*.md")
MARKED = re.compile(r"(<!-- table: (.*?) -->\n)(.*?)(<!-- end of table -->)", re.S)
WIDTH = 116  # of what a run prints
Write = Callable[[Sequence[str], Sequence[str]], list[str]]


class Arguments(argparse.ArgumentParser):
    """A parser of a marker's arguments, whose errors are ValueErrors."""

    def error(self, message: str) -> NoReturn:
        """Raises ValueError."""
        raise ValueError(f"table of kind {self.prog}: {message}")


def stored(names: Sequence[str]) -> pd.DataFrame:
    """The cells of results.csv files, named from the root of the repository."""
    return pd.concat([pd.read_csv(ROOT / name) for name in names], ignore_index=True)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)]


def _difference(own: pd.DataFrame, compared: Comparison | None) -> str:
    if compared is None:
        return ""
    interval = (
        "" if compared.low != compared.low else f" [{100 * compared.low:+.1f}, {100 * compared.high:+.1f}]"
    )
    return f"{100 * compared.difference:+.1f}{interval}"


def _mean(own: pd.DataFrame, column: str) -> str:
    return percent(float(own[column].mean())) if len(own) else MISSING


COLUMNS: dict[str, tuple[str, Callable[[pd.DataFrame, Comparison | None], str]]] = {
    "mean": ("mean ± spread", lambda own, _: f"{_mean(own, 'test_accuracy')} ± {percent(own['test_accuracy'].std())}"),
    "n": ("n", lambda own, _: str(len(own))),
    "seeds": ("each seed", lambda own, _: ", ".join(percent(value) for value in own["test_accuracy"])),
    "test": ("test", lambda own, _: _mean(own, "test_accuracy")),
    "validation": ("validation", lambda own, _: _mean(own, "valid_accuracy")),
    "difference": ("difference [95 % interval]", _difference),
    "p": ("p", lambda own, compared: "" if compared is None else f"{compared.p:.2g}"),
    "chosen": (
        "learning rate, weight decay, dropout",
        lambda own, _: "; ".join(
            f"{row.learning_rate:g}, {row.weight_decay:g}, {row.dropout:g}" for row in own.itertuples()
        ),
    ),
    "epoch": ("best epoch", lambda own, _: ", ".join(str(epoch) for epoch in own["best_epoch"])),
}  # fmt: skip


def _names(text: str) -> list[str]:
    return text.split(",")


def _columns(text: str) -> list[str]:
    names = _names(text)
    if unknown := [name for name in names if name not in COLUMNS]:
        raise argparse.ArgumentTypeError(f"no column {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    return names


def methods(arguments: Sequence[str], lines: Sequence[str]) -> list[str]:
    """One row per method."""
    parser = Arguments(prog="methods")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--columns", type=_columns, default=["mean", "n"])
    parser.add_argument("--methods", type=_names)
    for name in ("against", "architecture", "notes"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--side_by_side", type=int, default=1)
    asked = parser.parse_args(arguments)
    cells, notes = _cells(asked), _notes(asked.notes)
    accuracies = accuracies_by_seed(cells)
    others = [m for m in notes if m not in accuracies] if notes else []
    seeds = f"seeds {listed(cells['seed'].unique())}"
    columns = [seeds if name == "seeds" else COLUMNS[name][0] for name in asked.columns]
    heads = ["method", *([notes["method"]] if notes else []), *columns]
    rows = []
    for method in asked.methods or [*in_order(accuracies), *(m for m in others if m != "method")]:
        own = cells[cells["method"] == method]
        compared = compare(accuracies, asked.against, [method]) if asked.against else []
        values = [
            COLUMNS[name][1](own, compared[0] if compared else None) if len(own) else MISSING
            for name in asked.columns
        ]
        rows.append([f"`{method}`", *([notes.get(method, "")] if notes else []), *values])
    return _side_by_side(heads, rows, asked.side_by_side)


def _cells(asked: Any) -> pd.DataFrame:
    cells = stored(asked.files)
    cells = cells[cells["architecture"] == asked.architecture] if asked.architecture else cells
    if cells["architecture"].nunique() > 1:
        raise ValueError(f"{asked.files} have several architectures; name one with --architecture")
    if cells.duplicated(["method", "seed"]).any():
        raise ValueError(f"{asked.files} hold a method and seed twice")
    return cells


def _notes(name: str | None) -> dict[str, str]:
    """A text for each method, and the heading under "method"."""
    if not name:
        return {}
    frame = pd.read_csv(ROOT / name, keep_default_na=False)
    return {"method": frame.columns[1], **dict(frame.itertuples(index=False, name=None))}


def _side_by_side(heads: list[str], rows: list[list[str]], parts: int) -> list[str]:
    """The rows in so many parts, an empty column between them."""
    length = -(-len(rows) // parts)
    blocks = [rows[first : first + length] for first in range(0, len(rows), length)]
    blank = [""] * len(heads)
    joined = [
        _joined([block[place] if place < len(block) else blank for block in blocks])
        for place in range(length)
    ]
    return markdown(_joined([heads] * len(blocks)), joined)


def _joined(parts: list[list[str]]) -> list[str]:
    return [text for place, part in enumerate(parts) for text in (([""] if place else []) + part)]


def beside(arguments: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Test accuracies of several files."""
    pairs = [each.split("=", 1) for each in arguments]
    found = [accuracies_by_seed(stored([name])) for _, name in pairs]
    rows = []
    for method in in_order(found[0]):
        seeds = set.intersection(*(set(each.get(method, ())) for each in found))
        means = [
            sum(each[method][s] for s in seeds) / len(seeds) if seeds else float("nan") for each in found
        ]
        rows.append([f"`{method}`", *map(percent, means)])
    return markdown(["method", *(f"`{head}`" for head, _ in pairs)], rows)


def paired_runs(arguments: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Two runs of the same cells; each row takes the mean over its methods and networks, seed by seed."""
    parser = Arguments(prog="paired")
    for name in ("name", "one", "other"):
        parser.add_argument(name)
    for name in ("architecture", "method"):
        parser.add_argument(f"--{name}")
    rows = []
    for text in lines:
        asked = parser.parse_args(shlex.split(text))
        cells = paired.paired_cells(*(stored(files.split("+")) for files in (asked.one, asked.other)))
        for name in ("architecture", "method"):
            cells = cells[cells[name] == getattr(asked, name)] if getattr(asked, name) else cells
        rows.append(paired.line(asked.name, cells))
    return [*paired.HEAD, *rows]


def published(arguments: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Ours beside the published program."""
    return parity.rows(stored(arguments), pd.read_csv(parity.PUBLISHED))


def run(arguments: Sequence[str], lines: Sequence[str]) -> list[str]:
    """What a run prints at its end."""
    cells = stored(arguments)
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False)
    console.print(printed_table(cells))
    said = [textwrap.fill(" ".join(each.sentences), WIDTH) for each in answers(cells)]
    printed = [line.rstrip() for line in console.file.getvalue().splitlines()]
    return ["```", *printed, "", *"\n\n".join(said).splitlines(), "```"]


def printed(arguments: Sequence[str], lines: Sequence[str]) -> list[str]:
    """What a run has printed at its end, whole, long lines wrapped."""
    [name] = arguments
    output = (ROOT / name).read_text(encoding="utf-8").splitlines()
    first = next(place for place, line in enumerate(output) if line.startswith("Test accuracy"))
    said = [line.rstrip() for line in output[first:] if not line.startswith("wrote ")]
    wrapped = [
        part for line in said for part in (textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line])
    ]
    return ["```", *wrapped, "```"]


KINDS: dict[str, Write] = {
    "methods": methods, "beside": beside, "paired": paired_runs, "parity": published, "run": run,
    "printed": printed,
}  # fmt: skip


def written(text: str) -> str:
    """A document with every table made from its files; raises ValueError for a marker that cannot be followed."""

    def table(found: re.Match) -> str:
        first, *lines = [line.strip() for line in found[2].strip().splitlines()]
        kind, *arguments = shlex.split(first)
        if kind not in KINDS:
            raise ValueError(f"unknown kind of table {kind!r}; there are {', '.join(KINDS)}")
        return found[1] + "\n".join(["", *KINDS[kind](arguments, lines), "", ""]) + found[4]

    if text.count("<!-- table:") != len(MARKED.findall(text)):
        raise ValueError("a table has no end: <!-- end of table -->")
    return MARKED.sub(table, text)


def documents() -> list[Path]:
    """The documents that may hold tables."""
    return sorted(path for pattern in DOCUMENTS for path in ROOT.glob(pattern))


def differing() -> dict[Path, str]:
    """What the documents should say, of those that say something else."""
    found = {path: written(path.read_text(encoding="utf-8")) for path in documents()}
    return {path: text for path, text in found.items() if text != path.read_text(encoding="utf-8")}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where a document differs")
    check = parser.parse_args().check
    changed = differing()
    for path, text in changed.items():
        print(f"{path.relative_to(ROOT)} {'differs from its files' if check else 'was written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())

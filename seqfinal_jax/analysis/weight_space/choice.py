"""What the commands share that draw the models of run folders: their flags, and how they end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from seqfinal_jax.analysis.run_code import add_code_flags, allowed_code
from seqfinal_jax.analysis.tables.cells import done_cells, read_cells
from seqfinal_jax.analysis.tables.labels import in_order, listed, method_called, method_name
from seqfinal_jax.config.command_line import FlagParser
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.records.plugins import blamed
from seqfinal_jax.results.run_folder import (
    CellFolder,
    RunFolderError,
    check_run_folder,
    refuse_unwritable,
    write_whole,
)


@dataclass(frozen=True)
class Choice:
    """Which models to draw, and what to write beside them.

    architectures, methods: names; empty for the first architecture and for all methods. seed: None for the first.
    legends: what a method is called in the legend, where it is not its usual name. title: of the figure; empty for the
    usual one. out: the folder of the figures, where it is not that of the first run.
    """

    runs: tuple[Path, ...]
    architectures: tuple[str, ...] = ()
    seed: int | None = None
    methods: tuple[str, ...] = ()
    legends: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    data_dir: str | None = None
    out: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the figures go."""
        return self.out or self.runs[0] / "figures"

    def kept(self, name: str) -> Path:
        """A file of what was computed, in the folder of the figures; what the run folder has of it is taken over."""
        path, there = self.folder / name, self.runs[0] / "figures" / name
        if not path.is_file() and there.is_file():
            write_whole(path, there.read_bytes())
        return path

    def legend(self, method: str) -> str:
        """What a method is called in the legend."""
        return self.legends.get(method, method_name(method).legend)

    def each_architecture(self) -> Iterator["Choice"]:
        """The choice for one architecture after the other; itself where none is named."""
        yield from (replace(self, architectures=(name,)) for name in self.architectures)
        if not self.architectures:
            yield self

    def cells(self) -> list[CellFolder]:
        """The completed cells of the chosen architectures and seed, of all methods, a cell of several folders once.

        Raises RunFolderError where the folders hold no such cell.
        """
        cells = {cell[1:]: cell for run in reversed(self.runs) for cell in done_cells(run)}
        chosen = [
            cell for cell in cells.values()
            if (not self.architectures or cell.architecture in self.architectures)
            and self.seed in (None, cell.seed)
        ]  # fmt: skip
        if not chosen:
            there = {(cell.architecture, cell.seed) for cell in cells.values()}
            found = listed(f"{a} seed {s}" for a, s in sorted(there)) or "nothing"
            asked = f"--architecture={listed(self.architectures)} --seed={self.seed}"
            raise RunFolderError(f"no cell of {asked} is done in {listed(self.runs)}; done: {found}")
        return chosen

    def of(self, cells: Sequence[CellFolder], place: tuple[str, int]) -> list[CellFolder]:
        """The cells of an architecture and seed whose methods are wanted: as `methods` lists them, or as tables do."""
        own = {cell.method: cell for cell in cells if (cell.architecture, cell.seed) == place}
        return [own[method] for method in self.methods or in_order(own) if method in own]


def choice_parser(description: str | None) -> FlagParser:
    """A parser with the flags that all these commands have."""
    parser = FlagParser(description)
    parser.add_argument(
        "runs", type=Path, nargs="+", help="run folders of one sequence; figures go into the first"
    )
    parser.add_argument(
        "--architecture", default="", help="one or several, separated by commas; default: the first"
    )
    parser.add_argument("--seed", type=int, help="default: the first")
    parser.add_argument(
        "--methods", default="", help="separated by commas, in the order of the legend; default: all"
    )
    parser.add_argument(
        "--names", default="", help="their names in the legend, separated by commas, one per method"
    )
    parser.add_argument(
        "--title", default="", help="title of the figure; default: sequence, architecture and seed"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for the figures; default: figures of the first run folder"
    )
    parser.add_argument("--data_dir", help="folder with the data sets; default: SEQFINAL_DATA_DIR")
    add_code_flags(parser)
    return parser


def read_choice(options: Any) -> Choice:
    """The choice that the flags make; raises ValueError for names that do not fit the methods."""
    methods, names = _named_methods(options), _parts(options.names)
    if names and len(names) != len(methods):
        raise ValueError(
            f"--names has {len(names)} entries and --methods has {len(methods)}; give a name for each method, or leave "
            f"--names out"
        )
    return Choice(
        tuple(options.runs), _parts(options.architecture), options.seed, methods,
        dict(zip(methods, names, strict=False)), options.title, options.data_dir,
        options.out,
    )  # fmt: skip


def _named_methods(options: Any) -> tuple[str, ...]:
    """The ids of the methods that the flag names in any way."""
    asked = _parts(options.methods)
    done = {method for run in options.runs for method in read_cells(run)["method"]} if asked else set()
    return tuple(method_called(name, {*done, *METHODS}) for name in asked)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def run_command(
    parser: FlagParser,
    draw: Callable[[Choice, Any, Console], Sequence[Path]],
    arguments: Sequence[str] | None,
) -> int:
    """Reads the flags, draws, and prints the paths of the files; returns 2 after an error of the user."""

    def command(options: Any) -> None:
        choice, console = read_choice(options), Console(highlight=False)
        for run in choice.runs:
            check_run_folder(run)
        refuse_unwritable(choice.folder, "name another folder for the figures with --out=DIR")
        with allowed_code(options), blamed():
            written = draw(choice, options, console)
        for path in written:
            console.print(f"wrote {path}", soft_wrap=True, markup=False)

    return parser.run(command, arguments)

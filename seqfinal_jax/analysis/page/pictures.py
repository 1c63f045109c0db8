"""The pictures of a report in groups with headings, each held by the page itself."""

import base64
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqfinal_jax.analysis.figures.palette import DPI

HEADINGS = {
    "methods": "Accuracy of the methods",
    "data_examples": "The data",
    "class_counts": "The data",
    "confusion": "Answers by class",
    "learning_curves": "Learning curves",
    "weight_change": "Change of weights between time steps",
    "sample_usage": "How often samples are used",
    "efficient_sweep": "Joint model: decay of the efficient penalty",
    "cost": "Cost against accuracy",
}
OTHER = "Further figures"
READABLE, PAGE_WIDTH = 90, 1088  # pixels of the page: for an inch of a figure, and for the page


@dataclass(frozen=True)
class Kind:
    """A kind of figure that a command of its own draws: its command, heading, and what the reader sees."""

    name: str
    heading: str
    says: str
    reads_data: bool = True

    def command(self, run: str, data_dir: str = "") -> str:
        """The command that draws it for a run folder; without a folder of data sets where the run needed none."""
        data = f" --data_dir={shlex.quote(data_dir)}" if self.reads_data and data_dir else ""
        return f"python -m seqfinal_jax.analysis.{self.name} {shlex.quote(run)}{data}"


KINDS = (
    Kind("interpolation", "Between the models before and after the last update",
         "Test accuracy on the line from one to the other: without a dip, the update stayed within its basin."),
    Kind("projection", "Where the models lie in weight space",
         "Each model between the oracle, the history and the final step alone, layer by layer.", reads_data=False),
    Kind("svcca", "How alike representations are to those of the oracle",
         "Mean canonical correlations, layer by layer; the oracle is at (1, 1)."),
    Kind("steps", "The model of each time step on every time step",
         "What methods with a model for each step forget, and what carries over to later steps."),
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One picture: its file's name, where it lies as the page sees it, and its content as an address.

    least_width: in pixels of the page, with which its words can be read; narrower pages scroll it.
    """

    name: str
    link: str
    source: str
    least_width: int = 0


@dataclass(frozen=True)
class Group:
    """Pictures under one heading, each with the tables of its numbers behind it; says: a sentence for the reader."""

    heading: str
    pictures: tuple[Picture, ...]
    tables: tuple[tuple[str, str], ...] = ()
    says: str = ""
    commands: tuple[str, ...] = ()


def grouped(paths: Sequence[Path], page: Path) -> dict[str, Group]:
    """Drawn files by heading, in the order in which the headings stand above."""
    order = [*dict.fromkeys(HEADINGS.values()), OTHER]
    by_heading: dict[str, list[Path]] = {}
    for path in paths:
        by_heading.setdefault(_heading(path), []).append(path)
    return {name: _group(name, by_heading[name], page) for name in order if name in by_heading}


def _heading(path: Path) -> str:
    return next((text for name, text in HEADINGS.items() if path.name.startswith(name)), OTHER)


def _group(heading: str, paths: Sequence[Path], page: Path, says: str = "") -> Group:
    pictures = tuple(_picture(path, page) for path in paths if path.suffix == ".png")
    tables = tuple((path.name, _link(path, page)) for path in paths if path.suffix == ".csv")
    return Group(heading, pictures, tables, says)


def _picture(path: Path, page: Path) -> Picture:
    content = path.read_bytes()
    held = "data:image/png;base64," + base64.b64encode(content).decode()
    return Picture(path.name, _link(path, page), held, least_width(content))


def least_width(png: bytes) -> int:
    """The width in pixels of the page at which the smallest words of a PNG of `DPI` dots an inch are 10 pixels high."""
    dots = int.from_bytes(png[16:20], "big")
    return min(PAGE_WIDTH, round(READABLE * dots / DPI))


def _link(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix()


def model_groups(folder: Path, page: Path, run: str, data_dir: str = "") -> list[Group]:
    """The figures of weight space and representations that commands have left in a folder, or how to draw them."""
    groups = []
    for kind in KINDS:
        paths = sorted(p for p in folder.glob(f"{kind.name}*") if p.suffix in (".png", ".csv"))
        group = _group(kind.heading, paths, page, kind.says)
        commands = () if group.pictures else (kind.command(run, data_dir),)
        groups.append(Group(group.heading, group.pictures, group.tables, kind.says, commands))
    return groups

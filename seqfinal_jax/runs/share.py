"""Which tasks a process computes, and in which order, where several processes work on one run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from seqfinal_jax.results.store import Cell

if TYPE_CHECKING:
    from seqfinal_jax.runs.graph import Task
    from seqfinal_jax.runs.plan import Plan


@dataclass(frozen=True)
class Share:
    """Part `number` (counted from 1) of `parts`.

    shard: compute only this part of the cells. Otherwise compute all, beginning with this part, and skip those that other
    processes have locked.
    """

    number: int = 1
    parts: int = 1
    shard: bool = False
    waits: ClassVar[bool] = True  # for what others have locked

    @property
    def together(self) -> bool:
        """Whether the seeds of a method are fitted together, as where no other process works on some of them."""
        return self.parts == 1 or self.shard

    def wanted(self, graph: Iterable["Task"]) -> list["Task"]:
        """The tasks for which a graph is computed: its cells."""
        return [task for task in graph if task.method]

    def of(self, plan: "Plan") -> list[Cell]:
        """The cells of this process, in its order.

        Cells that share stages (those of one architecture and seed) follow one another, so that a shard has as few stages
        in common with other shards as possible.
        """
        cells = list(plan.cells())
        if self.parts == 1:
            return cells
        places = {method: place for place, method in enumerate(plan.methods)}
        near = sorted(
            cells, key=lambda c: (plan.architectures.index(c[0]), plan.seeds.index(c[2]), places[c[1]])
        )
        bounds = np.linspace(0, len(near), self.parts + 1).round().astype(int)
        first, end = bounds[self.number - 1], bounds[self.number]
        return near[first:end] if self.shard else near[first:] + near[:first]


@dataclass(frozen=True)
class Group:
    """What one network and some seeds need for all of these methods; of a single method all that it needs, and its cells.

    The tasks of a run fall into such groups by the methods that need them. A group needs only groups with more methods.
    It is computed by a process of its own, which ends where another process has locked a task.
    """

    methods: tuple[str, ...]
    architecture: str
    seeds: tuple[int, ...]
    waits: ClassVar[bool] = False

    @property
    def together(self) -> bool:
        """Whether the seeds of a method are fitted together."""
        return len(self.seeds) > 1

    @property
    def cells(self) -> list[Cell]:
        """The cells that need this group."""
        return [Cell(self.architecture, method, seed) for method in self.methods for seed in self.seeds]

    def of(self, plan: "Plan") -> list[Cell]:
        """The same; raises ValueError where a run does not have them."""
        if not {*self.cells} <= {*plan.cells()}:
            raise ValueError(f"--group={self}: this run does not have all of these cells")
        return self.cells

    def wanted(self, graph: Iterable["Task"]) -> list["Task"]:
        """The tasks of this group."""
        if len(self.methods) == 1:
            return [task for task in graph if task.method]
        return [task for task, methods in _methods(graph).items() if len(methods) == len(self.methods)]

    def __str__(self) -> str:
        return f"{','.join(self.methods)}:{self.architecture}:{','.join(map(str, self.seeds))}"


def _methods(graph: Iterable["Task"]) -> dict["Task", tuple[str, ...]]:
    """The methods that need each task, a cell's own for the cell."""
    found: dict[Task, dict[str, None]] = {}
    for cell in graph:
        if cell.method:
            for task in (*cell.needs, cell):
                found.setdefault(task, {})[cell.method] = None
    return {task: tuple(methods) for task, methods in found.items()}


def groups(graph: Sequence["Task"], seeds: bool) -> dict[Group, tuple[Group, ...]]:
    """The tasks of a run as groups, each with those that it needs, which stand before it.

    seeds: whether all seeds are computed together.
    """
    methods = _methods(graph)
    everything = tuple(dict.fromkeys(task.seed for task in graph))
    own = {
        task: Group(methods[task], task.architecture, everything if seeds else (task.seed,)) for task in graph
    }
    found: dict[Group, dict[Group, None]] = {}
    for task, group in own.items():
        found.setdefault(group, {}).update(dict.fromkeys(own[need] for need in task.needs))
    ordered = sorted(found, key=lambda group: -len(group.methods))
    return {group: tuple(need for need in found[group] if need != group) for group in ordered}


def read_group(text: str) -> Group:
    """The group of METHODS:NETWORK:SEEDS; raises ValueError for another text."""
    parts = text.split(":")
    if len(parts) != 3 or not all(parts) or not all(seed.isdigit() for seed in parts[2].split(",")):
        raise ValueError(
            f"--group: expected METHODS:NETWORK:SEEDS, for example --group=erm_final:convnet-1:0,1, found {text!r}"
        )
    methods, architecture, seeds = parts
    return Group(tuple(methods.split(",")), architecture, tuple(map(int, seeds.split(","))))


def read_part(flag: str, text: str) -> tuple[int, int]:
    """The numbers of "i/n"; raises ValueError, naming the flag, where i is not from 1 to n."""
    number, _, parts = text.partition("/")
    if not (number.isdigit() and parts.isdigit() and 1 <= int(number) <= int(parts)):
        raise ValueError(
            f"--{flag}: expected i/n with i from 1 to n, for example --{flag}=1/4, found {text!r}"
        )
    return int(number), int(parts)

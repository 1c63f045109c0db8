"""The tasks of a run: every stage, transformation, choice and cell of every seed, each once, in topological order."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from seqfinal_jax.methods.nodes import Node, all_nodes
from seqfinal_jax.results.store import Cell, Store
from seqfinal_jax.runs.plan import Plan


@dataclass(frozen=True)
class Task:
    """A node of one network and seed, or a cell, whose node is the one that gives its model.

    key: the node's fingerprint. method: the cell's method; empty for a node. needs: of a node, the tasks of the nodes
    before it; of a cell, those of all nodes of its method, the last one at the end.
    """

    architecture: str
    key: str
    seed: int
    method: str = ""
    node: Node = field(compare=False, kw_only=True)
    needs: tuple["Task", ...] = field(compare=False, default=(), kw_only=True, repr=False)

    @property
    def cell(self) -> Cell:
        """The cell that a task of a method writes."""
        return Cell(self.architecture, self.method, self.seed)


def tasks(plan: Plan, cells: Iterable[Cell]) -> tuple[Task, ...]:
    """The tasks of these cells, each once; a task stands after all that it needs."""
    found: dict[Task, Task] = {}
    keys: dict[tuple[str, Node], str] = {}
    for architecture, method, seed in cells:
        own: dict[Node, Task] = {}
        for node in all_nodes(plan.node(architecture, method)):
            key = keys.setdefault((architecture, node), "") or plan.key(architecture, node)
            keys[architecture, node] = key
            needs = tuple(own[source] for source in node.sources)
            task = Task(architecture, key, seed, node=node, needs=needs)
            own[node] = found.setdefault(task, task)
        cell = Task(architecture, key, seed, method, node=node, needs=tuple(own.values()))
        found[cell] = cell
    return tuple(found)


def is_stored(task: Task, store: Store) -> bool:
    """Whether a node has a stored result, or a cell is complete."""
    return store.has_cell(task.cell, task.key) if task.method else store.has(task.key, task.seed)


def pending(
    graph: Sequence[Task], is_over: Callable[[Task], bool], wanted: Iterable[Task] | None = None
) -> list[Task]:
    """The wanted tasks (by default all cells) that are not over, and what they need of the tasks that are not over."""
    left = {task for task in graph if task.method} if wanted is None else set(wanted)
    for task in reversed(graph):
        if task in left and is_over(task):
            left.remove(task)
        elif task in left:
            left.update(task.needs)
    return [task for task in graph if task in left]


def together(graph: Iterable[Task], seeds: bool) -> list[tuple[Task, ...]]:
    """The tasks in groups that are computed at once: with `seeds` those of all seeds of a node, else each alone."""
    found: dict[tuple[str, ...], list[Task]] = {}
    for task in graph:
        alone = () if seeds else (str(task.seed),)
        found.setdefault((task.architecture, task.method, task.key, *alone), []).append(task)
    return [tuple(group) for group in found.values()]

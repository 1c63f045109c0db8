"""The loop of a run: takes the tasks that are ready, computes them under their locks, and stores results or failures."""

import errno
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from seqfinal_jax.methods.nodes import Choice
from seqfinal_jax.methods.stages.compute import compute
from seqfinal_jax.methods.stages.context import Context
from seqfinal_jax.records.plugins import outside_place, told
from seqfinal_jax.results.store import Missing, Store
from seqfinal_jax.runs.claims import Busy, Claims
from seqfinal_jax.runs.graph import Task, is_stored, pending, together
from seqfinal_jax.runs.plan import Plan
from seqfinal_jax.runs.write_cells import write_cell
from seqfinal_jax.training.engine.compile_clock import compile_seconds
from seqfinal_jax.training.engine.progress import duration

log = logging.getLogger(__name__)
# Errors of the disk or the terminal, after which no other task would fare better.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EPIPE)
LONGEST_WAIT = 5.0  # seconds between looks at what others do


def _raise_fatal(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in FATAL:
        raise error


class Pace:
    """Estimates the time left from the work done since it was made; compilation is left out, as it does not recur."""

    def __init__(self, operations: float) -> None:
        self.began, self.before, self.said = _training_clock(), operations, operations

    def seconds_left(self, operations: float) -> float:
        """Seconds for so many operations; 0 where nothing is left, or nothing was done since the last call."""
        done, news = self.before - operations, self.said - operations
        self.said = operations
        return (_training_clock() - self.began) * operations / done if news > 0 and operations > 0 else 0.0


def _training_clock() -> float:
    """Seconds of a clock that stands still while this process compiles."""
    return time.monotonic() - compile_seconds()


@dataclass
class Execution:
    """Computes the tasks of one process.

    context: what the nodes of an architecture are computed from. operations: an upper bound of the floating-point
    operations of some tasks, from which the time left is estimated. seeds: whether all seeds of a node are computed at
    once. waits: whether what other processes have locked is waited for. broken: the error of every task that failed.
    failed: the number of failed cells, those of other processes since `began` among them.
    """

    plan: Plan
    store: Store
    claims: Claims
    context: Callable[[str], Context]
    operations: Callable[[Iterable[Task]], float]
    console: Any
    seeds: bool = True
    waits: bool = True
    broken: dict[Task, Exception] = field(default_factory=dict)
    failed: int = 0
    said: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)
    began: float = field(default_factory=time.time)

    def run(self, graph: Sequence[Task], wanted: Sequence[Task] | None = None) -> int:
        """Computes what is not stored yet of the wanted tasks, by default the cells; returns how many cells failed.

        What other processes have locked is tried again, or raises Busy where this process does not wait.
        """
        left = pending(graph, self._is_over, wanted)
        self.pace, self.left = Pace(self.operations(left)), dict.fromkeys(left)
        pause = self.claims.waits
        while left:
            if self._once(left):
                pause = self.claims.waits
            else:
                self._wait(sum(bool(task.method) for task in left), pause)
                pause = min(2 * pause, LONGEST_WAIT)
            left = pending(graph, self._is_over, wanted)
        for task in graph:
            if (error := self._lost(task)) and not self._is_over(task):
                self._fail(task, error)
        return self.failed

    def _once(self, tasks: Sequence[Task]) -> bool:
        """Takes every group of tasks that is ready; whether anything was done."""
        done, heading = False, self._headings(tasks)
        for group in together(tasks, self.seeds):
            if group[0] in heading:
                self._say_once(heading[group[0]])
            done |= self._take(group)
            if group[0].method:
                self._say_time_left()
        return done

    def _headings(self, tasks: Sequence[Task]) -> dict[Task, str]:
        """For every task, the method for which it is computed, and the seeds."""
        found: dict[Task, str] = {}
        for group in together([task for task in tasks if task.method], self.seeds):
            seeds = ", ".join(str(task.seed) for task in group)
            named = f"{group[0].method}, {group[0].architecture}, seed{'s' * (len(group) > 1)} {seeds}"
            for task in group:
                found |= {each: named for each in (*task.needs, task) if each not in found}
        return found

    def _take(self, group: Sequence[Task]) -> bool:
        """Computes the tasks of a group that are ready; whether any was done, or failed, or was found to be over."""
        ready, moved = [], False
        for task in group:
            if self._is_over(task):
                moved = True
            elif error := self._lost(task):
                self._fail(task, error)
                moved = True
            elif self._is_ready(task):
                ready.append(task)
        return (self._compute(ready) if ready else False) or moved

    def _lost(self, task: Task) -> Exception | None:
        """The error of a task that cannot be computed, because what it needs failed.

        A choice goes on without candidates that diverged; a cell needs its last node only.
        """
        if task.method:
            return self.broken.get(task.needs[-1])
        errors = [self.broken[need] for need in task.needs if need in self.broken]
        if isinstance(task.node, Choice) and len(errors) < len(task.needs):
            errors = [error for error in errors if not isinstance(error, FloatingPointError)]
        return errors[0] if errors else None

    def _is_ready(self, task: Task) -> bool:
        return all(need in self.broken or self.store.has(need.key, need.seed) for need in task.needs)

    def _is_over(self, task: Task) -> bool:
        """Whether a task is done or has failed, here or in another process since this run began."""
        if task in self.broken:
            return True
        if task.method and self.store.failed_since(task.cell, self.began):
            self.broken[task] = RuntimeError("another process failed at this cell")
            self.failed += 1
            return True
        return is_stored(task, self.store)

    def _compute(self, tasks: Sequence[Task]) -> bool:
        """Computes tasks of one group under their locks; False where another process has locked one of them.

        Raises OSError where nothing can be written any more.
        """
        try:
            self._write_cells(tasks) if tasks[0].method else self._fit(tasks)
        except Busy:
            return False
        except Missing as error:
            self._miss(tasks, error)
        except Exception as error:
            _raise_fatal(error)
            for task in tasks:
                self._fail(task, error)
        return True

    def _miss(self, tasks: Sequence[Task], error: Missing) -> None:
        """A result that is needed is gone or damaged: it is computed again, unless that did not help before."""
        if str(error) in self.missed:
            for task in tasks:
                self._fail(task, error)
        self.missed.add(str(error))

    def _fit(self, tasks: Sequence[Task]) -> None:
        context, node = self.context(tasks[0].architecture), tasks[0].node
        what = f"{getattr(node, 'label', 'choice')} {tasks[0].architecture}"
        with self.claims.hold([f"{task.key}-seed{task.seed}" for task in tasks], what):
            left = {task.seed: task for task in tasks if not self.store.has(task.key, task.seed)}
            for seed, error in compute(context, node, list(left)).items() if left else ():
                self._fail(left[seed], error)

    def _write_cells(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            try:
                accuracy = write_cell(self.plan, self.context(task.architecture), task)
            except Missing:
                raise
            except Exception as error:
                _raise_fatal(error)
                self._fail(task, error)
                continue
            said = f"seed {task.seed}: test accuracy {100 * accuracy:.2f} %"
            log.info("%s, %s, %s", task.method, task.architecture, said)
            self.console.print(f"  {said}", highlight=False)

    def _fail(self, task: Task, error: Exception) -> None:
        self.broken[task] = error
        if task.method:
            said = told(error) if outside_place(error) else error
            log.error("%s, %s, seed %d failed: %s", task.method, task.architecture, task.seed, said)
            self.store.fail_cell(task.cell, error)
            self.failed += 1

    def _say_once(self, text: str) -> None:
        if text not in self.said:
            self.console.print(text, highlight=False, soft_wrap=True)
        self.said.add(text)

    def _wait(self, cells: int, seconds: float) -> None:
        if not self.waits:
            raise Busy("another process computes what is left")
        need = "s need" if cells > 1 else " needs"
        self._say_once(f"Waiting for other processes to finish stages that {cells} cell{need}.")
        time.sleep(seconds)

    def _say_time_left(self) -> None:
        self.left = {task: None for task in self.left if not task.method and not self._is_over(task)}
        seconds = self.pace.seconds_left(self.operations(self.left))
        if seconds:
            self.console.print(
                f"  about {duration(max(1.0, seconds))} left in all at the present pace, compilation not included",
                highlight=False,
            )

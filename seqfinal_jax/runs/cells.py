"""The cells of a run, method by method: locked cells are left for later, and a failed cell does not stop the others."""

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from seqfinal_jax.methods.stages.claiming import Busy
from seqfinal_jax.methods.stages.fitter import StageFitter
from seqfinal_jax.runs.claims import Claims
from seqfinal_jax.runs.plan import Plan
from seqfinal_jax.runs.share import Cell
from seqfinal_jax.runs.write_cells import cell_done, cell_folder, write_cell, write_error
from seqfinal_jax.training.engine.compile_clock import compile_seconds
from seqfinal_jax.training.engine.progress import duration

log = logging.getLogger(__name__)
# Errors of the disk or the terminal, after which no other cell would fare better.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EPIPE)
LONGEST_WAIT = 5.0  # seconds between looks at what others do


def is_done(workdir: Path, plan: Plan, cell: Cell) -> bool:
    """Whether a cell (architecture, method, seed) is complete, undamaged, and made by the stages of the plan."""
    architecture, method, seed = cell
    return cell_done(workdir, plan, method, architecture, seed)


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
class CellRun:
    """Computes the cells of one process.

    fitter: makes the fitter of an architecture. operations: an upper bound of the floating-point operations still to do,
    from which the time left is estimated. failed: the number of failed cells.
    """

    plan: Plan
    workdir: Path
    console: Any
    claims: Claims
    fitter: Callable[[str], StageFitter]
    operations: Callable[[], float]
    together: bool = True
    failed: int = 0
    told: set[str] = field(default_factory=set)
    began: float = field(default_factory=time.time)

    def all(self, cells: Sequence[Cell]) -> int:
        """Computes the cells; those whose stages other processes have locked are tried again at the end.

        Returns how many failed.
        """
        self.pace = Pace(self.operations())
        pause = self.claims.waits
        while cells:
            left = self._once(cells)
            if len(left) < len(cells):
                pause = self.claims.waits
            else:
                self._wait(len(left), pause)
                pause = min(2 * pause, LONGEST_WAIT)
            cells = [cell for cell in left if not self._elsewhere(cell)]
        return self.failed

    def _wait(self, count: int, seconds: float) -> None:
        said = f"Waiting for other processes to finish stages that {count} cell{'s need' if count > 1 else ' needs'}."
        if said not in self.told:
            self.console.print(said, highlight=False, soft_wrap=True)
        self.told.add(said)
        time.sleep(seconds)

    def _once(self, cells: Sequence[Cell]) -> list[Cell]:
        left: list[Cell] = []
        for architecture, own in groupby(cells, key=lambda cell: cell[0]):
            fitter = self.fitter(architecture)
            for method, seeds in self._groups(list(own)):
                left += self._method(fitter, method, seeds)
                fitter.forget()
                self._say_time_left()
        return left

    def _say_time_left(self) -> None:
        seconds = self.pace.seconds_left(self.operations())
        if seconds:
            self.console.print(
                f"  about {duration(max(1.0, seconds))} left in all at the present pace, compilation not included",
                highlight=False,
            )

    def _groups(self, cells: Sequence[Cell]) -> list[tuple[str, list[int]]]:
        """Methods with the seeds that are fitted together."""
        if not self.together:
            return [(method, [seed]) for _, method, seed in cells]
        by_method: dict[str, list[int]] = {}
        for _, method, seed in cells:
            by_method.setdefault(method, []).append(seed)
        order = {method: place for place, method in enumerate(self.plan.methods)}
        return sorted(by_method.items(), key=lambda each: order[each[0]])

    def _method(self, fitter: StageFitter, method: str, seeds: list[int]) -> list[Cell]:
        """One method's stages for some seeds, and their cells; the cells that others' work is needed for.

        Raises OSError where nothing can be written any more.
        """
        architecture = fitter.network.name
        seeds = [seed for seed in seeds if not self._elsewhere((architecture, method, seed))]
        if not seeds:
            return []
        named = f"{method}, {architecture}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        if named not in self.told:
            self.console.print(named, highlight=False)
        self.told.add(named)
        with contextlib.suppress(Exception):  # the fitter remembers it, and raises it again for its seeds
            fitter.results(self.plan.node(architecture, method), seeds)
        return [(architecture, method, seed) for seed in seeds if not self._cell(fitter, method, seed)]

    def _elsewhere(self, cell: Cell) -> bool:
        """Whether another process has done the cell, or failed at it, since this run began."""
        folder = cell_folder(self.workdir, cell[1], cell[0], cell[2])
        with contextlib.suppress(OSError):
            if (folder / "error.txt").stat().st_mtime >= self.began:
                self.failed += 1
                return True
        return is_done(self.workdir, self.plan, cell)

    def _cell(self, fitter: StageFitter, method: str, seed: int) -> bool:
        """Writes a cell, or what it failed of; False where another process is at work on what it needs."""
        architecture = fitter.network.name
        try:
            accuracy = write_cell(self.workdir, self.plan, fitter, method, seed)
        except Busy:
            return False
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FATAL:
                raise
            log.error("%s, %s, seed %d failed: %s", method, architecture, seed, error)
            write_error(self.workdir, method, architecture, seed, error)
            self.failed += 1
        else:
            said = f"seed {seed}: test accuracy {100 * accuracy:.2f} %"
            log.info("%s, %s, %s", method, architecture, said)
            self.console.print(f"  {said}", highlight=False)
        return True

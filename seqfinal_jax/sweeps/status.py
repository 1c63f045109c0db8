"""How far a sweep is: cells by state, who is at work, and when it may end."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from seqfinal_jax.results.store import Store
from seqfinal_jax.runs.claims import held_claims
from seqfinal_jax.sweeps.record import Run, Sweep
from seqfinal_jax.training.engine.progress import duration


@dataclass(frozen=True)
class Progress:
    """Cells of one run: done, failed, and what is left. working: stages that processes are fitting now."""

    place: str
    done: int
    failed: int
    left: int
    since: int
    working: tuple[dict[str, Any], ...]


def progress(sweep: Sweep, workdir: Path) -> list[Progress]:
    """How far each run of a sweep is; `since`: cells that were done since the first submission."""
    began = sweep.submissions[0]["time"] if sweep.submissions else 0.0
    return [_of_run(run, workdir / run.place, began) for run in sweep.runs]


def _of_run(run: Run, folder: Path, began: float) -> Progress:
    done = failed = since = 0
    for cell in run.cells:
        place = Store(folder).cell_folder(cell)
        result = _touched(place / "result.json")
        done += result is not None
        since += result is not None and result >= began
        failed += result is None and _touched(place / "error.txt") is not None
    working = tuple(claim for claim in held_claims(folder) if claim["name"] != "report")
    return Progress(run.place, done, failed, len(run.cells) - done - failed, since, working)


def _touched(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def left(found: Iterable[Progress]) -> int:
    """Cells that are neither done nor failed."""
    return sum(each.left for each in found)


def time_left(sweep: Sweep, found: list[Progress]) -> str:
    """About how long what is left may take, at the present pace; empty where it is not known."""
    since = sum(each.since for each in found)
    if not since or not left(found) or not sweep.submissions:
        return ""
    elapsed = time.time() - sweep.submissions[0]["time"]
    return f"about {duration(elapsed / since * left(found))} left"


def status_table(sweep: Sweep, found: list[Progress]) -> Table:
    """The state of a sweep as a table that fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("run", overflow="fold", max_width=30)
    for name in ("cells", "done", "failed", "waiting"):
        table.add_column(name, justify="right")
    table.add_column("at work", overflow="fold")
    for run, each in zip(sweep.runs, found, strict=True):
        name = run.file if each.place == "." else each.place
        working = ", ".join(dict.fromkeys(f"{claim['what']} on {claim['host']}" for claim in each.working))
        table.add_row(name, *map(str, (len(run.cells), each.done, each.failed, each.left)), working or "–")
    return table


def status_line(sweep: Sweep, found: list[Progress], at_work: bool = True) -> str:
    """The state of a sweep in one line; at_work: whether any worker lives."""
    parts = [
        f"{sum(each.done for each in found)} of {sweep.num_cells} cells done",
        f"{sum(each.failed for each in found)} failed",
        f"{sum(len(each.working) for each in found)} stages being trained",
    ]
    remaining = time_left(sweep, found) if at_work else "no worker is running" if left(found) else ""
    return ", ".join(parts) + (f", {remaining}" if remaining else "")

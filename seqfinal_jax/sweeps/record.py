"""What a sweep is made of, as its folder records it: configurations, cells, and where they were sent."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqfinal_jax.results.run_folder import read_json, write_whole
from seqfinal_jax.results.store import Cell
from seqfinal_jax.runs.share import Group

FOLDER, FILE = "sweep", "sweep.json"


@dataclass(frozen=True)
class Run:
    """One configuration. file: with presets behind a colon; settings: flags --config.x=y; place: its run folder, below
    that of the sweep; groups: its tasks for Dask, each group with the places of those that it needs."""

    file: str
    settings: tuple[str, ...]
    place: str
    data_dir: str | None
    cells: tuple[Cell, ...]
    groups: tuple[tuple[Group, tuple[int, ...]], ...] = ()

    def command(self, workdir: Path, part: str) -> list[str]:
        """The arguments of seqfinal_jax.main for a part of the run, which a flag names."""
        given = [f"--config={self.file}", f"--workdir={workdir / self.place}", *self.settings]
        data = [f"--data_dir={self.data_dir}"] if self.data_dir else []
        return [*given, *data, part]


@dataclass(frozen=True)
class Sweep:
    """A sweep. threads: of XLA's pool in every worker, which determines bits on a CPU. slurm: parameters of its jobs.

    scheduler: the address of Dask's, or empty. submissions: when workers were sent and as which jobs, newest last.
    """

    runs: tuple[Run, ...]
    cluster: str
    workers: int
    threads: int
    slurm: dict[str, Any] = field(default_factory=dict)
    submissions: tuple[dict[str, Any], ...] = ()
    scheduler: str = ""

    @property
    def num_cells(self) -> int:
        """Cells of all configurations."""
        return sum(len(run.cells) for run in self.runs)


def sweep_folder(workdir: Path) -> Path:
    """Where a sweep keeps its record, the logs of its workers and who they are."""
    return workdir / FOLDER


def stop_file(workdir: Path) -> Path:
    """A file whose presence asks the processes of a sweep on Dask to stop."""
    return sweep_folder(workdir) / "stop"


def ask_to_stop(workdir: Path) -> None:
    """Asks them."""
    stop_file(workdir).touch()


def write_sweep(workdir: Path, sweep: Sweep) -> Path:
    """Stores the record."""
    return write_whole(sweep_folder(workdir) / FILE, json.dumps(asdict(sweep), indent=1) + "\n")


def read_sweep(workdir: Path) -> Sweep:
    """The record of a sweep; raises ValueError where the folder holds none."""
    path = sweep_folder(workdir) / FILE
    if not path.is_file():
        raise ValueError(
            f"--workdir={workdir} has no sweep ({path} is missing); give the --workdir of a sweep"
        )
    stored = read_json(path, "start the sweep again, which writes it")
    runs = tuple(
        Run(
            each["file"], tuple(each["settings"]), each["place"], each["data_dir"],
            tuple(Cell(a, m, int(s)) for a, m, s in each["cells"]),
            tuple((_group(group), tuple(needs)) for group, needs in each.get("groups", ())),
        )
        for each in stored.pop("runs")
    )  # fmt: skip
    return Sweep(runs, **{**stored, "submissions": tuple(stored["submissions"])})


def _group(stored: dict[str, Any]) -> Group:
    return Group(tuple(stored["methods"]), stored["architecture"], tuple(stored["seeds"]))


def submitted(sweep: Sweep, jobs: list[str]) -> Sweep:
    """The sweep with one more submission."""
    entry = {"time": time.time(), "cluster": sweep.cluster, "jobs": jobs}
    return Sweep(**{**vars(sweep), "submissions": (*sweep.submissions, entry)})

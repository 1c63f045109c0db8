"""What a sweep is made of, as its folder records it: configurations, cells, and where they were sent."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seqfinal_jax.results.run_folder import read_json, write_whole
from seqfinal_jax.results.store import Cell

FOLDER, FILE = "sweep", "sweep.json"


@dataclass(frozen=True)
class Run:
    """One configuration. file: with presets behind a colon; settings: flags --config.x=y; place: its run folder, below
    that of the sweep."""

    file: str
    settings: tuple[str, ...]
    place: str
    data_dir: str | None
    cells: tuple[Cell, ...]

    def command(self, workdir: Path, number: int, parts: int) -> list[str]:
        """The arguments of seqfinal_jax.main for worker `number` of `parts`."""
        given = [f"--config={self.file}", f"--workdir={workdir / self.place}", *self.settings]
        data = [f"--data_dir={self.data_dir}"] if self.data_dir else []
        return [*given, *data, f"--worker={number}/{parts}"]


@dataclass(frozen=True)
class Sweep:
    """A sweep. threads: of XLA's pool in every worker, which determines bits on a CPU. slurm: parameters of its jobs.

    submissions: when workers were sent and as which jobs, newest last.
    """

    runs: tuple[Run, ...]
    cluster: str
    workers: int
    threads: int
    slurm: dict[str, Any] = field(default_factory=dict)
    submissions: tuple[dict[str, Any], ...] = ()

    @property
    def num_cells(self) -> int:
        """Cells of all configurations."""
        return sum(len(run.cells) for run in self.runs)


def sweep_folder(workdir: Path) -> Path:
    """Where a sweep keeps its record, the logs of its workers and who they are."""
    return workdir / FOLDER


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
        )
        for each in stored.pop("runs")
    )  # fmt: skip
    return Sweep(runs, **{**stored, "submissions": tuple(stored["submissions"])})


def submitted(sweep: Sweep, jobs: list[str]) -> Sweep:
    """The sweep with one more submission."""
    entry = {"time": time.time(), "cluster": sweep.cluster, "jobs": jobs}
    return Sweep(**{**vars(sweep), "submissions": (*sweep.submissions, entry)})

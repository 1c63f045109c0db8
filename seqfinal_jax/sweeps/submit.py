"""Workers to where they run: processes of this machine, jobs of Slurm, tasks of Dask, or this process."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from seqfinal_jax.sweeps.record import Sweep, ask_to_stop, submitted, sweep_folder, write_sweep
from seqfinal_jax.sweeps.watch import Watch
from seqfinal_jax.sweeps.worker import Worker

FOREVER = 60 * 24 * 365  # minutes: a local worker has no limit of time
MOST_RESTARTS = 5  # of a worker that dies, in a row, without a cell done in between


def make_workers(sweep: Sweep, workdir: Path) -> list[Worker]:
    """The workers of a sweep; on this machine each has its share of the cores, or a GPU."""
    local = sweep.cluster == "local"
    cores = sorted(os.sched_getaffinity(0)) if local and hasattr(os, "sched_getaffinity") else []
    gpus = visible_gpus() if local else []
    return [
        Worker(
            number,
            tuple(tuple(run.command(workdir, f"--worker={number}/{sweep.workers}")) for run in sweep.runs),
            sweep.threads,
            str(sweep_folder(workdir) / "workers"),
            tuple(cores[number - 1 :: sweep.workers]) if 1 < sweep.workers <= len(cores) and not gpus else (),
            gpus[(number - 1) % len(gpus)] if gpus else "",
        )
        for number in range(1, sweep.workers + 1)
    ]


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; none without a driver."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip()]
    command = shutil.which("nvidia-smi")
    if command is None or os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return []
    listed = subprocess.run([command, "-L"], capture_output=True, text=True)
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return [str(number) for number in range(count)]


def executor_of(sweep: Sweep, workdir: Path) -> Any:
    """submitit's executor for the cluster of a sweep; raises ValueError where it cannot be used."""
    try:
        import submitit
    except ImportError as error:
        raise ValueError("a sweep needs submitit: pip install submitit") from error
    folder = sweep_folder(workdir) / "logs"
    if sweep.cluster == "slurm" and shutil.which("sbatch") is None:
        raise ValueError(
            "--cluster=slurm: there is no sbatch on this machine; start the sweep where Slurm is"
        )
    executor = submitit.AutoExecutor(folder=folder, cluster=sweep.cluster)
    if sweep.cluster == "slurm":
        executor.update_parameters(name="seqfinal", **sweep.slurm)
    else:
        executor.update_parameters(timeout_min=FOREVER)
    return executor


def submit(sweep: Sweep, workdir: Path, console: Console) -> int:
    """Sends the workers of a sweep; waits for those of this machine. Returns the exit status of the command."""
    if sweep.cluster == "dask":
        from seqfinal_jax.sweeps.on_dask import OnDask

        return OnDask(sweep, workdir, console).run()
    workers = make_workers(sweep, workdir)
    if sweep.cluster == "slurm":
        jobs = executor_of(sweep, workdir).map_array(Worker.__call__, workers)
        write_sweep(workdir, submitted(sweep, [job.job_id for job in jobs]))
        console.print(
            f"{len(jobs)} jobs were submitted: {jobs[0].job_id} to {jobs[-1].job_id}", highlight=False
        )
        said = f"seqfinal sweep status --workdir={workdir}"
        console.print(f"{said}   shows how far they are", highlight=False, soft_wrap=True)
        return 0
    if sweep.cluster == "debug":
        write_sweep(workdir, submitted(sweep, ["debug"]))
        return executor_of(sweep, workdir).submit(workers[0]).result()
    return Local(sweep, workdir, console, workers).run()


class Local(Watch):
    """Workers as processes of this machine; one that dies is started again."""

    def __init__(self, sweep: Sweep, workdir: Path, console: Console, workers: Sequence[Worker]) -> None:
        super().__init__(sweep, workdir, console)
        self.executor = executor_of(sweep, workdir)
        self.workers = {worker.number: worker for worker in workers}
        self.jobs: dict[int, Any] = {}
        self.restarts = dict.fromkeys(self.workers, 0)
        self.asked: set[int] = set()
        self.done = 0

    def begin(self) -> list[str]:
        """Starts all workers."""
        for number in self.workers:
            self._start(number)
        return [job.job_id for job in self.jobs.values()]

    def _start(self, number: int) -> None:
        """Starts a worker whose parent, a process of submitit, ignores Ctrl-C; the worker listens for itself."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.jobs[number] = self.executor.submit(self.workers[number])
        finally:
            signal.signal(signal.SIGINT, before)

    def ask_to_stop(self) -> None:
        """Asks every worker that says who it is; they save the state of what they fit."""
        self.asked |= stop_local_workers(self.workdir, self.asked)

    def goes_on(self, done: int, waiting: int) -> bool:
        """Starts workers again that have died while cells wait; whether any worker is left."""
        if done > self.done:
            self.done, self.restarts = done, dict.fromkeys(self.workers, 0)
        for number, job in list(self.jobs.items()):
            if not job.done():
                continue
            status = _status(job)
            del self.jobs[number]
            if status in (0, 1) or self.stopping or not waiting:
                continue
            if status == 2 or self.restarts[number] >= MOST_RESTARTS:
                self.tell(f"worker {number} ended with {status}; its log: {job.paths.stderr}")
                continue
            self.restarts[number] += 1
            self.tell(f"worker {number} ended with {status} and is started again")
            self._start(number)
        return bool(self.jobs)


def _status(job: Any) -> int:
    """The exit status of a worker that has ended; -1 where it was killed."""
    try:
        return int(job.result())
    except Exception:  # submitit has several kinds for a job without a result
        return -1


def cancel(sweep: Sweep, workdir: Path, console: Console) -> int:
    """Ends the workers of a sweep, which save the state of what they fit; returns the exit status."""
    jobs = [job for each in sweep.submissions if each["cluster"] == "slurm" for job in each["jobs"]]
    arrays = sorted({job.partition("_")[0] for job in jobs})
    if arrays:
        subprocess.run(["scancel", *arrays], check=False)
        console.print(f"cancelled: {', '.join(arrays)}", highlight=False)
    if sweep.cluster == "dask":
        ask_to_stop(workdir)
        console.print("the processes of Dask's workers were asked to stop", highlight=False)
        return 0
    stopped = stop_local_workers(workdir)
    console.print(f"{len(stopped)} local workers were asked to stop", highlight=False)
    return 0


def stop_local_workers(workdir: Path, asked: Collection[int] = ()) -> set[int]:
    """Sends SIGTERM to the workers of this machine that have not been asked yet; returns their processes."""
    stopped = set()
    for pid in local_workers(workdir):
        if pid not in asked:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                stopped.add(pid)
    return stopped


def local_workers(workdir: Path) -> list[int]:
    """The processes of the workers of this machine that live."""
    from seqfinal_jax.runs.claims import is_alive_here

    found = []
    for path in sorted((sweep_folder(workdir) / "workers").glob("worker*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            who = json.loads(path.read_text())
            if not who["job"] and is_alive_here(who):
                found.append(int(who["pid"]))
    return found

"""A worker of a sweep: runs seqfinal_jax.main for each configuration in turn, as one of several that share the cells."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqfinal_jax.config.command_line import STOP_SIGNALS, TO_BE_CONTINUED
from seqfinal_jax.results.run_folder import write_whole
from seqfinal_jax.runs.claims import process_identity


@dataclass(frozen=True)
class Worker:
    """One of several processes that do the cells of a sweep.

    commands: arguments of seqfinal_jax.main, one list for each configuration. threads: of XLA's pool. cores: those that
    it may use, empty for all. gpu: the device that it sees, empty for all. folder: where workers say who they are.
    """

    number: int
    commands: tuple[tuple[str, ...], ...]
    threads: int
    folder: str
    cores: tuple[int, ...] = ()
    gpu: str = ""

    def __call__(self) -> int:
        """Runs the commands; returns the exit status of the worst, or 75 where it was asked to stop before the end."""
        return Running(self).all()


class Running:
    """A worker while it runs: what it is asked by a signal it passes on to its child, and waits for it."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.child, self.asked = worker, None, ""

    def all(self) -> int:
        """All commands, unless it is asked to stop."""
        before = {name: self._catch(name) for name in STOP_SIGNALS if hasattr(signal, name)}
        self._say_who()
        statuses = []
        try:
            for command in self.worker.commands:
                if self.asked:
                    return self._stopped()
                statuses.append(self._run(command))
                if statuses[-1] == TO_BE_CONTINUED:
                    return self._stopped()
        finally:
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)
        return max(statuses, key=abs, default=0)

    def _catch(self, name: str) -> Any:
        return signal.signal(getattr(signal, name), self._pass_on)

    def _pass_on(self, number: int, _: object) -> None:
        self.asked = signal.Signals(number).name
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)

    def _say_who(self) -> None:
        """Who this worker is, for those who look and for `cancel`."""
        who = {**process_identity(), "job": slurm_job(), "began": time.time()}
        with contextlib.suppress(OSError):
            write_whole(Path(self.worker.folder) / f"worker{self.worker.number}.json", json.dumps(who))

    def _run(self, command: tuple[str, ...]) -> int:
        environment = {**os.environ, "PJRT_NPROC": str(self.worker.threads)}
        if self.worker.gpu:
            environment["CUDA_VISIBLE_DEVICES"] = self.worker.gpu
        arguments = [sys.executable, "-u", "-m", "seqfinal_jax.main", *command]
        self.child = subprocess.Popen(arguments, env=environment, preexec_fn=self._take_cores)
        if self.asked:  # between two looks
            self.child.send_signal(signal.SIGTERM)
        return self.child.wait()

    def _take_cores(self) -> None:
        if self.worker.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.worker.cores)

    def _stopped(self) -> int:
        print(f"{self.asked or 'a signal'}: interrupted; the state is saved", flush=True)
        if slurm_job() and is_running(slurm_job()):
            requeue(slurm_job())
        return TO_BE_CONTINUED


def slurm_job() -> str:
    """The number of the Slurm job that this process is, with its place in an array; empty where it is none."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def is_running(job: str) -> bool:
    """Whether Slurm still runs a job: one that was cancelled, or that Slurm itself preempted, is not put back by us."""
    squeue = shutil.which("squeue")
    if squeue is None:
        return False
    asked = subprocess.run([squeue, "-h", "-j", job, "-o", "%T"], capture_output=True, text=True)
    return asked.stdout.split() == ["RUNNING"]


def requeue(job: str) -> None:
    """Puts this job back into Slurm's queue, and waits for its own end."""
    for number in STOP_SIGNALS:
        signal.signal(getattr(signal, number), signal.SIG_IGN)
    print(f"job {job} goes back into the queue", flush=True)
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        print(f"WARNING: it could not be put back ({done.stderr.strip()}); `retry` does it", flush=True)
        return
    time.sleep(60)  # Slurm ends this process

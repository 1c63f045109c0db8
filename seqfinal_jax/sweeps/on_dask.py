"""A sweep on a cluster of Dask that the user has started: a group of tasks is a task of Dask and a process of ours."""

import contextlib
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from seqfinal_jax.config.command_line import TO_BE_CONTINUED
from seqfinal_jax.results.store import Cell, Store
from seqfinal_jax.sweeps.record import FILE, Run, Sweep, ask_to_stop, stop_file, sweep_folder
from seqfinal_jax.sweeps.watch import Watch

SCHEMES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")
CONNECT = 15.0  # seconds
RETRIES = 5  # of a process that is killed
PAUSE = 5.0


@dataclass(frozen=True)
class GroupProcess:
    """What a worker of Dask calls for a group of tasks.

    arguments: of seqfinal_jax.main. place: the folder in which the process starts. threads: of XLA's pool. run: the run
    folder. cells: those that need the group. since: cells that failed after this moment are not tried again. stop: a
    file that asks the process to stop. log: where its output goes. pause: seconds until a group that is locked is tried
    again.
    """

    arguments: tuple[str, ...]
    place: Path
    threads: int
    run: Path
    cells: tuple[Cell, ...]
    since: float
    stop: Path
    log: Path
    pause: float = PAUSE

    def __call__(self, *_: int) -> int:
        """Computes the group in a process of its own; returns its exit status. Arguments: those of the groups it needs.

        Raises Reschedule where another process has locked a part of it or the process was stopped, and RuntimeError
        where it ended in another way; one that is killed is started again.
        """
        from distributed import Reschedule

        for _again in range(1 + RETRIES):
            if self.stop.exists():
                return TO_BE_CONTINUED
            if all(Store(self.run).failed_since(cell, self.since) for cell in self.cells):
                return 1
            status = self._finished(self._started())
            if status in (0, 1):
                return status
            if status == TO_BE_CONTINUED and not self.stop.exists():
                time.sleep(self.pause)
                raise Reschedule
            if status > 0 and status != TO_BE_CONTINUED:
                break
        raise RuntimeError(f"a process ended with {status}; its log: {self.log}")

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-u", "-m", "seqfinal_jax.main", *self.arguments]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.place, env={**os.environ, "PJRT_NPROC": str(self.threads)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def _finished(self, process: subprocess.Popen[bytes]) -> int:
        """The exit status, waited for; a request to stop is passed on once."""
        asked = False
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(1.0)
            if self.stop.exists() and not asked:
                process.terminate()
                asked = True


def connected(scheduler: str) -> Any:
    """A client of a scheduler; raises ValueError, whose message is one sentence, where there is none."""
    if not scheduler:
        raise ValueError(
            "--cluster=dask needs --scheduler=tcp://HOST:PORT, the address that the scheduler of your cluster prints"
        )
    if not scheduler.startswith(SCHEMES):
        raise ValueError(
            f"--scheduler={scheduler}: expected tcp://HOST:PORT, the address that the scheduler prints (not that of "
            f"its dashboard)"
        )
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError('--cluster=dask needs Dask: pip install "seqfinal_jax[dask]"') from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it says of lost connections, we say
    try:
        return Client(scheduler, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--scheduler={scheduler}: no scheduler of Dask answers there ({error}); start one, and give the address "
            f"that it prints"
        ) from error


def processes_at_once(scheduler: str) -> int:
    """How many processes the workers of a scheduler run at the same time now, at least 1; raises ValueError as above."""
    with connected(scheduler) as client:
        return max(1, sum(client.nthreads().values()))


class OnDask(Watch):
    """The groups of all runs as tasks of Dask, each after those that it needs."""

    def __init__(self, sweep: Sweep, workdir: Path, console: Console) -> None:
        super().__init__(sweep, workdir, console)
        self.client, self.futures = connected(sweep.scheduler), []
        self.told: set[str] = set()

    def begin(self) -> list[str]:
        """Sends all groups that cells which are not done need."""
        stop_file(self.workdir).unlink(missing_ok=True)
        for run in self.sweep.runs:
            self._send(run)
        return [self.sweep.scheduler]

    def _send(self, run: Run) -> None:
        token, sent = secrets.token_hex(4), {}
        store = Store(self.workdir / run.place)
        for number, (group, needs) in enumerate(run.groups):
            if all((store.cell_folder(cell) / "result.json").exists() for cell in group.cells):
                continue
            seeds = ",".join(map(str, group.seeds))
            name = f"{run.place.strip('.')} {_named(group.methods)} {group.architecture} seed {seeds}"
            process = GroupProcess(
                tuple(run.command(self.workdir, f"--group={group}")), Path.cwd(), self.sweep.threads, store.workdir,
                tuple(group.cells), (sweep_folder(self.workdir) / FILE).stat().st_mtime, stop_file(self.workdir),
                sweep_folder(self.workdir) / "logs" / run.place / f"group{number}.log",
            )  # fmt: skip
            before = [sent[need] for need in needs if need in sent]
            sent[number] = self.client.submit(process, *before, key=f"{name.strip()}-{token}", pure=False)
        self.futures += sent.values()

    def ask_to_stop(self) -> None:
        """Asks the processes by a file that the workers of Dask look for."""
        ask_to_stop(self.workdir)

    def goes_on(self, done: int, waiting: int) -> bool:
        """Whether a task of Dask is left, or after a request to stop whether one is running; tells of errors."""
        if self.client.status != "running":
            self._tell_once(
                f"the scheduler at {self.sweep.scheduler} has gone; its workers save the state of what they fit. Start "
                f"another one, and give the command again with its address"
            )
            return False
        for future in [future for future in self.futures if future.done()]:
            self.futures.remove(future)
            if future.status != "finished":
                self._tell_once(_reason(future))
        return bool(self.futures) and (not self.stopping or any(self.client.processing().values()))

    def _tell_once(self, text: str) -> None:
        if text not in self.told:
            self.tell(text)
        self.told.add(text)


def _reason(future: Any) -> str:
    """Why a task of Dask has no result."""
    return str(future.exception() if future.status == "error" else future.status)


def _named(methods: Sequence[str]) -> str:
    """What the dashboard calls the methods of a group."""
    return methods[0] if len(methods) == 1 else f"{methods[0]} and {len(methods) - 1} more"

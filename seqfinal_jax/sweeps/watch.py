"""Waits for the processes of a sweep, and shows how far they are."""

import contextlib
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path

from rich.console import Console
from rich.live import Live

from seqfinal_jax.config.command_line import TO_BE_CONTINUED
from seqfinal_jax.sweeps.record import Sweep, submitted, write_sweep
from seqfinal_jax.sweeps.status import Progress, left, progress, status_line, status_table

EVERY = 30.0  # seconds between lines where there is no terminal


class Watch(ABC):
    """Starts the processes of a sweep and waits until the last one has ended. Subclasses say how."""

    def __init__(self, sweep: Sweep, workdir: Path, console: Console) -> None:
        self.sweep, self.workdir, self.console = sweep, workdir, console
        self.stopping, self.said = False, 0.0

    @abstractmethod
    def begin(self) -> list[str]:
        """Starts what there is to do; returns the names of the jobs."""

    @abstractmethod
    def goes_on(self, done: int, waiting: int) -> bool:
        """Whether anything still runs, when so many cells are done and so many wait."""

    @abstractmethod
    def ask_to_stop(self) -> None:
        """Asks every process to save the state of what it fits and to end; it may be called several times."""

    def run(self) -> int:
        """Starts everything and waits; returns 75 after a signal, 1 where cells failed or are left, else 0."""
        before = {each: signal.signal(each, self._stop) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.sweep = submitted(self.sweep, self.begin())
            write_sweep(self.workdir, self.sweep)
            found = self._watch()
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
        if self.stopping:
            self.tell("interrupted; the state is saved. Run the same command to resume")
            return TO_BE_CONTINUED
        return 1 if left(found) or any(each.failed for each in found) else 0

    def _stop(self, number: int, _: object) -> None:
        self.stopping = True

    def _watch(self) -> list[Progress]:
        live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        with live or contextlib.nullcontext():
            while True:
                found = progress(self.sweep, self.workdir)
                self._show(found, live)
                if self.stopping:
                    self.ask_to_stop()
                if not self.goes_on(sum(each.done for each in found), left(found)):
                    return progress(self.sweep, self.workdir)
                time.sleep(0.5)

    def _show(self, found: list[Progress], live: Live | None) -> None:
        if live:
            live.update(status_table(self.sweep, found), refresh=True)
        elif time.monotonic() - self.said > EVERY:
            self.said = time.monotonic()
            self.tell(status_line(self.sweep, found))

    def tell(self, text: str) -> None:
        """Prints a line."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

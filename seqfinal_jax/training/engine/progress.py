"""Progress of trainings with an estimate of the time left: a rich bar on a terminal, plain lines elsewhere."""

import contextlib
import logging
import time
from typing import Any

from seqfinal_jax.training.engine.compile_clock import compile_seconds
from seqfinal_jax.training.engine.members import Chunk, MemberSpec

log = logging.getLogger(__name__)


class FitProgress:
    """Counts epochs of members. The total is an upper bound (early stopping), so is the time left.

    The clock of the estimate starts at the end of the first epoch, which leaves compilation out; before the second
    there is no estimate.
    """

    def __init__(self, title: str, members: int, max_epochs: int, console: Any, every: float = 10.0) -> None:
        self.title, self.members, self.max_epochs, self.console, self.every = (
            title, members, max_epochs, console, every,
        )  # fmt: skip
        self.began, self.compiled = time.monotonic(), compile_seconds()
        self.first: tuple[float, int] | None = None
        self.said, self.lines, self.best = self.began, 0, 0.0
        self.epochs_of: dict[int, int] = {}

    def __call__(self, chunk: Chunk, specs: list[MemberSpec]) -> None:
        """Takes the state after an epoch of a chunk."""
        for place, row in enumerate(chunk.rows):
            if row >= 0:
                self.epochs_of[int(row)] = chunk.epoch if chunk.track.active[place] else self.max_epochs
        now, done = time.monotonic(), sum(self.epochs_of.values())
        self.best = max(self.best, float(chunk.track.best_accuracy.max()))
        if self.first is None:
            self.first, self.said = (now, done), now
            compiling = compile_seconds() - self.compiled
            self.say(f"the first epoch took {now - self.began:.1f} s, {compiling:.1f} s of it for compiling")
        elif now - self.said >= self.every:
            self.said, self.lines = now, self.lines + 1
            self.say(self.line(chunk, now, done))

    def line(self, chunk: Chunk, now: float, done: int) -> str:
        """Trainings, epoch, accuracy and an upper bound of the time left."""
        began, before = self.first
        stopped = sum(epochs == self.max_epochs for epochs in self.epochs_of.values())
        running, whose = (
            ("the next one is", "its") if len(chunk.rows) == 1 else ("those running are", "their")
        )
        said = (
            f"{stopped} of {self.members} trainings done; {running} at epoch {chunk.epoch}, {whose} best validation "
            f"accuracy is {100 * float(chunk.track.best_accuracy.max()):.1f} %"
        )
        left = self.members * self.max_epochs - done
        return (
            f"{said}; at most {duration((now - began) / (done - before) * left)} left"
            if done > before
            else said
        )

    def finished(self) -> None:
        """Reports that all trainings are done, if their progress was shown; counts those of an earlier run too."""
        self.epochs_of = dict.fromkeys(range(self.members), self.max_epochs)
        best = f"; the best validation accuracy is {100 * self.best:.1f} %" if self.first else ""
        said = f"{self.members} of {self.members} trainings done in {duration(time.monotonic() - self.began)}{best}"
        if self.lines or self.every < 1:
            with contextlib.suppress(OSError):  # results are not stored yet
                self.say(said)

    def close(self) -> None:
        """Nothing to do for plain lines."""

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(f"{self.title}: {text}", highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A time span for people: 40 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def fit_progress(title: str, members: int, max_epochs: int, console: Any) -> FitProgress:
    """A reporter for `fit`: live on a terminal, plain lines elsewhere."""
    if console.is_terminal:
        return TerminalProgress(title, members, max_epochs, console)
    return FitProgress(title, members, max_epochs, console)


class TerminalProgress(FitProgress):
    """The same on a terminal, where rich updates the line in place."""

    def __init__(self, title: str, members: int, max_epochs: int, console: Any) -> None:
        super().__init__(title, members, max_epochs, console, every=0.2)
        from rich.progress import BarColumn, Progress, TextColumn

        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), console=console
        )
        self.task = self.bar.add_task(title, total=members * max_epochs, text="compiling")
        self.bar.start()

    def say(self, text: str) -> None:
        """Updates the bar."""
        done = sum(self.epochs_of.values())
        self.bar.update(self.task, completed=done, text=text)

    def close(self) -> None:
        """Leaves the last line standing; also when the fit was resumed or ended by an error."""
        self.bar.stop()

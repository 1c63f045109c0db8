"""Progress of a fit: plain lines, and a bar on a terminal."""

import io
import itertools
from types import SimpleNamespace

import pytest
from rich.console import Console

from seqfinal_jax.runs import execute
from seqfinal_jax.training.engine import progress
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.progress import FitProgress, TerminalProgress, duration, fit_progress
from tests.training.tiny import grid, settings, tiny_problem


def test_plain_lines_say_members_epochs_and_the_time_left():
    console = Console(file=io.StringIO(), width=200)
    reporter = fit_progress("final", 8, 3, console)
    assert type(reporter) is FitProgress
    reporter.every = 0
    fit(tiny_problem(), grid((0,)), settings(3, patience=9), reporter)
    lines = console.file.getvalue().splitlines()
    assert lines[0].endswith("s of it for compiling")
    assert (
        "final: 8 of 8 trainings done; the next one is at epoch 3, its best validation accuracy is"
        in lines[-1]
    )
    assert lines[-1].endswith("at most 0 s left")


def test_a_slow_first_epoch_promises_nothing(monkeypatch):
    """With one epoch there is no pace: an earlier version said "at most 0 s left" after a first epoch of over 10 s."""
    console = Console(file=io.StringIO(), width=200)
    seconds = itertools.count(step=20.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    reporter = FitProgress("final", 2, 3, console)
    epochs = []
    fit(
        tiny_problem(),
        grid((0,))[:2],
        settings(3, patience=9),
        lambda *state: epochs.append(reporter(*state)),
    )
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith("final: the first epoch took 20.0 s") and "left" not in lines[0]
    # the second epoch came 20 s after the first, and four of six are left
    assert lines[1].endswith("at most 80 s left") and len(lines) == len(epochs) == 6


@pytest.mark.parametrize("terminal", [False, True])
def test_the_last_line_says_that_all_are_done(terminal):
    """Also of trainings that an earlier run finished, of which no epoch is told."""
    console = Console(file=io.StringIO(), width=200, force_terminal=terminal)
    reporter = fit_progress("final", 8, 3, console)
    reporter.lines = 1
    fit(tiny_problem(), grid((0,)), settings(3, patience=9), reporter)
    reporter.finished()
    reporter.close()
    assert "8 of 8 trainings done in " in "".join(console.file.getvalue().splitlines()[-2:])
    resumed = fit_progress("final", 12, 3, console)
    resumed.finished()
    resumed.close()
    assert not terminal or "12 of 12 trainings done in 0 s" in console.file.getvalue()


def test_the_pace_of_a_run_leaves_compiling_out(monkeypatch):
    """100 s for a tenth of the operations, 90 of them for compiling: the other nine tenths take 90 s."""
    now, compiled = [0.0], [0.0]
    monkeypatch.setattr(execute, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(execute, "compile_seconds", lambda: compiled[0])
    pace = execute.Pace(1000.0)
    now[0], compiled[0] = 100.0, 90.0
    assert pace.seconds_left(900.0) == pytest.approx(90.0)


def test_a_terminal_gets_a_bar_that_ends():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    reporter = fit_progress("final", 8, 2, console)
    assert isinstance(reporter, TerminalProgress)
    fit(tiny_problem(), grid((0,)), settings(2), reporter)
    reporter.close()
    assert "final" in console.file.getvalue()
    assert reporter.bar.finished or not reporter.bar.live.is_started


def test_time_spans_for_people():
    assert [duration(s) for s in (40, 600, 7200)] == ["40 s", "10 min", "2.0 h"]

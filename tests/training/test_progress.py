"""Progress of a fit: plain lines, and a bar on a terminal."""

import io

from rich.console import Console

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
    assert "of which compiling took" in lines[0]
    assert "final: 8 of 8 trainings done; epoch 3, best validation accuracy" in lines[-1]
    assert lines[-1].endswith("at most 0 s left")


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

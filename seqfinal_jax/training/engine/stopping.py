"""Interrupts a run so that it can be resumed: the running epoch is finished and its state is saved.

A signal comes at any moment. While a fit runs, it only leaves a wish here, which the fit looks up after every epoch.
"""

import contextlib
import threading
from collections.abc import Iterator


class Stopped(BaseException):
    """The run was interrupted and can be resumed; its state is saved. Not an Exception: only the command catches it."""


_asked = threading.Event()
_fits = 0


@contextlib.contextmanager
def fitting() -> Iterator[None]:
    """While this lasts, a stop waits for the end of an epoch."""
    global _fits
    _fits += 1
    try:
        yield
    finally:
        _fits -= 1


def ask_to_stop(at_once: bool = False) -> None:
    """Asks the running fit to stop after its epoch; raises Stopped where none runs, or where it must be at once."""
    if _fits == 0 or at_once:
        raise Stopped
    _asked.set()


def is_asked() -> bool:
    """Whether the run is to stop after this epoch."""
    return _asked.is_set()

"""How a fitter asks whether a stage is free: one process at a time fits a stage of a seed."""

import contextlib
from collections.abc import Sequence
from typing import Protocol


class Busy(Exception):
    """Another process is at work on what was asked for."""


class StageClaims(Protocol):
    """Claims on stages; `hold` raises Busy where another process holds one of them."""

    def hold(self, names: Sequence[str], what: str = "") -> contextlib.AbstractContextManager[None]:
        """Holds all of these claims, or none."""
        ...


class NoClaims:
    """For a process that has its folder to itself."""

    def hold(self, names: Sequence[str], what: str = "") -> contextlib.AbstractContextManager[None]:
        """Nothing to hold."""
        return contextlib.nullcontext()

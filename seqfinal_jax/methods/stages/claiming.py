"""The interface for locks on stages: one process at a time trains a stage of a seed."""

import contextlib
from collections.abc import Sequence
from typing import Protocol


class Busy(Exception):
    """Another process has locked a stage and works on it."""


class StageClaims(Protocol):
    """Locks on stages; `hold` raises Busy where another process has locked one of them."""

    def hold(self, names: Sequence[str], what: str = "") -> contextlib.AbstractContextManager[None]:
        """Takes all of these locks, or none."""
        ...


class NoClaims:
    """No locks, for a process that has its folder to itself."""

    def hold(self, names: Sequence[str], what: str = "") -> contextlib.AbstractContextManager[None]:
        """Does nothing."""
        return contextlib.nullcontext()

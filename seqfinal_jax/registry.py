"""One small registry for data sets, shifts, architectures and methods."""

import difflib
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def nearest(name: str, known: list[str]) -> str:
    """A sentence tail that names the closest known name, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    choices = ", ".join(known)
    return f"did you mean {close[0]!r}? (known: {choices})" if close else f"known: {choices}"


class Registry(Generic[T]):
    """Names to things of one kind, with errors that name the nearest match."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Registers `entry`; raises ValueError when the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """The entry of that name; raises ValueError that names the nearest known one."""
        if name not in self._entries:
            raise ValueError(f"unknown {self.kind} {name!r}; {nearest(name, list(self._entries))}")
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

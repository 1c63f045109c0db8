"""One small registry for data sets, shifts, networks, methods and figures."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

T = TypeVar("T")


def nearest(name: str, known: list[str]) -> str:
    """The end of a sentence that suggests the closest known name, or lists all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    choices = ", ".join(known)
    return f"did you mean {close[0]!r}? (known: {choices})" if close else f"known: {choices}"


def resolved(kind: str, name: str, names: Mapping[str, Collection[str]]) -> str:
    """The id that a name stands for: the id itself or one of its aliases, in upper or lower case.

    names: the aliases of every id. Raises ValueError for a name that several ids have, and for an unknown name, with the
    nearest one.
    """
    if name in names:
        return name
    folded = name.casefold()
    for matches in (lambda known: known == name, lambda known: known.casefold() == folded):
        found = [each for each, others in names.items() if any(map(matches, (each, *others)))]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{kind} {name!r} stands for several: {', '.join(found)}; give one of these")
    places = {known.casefold(): known for each, others in names.items() for known in (each, *others)}
    close = difflib.get_close_matches(folded, list(places), n=1, cutoff=0.5)
    if close:
        raise ValueError(
            f"unknown {kind} {name!r}; did you mean {places[close[0]]!r}? (known: {', '.join(names)})"
        )
    raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(names)}")


class Registry(Generic[T]):
    """A mapping from names to entries of one kind, whose errors suggest the nearest match."""

    every: ClassVar[list["Registry[Any]"]] = []

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        self._origins: dict[str, str | None] = {}
        Registry.every.append(self)

    def add(self, name: str, entry: T, aliases: Iterable[str] = (), origin: str | None = None) -> T:
        """Registers `entry` under its name and any aliases.

        `origin` is the user's file that it comes from, None for this package's own; a file that is loaded again
        replaces its entries. Raises ValueError when a name is taken.
        """
        if origin and self._origins.get(name) == origin:
            self._remove(name)
        for each in (name, *aliases):
            if each in self:
                where = self._origins[self.named(each)] or "this package"
                raise ValueError(
                    f"{self.kind} {each!r} is registered twice: it is in {where} already; choose another name"
                )
        self._entries[name] = entry
        self._origins[name] = origin
        self._aliases.update(dict.fromkeys(aliases, name))
        return entry

    def named(self, name: str) -> str:
        """The name that an alias stands for; any other name is returned unchanged."""
        return self._aliases.get(name, name)

    def get(self, name: str) -> T:
        """The entry with this name or alias; raises ValueError, which suggests the nearest known one."""
        found = self.named(name)
        if found not in self._entries:
            raise ValueError(f"unknown {self.kind} {name!r}; {nearest(name, list(self._entries))}")
        return self._entries[found]

    def origin(self, name: str) -> str | None:
        """The user's file that registered an entry; None for this package's own."""
        return self._origins[self.named(name)]

    def forget(self, origin: str) -> None:
        """Removes everything that a user's file has registered."""
        for name in [name for name, source in self._origins.items() if source == origin]:
            self._remove(name)

    def _remove(self, name: str) -> None:
        del self._entries[name], self._origins[name]
        self._aliases = {alias: known for alias, known in self._aliases.items() if known != name}

    def __contains__(self, name: str) -> bool:
        return name in self._entries or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

"""The seeds on which methods are compared: those that all of them have, so that no mean rests on easier draws."""

from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)  # a seed, or an architecture and a seed


def shared_seeds(
    have: Mapping[str, Collection[Key]], groups: Collection[Collection[str]] = ()
) -> tuple[list[str], list[Key]]:
    """The methods that are compared, and the seeds that all of them have, in order.

    Of all choices of seeds, the one whose methods have the most cells on them, and of those the one with more methods. So
    a seed that only some methods have is not used, and a method that has few of the seeds is left out.

    Args:
        have: the seeds of each method.
        groups: of each of these groups of methods one must be among those compared.

    Returns:
        Methods in their order and sorted seeds; both empty where no choice of seeds has a method of every group.
    """
    best: tuple[list[str], frozenset[Key]] = [], frozenset()
    for seeds in _candidates({name: frozenset(own) for name, own in have.items()}):
        methods = [name for name, own in have.items() if seeds <= frozenset(own)]
        if not all(any(name in methods for name in group) for group in groups):
            continue
        if (len(methods) * len(seeds), len(methods)) > (len(best[0]) * len(best[1]), len(best[0])):
            best = methods, seeds
    return best[0], sorted(best[1])


def _candidates(have: Mapping[str, frozenset[Key]]) -> list[frozenset[Key]]:
    """The seeds of each method, and those of the first, first two, first three, ... by number of seeds."""
    found: list[frozenset[Key]] = list(have.values())
    together: frozenset[Key] | None = None
    for own in sorted(have.values(), key=len, reverse=True):
        together = own if together is None else together & own
        found.append(together)
    return [seeds for seeds in dict.fromkeys(found) if seeds]

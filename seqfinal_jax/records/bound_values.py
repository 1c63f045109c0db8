"""What a user's function or class has besides its source text: values of the function that it was made in.

Two functions that one factory makes have the same name and the same text. They differ in these values alone, so the
values belong to their identity.
"""

import contextlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from seqfinal_jax.records.code_identity import is_outside

LOCAL, LAMBDA = "<locals>", "<lambda>"


def bound_values(thing: Any) -> dict[str, Any]:
    """By name, the values that a user's function or class holds of its surroundings; none of what a module defines.

    Of a function these are the values of its closure and, inside another function, its defaults; of a class inside a
    function those of its methods, and its attributes. Modules are left out. Raises ValueError for a lambda, whose name
    does not distinguish it from another one.
    """
    found: dict[str, Any] = {}
    if isinstance(thing, type):
        found |= _attributes(thing) if LOCAL in thing.__qualname__ else {}
    for function in _functions(thing):
        if function.__name__ == LAMBDA:
            raise ValueError(
                f"the lambda of {function.__code__.co_filename}, line {function.__code__.co_firstlineno}, has no name "
                f"that would distinguish it from another lambda; give it one with def"
            )
        found |= _closure(function) | (_defaults(function) if LOCAL in function.__qualname__ else {})
    return {name: value for name, value in found.items() if not isinstance(value, ModuleType)}


def _functions(thing: Any) -> Iterator[FunctionType]:
    """The user's functions of a thing: with those that it wraps, or the methods of a class inside a function."""
    if isinstance(thing, type):
        methods = vars(thing).values() if LOCAL in thing.__qualname__ else ()
        for method in methods:
            yield from _functions(getattr(method, "__func__", None) or getattr(method, "fget", method))
        return
    while thing is not None:
        if isinstance(thing, FunctionType) and _is_users(thing):
            yield thing
        thing = getattr(thing, "__wrapped__", None)


def _is_users(function: FunctionType) -> bool:
    place = Path(function.__code__.co_filename)
    if place.exists():
        return is_outside(place.resolve())
    return function.__module__ == "__main__" and function.__code__.co_filename != "<string>"


def _closure(function: FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # nothing is bound yet
            if name != "__class__" and cell.cell_contents is not function:
                found[name] = cell.cell_contents
    return found


def _defaults(function: FunctionType) -> dict[str, Any]:
    parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _attributes(kind: type) -> dict[str, Any]:
    """The plain values and classes that a class names."""
    plain = (bool, int, float, str, tuple, type)
    return {
        name: value
        for name, value in vars(kind).items()
        if isinstance(value, plain) and not (name.startswith("__") and name.endswith("__"))
    }

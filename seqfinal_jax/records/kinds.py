"""What a field of the configuration is: its default, its meaning, and the kind of values that it may have."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin

from seqfinal_jax.records.registry import nearest


@dataclass(frozen=True)
class Kind:
    """A kind of value. expected: the allowed values, for messages and documentation. wrong: why a value is not allowed,
    as the end of a sentence, or None."""

    expected: str
    wrong: Callable[[Any], str | None]

    def check(self, field: str, value: Any) -> None:
        """Raises ValueError that names the field, what was expected and what was found."""
        why = self.wrong(value)
        if why:
            raise ValueError(f"config.{field}: expected {self.expected}, found {why}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def whole(least: int = 0, most: int | None = None) -> Kind:
    """A whole number in a range that includes both ends."""
    words = f"a whole number from {least}" + (" on" if most is None else f" to {most}")
    fits = lambda v: _is_whole(v) and v >= least and (most is None or v <= most)  # noqa: E731
    return Kind(words, lambda v: None if fits(v) else repr(v))


def real(
    least: float = 0.0, below: float = math.inf, above: float | None = None, most: float = math.inf
) -> Kind:
    """A number from `least` on (or above `above`), and below `below` (or at most `most`)."""
    start = f"from {least:g} on" if above is None else f"above {above:g}"
    end = "" if math.isinf(below) else f" and below {below:g}"
    words = f"a number {start}{end}" + ("" if math.isinf(most) else f", {most:g} at most")

    def fits(v: Any) -> bool:
        return _is_number(v) and (v >= least if above is None else v > above) and v < below and v <= most

    return Kind(words, lambda v: None if fits(v) else repr(v))


def flag() -> Kind:
    """True or False."""
    return Kind("True or False", lambda v: None if isinstance(v, bool) else repr(v))


def text(words: str = "a string") -> Kind:
    """Any string."""
    return Kind(words, lambda v: None if isinstance(v, str) else repr(v))


def choice(known: Sequence[str]) -> Kind:
    """One of these strings."""
    names = tuple(known)

    def wrong(v: Any) -> str | None:
        return None if v in names else f"{v!r}; {nearest(str(v), list(names))}"

    return Kind(" or ".join(name or "empty" for name in names), wrong)


def several(each: Kind, least: int = 0, distinct: bool = False) -> Kind:
    """A tuple or list of one kind, with at least so many elements."""
    words = f"{'one or more' if least else 'any number'} of: {each.expected}" + (
        ", each once" if distinct else ""
    )

    def wrong(values: Any) -> str | None:
        if not isinstance(values, (tuple, list)):
            return repr(values)
        if len(values) < least:
            return "none"
        bad = next((why for v in values if (why := each.wrong(v))), None)
        if bad is None and distinct and len(set(values)) < len(values):
            return f"{tuple(values)!r}, which repeats a value"
        return bad

    return Kind(words, wrong)


def of_type(declared: Any) -> Kind:
    """The kind that follows from a type: the names of a Literal, True or False, a string, or any number."""
    if get_origin(declared) is Literal:
        return choice(get_args(declared))
    known = {
        bool: flag(),
        str: text(),
        int: Kind("a whole number", lambda v: None if _is_whole(v) else repr(v)),
        float: Kind("a number", lambda v: None if _is_number(v) else repr(v)),
    }
    if declared not in known:
        raise TypeError(f"a field must be a number, a string or a tuple of them, found {declared.__name__}")
    return known[declared]


def like(default: Any) -> Kind:
    """The kind that follows from a default value: its type, or a tuple of its elements' type."""
    if isinstance(default, (tuple, list)) and default:
        return several(like(default[0]), least=1)
    return of_type(type(default))


def one(
    default: Any, meaning: str, kind: Kind | None = None, everywhere: bool = False, unset: bool = False
) -> Any:
    """A field of a section of the configuration, as a field of a dataclass; its kind follows from its type by default.

    meaning: one sentence. everywhere: it belongs to the run as a whole, or may be set where nothing reads it; any other
    field that is set must change some result. unset: a configuration file can tell whether it was set; the default is
    what it becomes where it is not.
    """
    facts = {"meaning": meaning, "kind": kind, "everywhere": everywhere, "unset": unset}
    return field(default=default, metadata=facts)

"""How methods, architectures and numbers are called and ordered in every table and figure."""

import contextlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from seqfinal_jax.methods.method import in_table_order, other_names
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.records.registry import resolved

MISSING = "–"
REFERENCE = "reference"  # the family of the final step alone and the oracle
FAILED = "X"


@dataclass(frozen=True)
class MethodLabel:
    """How a method is called: its column in tables, its legend in figures, and the family it is shown with."""

    id: str
    column: str
    legend: str
    family: str
    comparable: bool = True


_read: dict[str, MethodLabel] = {}


def remember_label(method: str, label: Mapping[str, Any]) -> None:
    """Keeps what a result says of how its method is called, for methods whose file is not loaded."""
    _read[method] = MethodLabel(
        method, label["column"], label["legend"], label["family"], bool(label.get("comparable", True))
    )


def method_name(method: str) -> MethodLabel:
    """A method's column, legend and family.

    Methods of users are called as the results say that were read, whatever their files say now. An id that neither the
    records nor the results know stands for itself.
    """
    if method not in METHODS:
        return _read.get(method, MethodLabel(method, method, method, "other"))
    if method in _read and METHODS.origin(method):
        return _read[method]
    record = METHODS.get(method)
    return MethodLabel(record.id, record.column, record.legend, record.family, record.comparable)


def method_called(name: str, methods: Iterable[str]) -> str:
    """The one of these methods that a name stands for, whatever its case: id, alias, column or legend.

    A column or legend of several methods stands for the one that has no options. Raises ValueError for an unknown name.
    """
    names: dict[str, tuple[str, ...]] = {}
    for method in in_order(methods):
        shown = method_name(method)
        names[method] = other_names(method) if method in METHODS else (shown.column, shown.legend)
    registered = {method: others for method, others in names.items() if method in METHODS}
    with contextlib.suppress(ValueError):
        return name if name in names else resolved("method", name, registered)
    return resolved("method", name, names)


def reference_method(methods: Iterable[str], comparable: bool) -> str | None:
    """The first reference among methods: the final step alone, or (not comparable) the oracle; None where it lacks."""
    names = map(method_name, in_order(methods))
    return next((n.id for n in names if n.family == REFERENCE and n.comparable == comparable), None)


def limit_methods() -> dict[str, str]:
    """The methods that the joint model comes to as its adjacent penalty grows "weak" or "strong", with that word."""
    return {name: METHODS.get(name).limit for name in METHODS if METHODS.get(name).limit}


def method_order(method: str) -> tuple[int, str]:
    """Sorts methods as in the published table, unknown ones behind it by name."""
    known = in_table_order(METHODS)
    return (known.index(method), "") if method in known else (len(known), method)


def architecture_order(architecture: str) -> tuple[tuple[str, int], ...]:
    """Sorts architectures by name, numbers in them by value: convnet-2 before convnet-10."""
    parts = re.findall(r"(\D*)(\d*)", architecture)
    return tuple((text, int(number or 0)) for text, number in parts if text or number)


def in_order(methods: Iterable[str]) -> list[str]:
    """Methods once each, in the order of the table."""
    return sorted(set(methods), key=method_order)


def architectures_in_order(architectures: Iterable[str]) -> list[str]:
    """Architectures once each, in order."""
    return sorted(set(architectures), key=architecture_order)


def number(value: Any) -> str:
    """A number as short text, a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    return f"{value:g}" if isinstance(value, float) else str(value)


def percent(fraction: float) -> str:
    """A fraction in per cent with one decimal, a dash where there is none."""
    return MISSING if math.isnan(fraction) else f"{100 * fraction:.1f}"


def listed(values: Iterable[Any]) -> str:
    """Values with commas between."""
    return ", ".join(str(value) for value in values)

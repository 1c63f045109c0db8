"""Values of fields by dotted names, also as Python code gives them: a number in place of a list, ranges, arrays."""

from collections.abc import Iterable
from typing import Any

import numpy as np


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries to dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves.update(flat(value, f"{prefix}{name}.") if hasattr(value, "items") else {prefix + name: value})
    return leaves


def set_field(config: Any, name: str, value: Any) -> None:
    """Sets a field of a configuration, given by its dotted name.

    A field with several values takes any iterable, or a single value. Raises ValueError for a field that does not exist,
    and for a value of another type.
    """
    *path, last = name.split(".")
    node = config
    for part in path:
        node = node.get(part, {})
    if last not in node:
        raise ValueError(f"the configuration has no field {name!r}; docs/options.md lists all fields")
    try:
        node[last] = _like(node[last], value)
    except TypeError:
        raise ValueError(f"config.{name}: expected a value such as {node[last]!r}, found {value!r}") from None


def _like(present: Any, value: Any) -> Any:
    """A value in the form of the one that is there."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if not isinstance(present, (tuple, list)):
        return value
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (value,)
    return tuple(item.item() if isinstance(item, np.generic) else item for item in value)

"""The tables of methods and fields in the documentation, made from the records.

Command   python -m seqfinal_jax.config.pages FILE ...

Writes every table between its marks in these Markdown files: `<!-- methods -->` or `<!-- fields -->`, and `<!-- end -->`.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seqfinal_jax.config.schema import ConfigField, all_fields
from seqfinal_jax.methods.method import in_table_order
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.models.families.architectures import FAMILIES


def method_table() -> str:
    """One row per method: id, column of the table, whether it is in the published row, and its summary."""
    rows = [METHODS.get(name) for name in in_table_order(METHODS)]
    lines = [
        f"| `{each.id}` | {each.column} | {'yes' if each.published else ''} | {each.summary.rstrip('.')} |"
        for each in rows
    ]
    return "\n".join(["| id | column | in the row | is |", "|---|---|---|---|", *lines])


def field_table() -> str:
    """One row per field, with its allowed values and the methods that read it."""
    lines = [
        f"| `{each.name}` | {default_text(each.default)} | {each.meaning} | {each.kind.expected} | {readers(each)} |"
        for each in all_fields()
    ]
    head = "| field of `config` | default | is | may be | read by |"
    return "\n".join([head, "|---|---|---|---|---|", *lines])


def readers(field: ConfigField) -> str:
    """The methods or networks whose records read a field; empty for a field that every run reads."""
    if field.size:
        return ", ".join(name for name in FAMILIES if field.size in FAMILIES.get(name).reads)
    if field.section in METHODS:
        return f"`{field.section}`"
    if not field.option:
        return ""
    return ", ".join(f"`{name}`" for name in METHODS if field.option in METHODS.get(name).options)


def default_text(value: Any) -> str:
    """A default as a short string."""
    if isinstance(value, (tuple, list)):
        return ", ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value) or "empty"
    return "empty" if value == "" else f"{value:g}" if isinstance(value, float) else str(value)


TABLES: dict[str, Callable[[], str]] = {"methods": method_table, "fields": field_table}


def with_tables(text: str) -> str:
    """A page with its tables written again."""

    def made(match: re.Match) -> str:
        return f"<!-- {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- (methods|fields) -->\n.*?<!-- end -->", made, text, flags=re.S)


def main(arguments: Sequence[str]) -> int:
    """Writes the tables of these files."""
    for name in arguments:
        path = Path(name)
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

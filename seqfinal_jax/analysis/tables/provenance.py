"""What the cells of a table say of how they were made, where a reader should know it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqfinal_jax.analysis.tables.labels import listed

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Commands:
    """How runs were called. files: configuration files with presets; settings: name=value of the fields set besides."""

    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def changed(self) -> str:
        """The settings as text, empty where there are none."""
        return listed(self.settings)

    @property
    def source(self) -> str:
        """A sentence that names the files, and what was set besides."""
        if not self.files:
            return "The configuration file was not recorded."
        besides = f"; set besides: {self.changed}" if self.settings else ""
        return f"Configuration file: {listed(self.files)}{besides}."


SHOWN_BY_TABLES = ("methods", "architectures", "seeds", "plugins")


def commands_of(environments: Sequence[Record]) -> Commands:
    """How runs were called, from what their environment.json recorded."""
    commands = [environment.get("command") or {} for environment in environments]
    settings = [
        f"{name}={_setting(value)}"
        for command in commands
        for name, value in command.get("set", {}).items()
        if name not in SHOWN_BY_TABLES
    ]
    files = [command["config"] for command in commands if command.get("config")]
    return Commands(tuple(dict.fromkeys(files)), tuple(dict.fromkeys(settings)))


def _setting(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def machine_lines(records: Sequence[Record]) -> list[str]:
    """A caption where cells were made on several kinds of machine or with several versions: bits may differ."""
    kinds = [json.dumps(record["machine"], sort_keys=True) for record in records if "machine" in record]
    counts = Counter(kinds)
    if len(counts) < 2:
        return []
    machines = [_flat(json.loads(text)) for text in counts]
    names = [name for name in machines[0] if len({str(each.get(name)) for each in machines}) > 1]
    parts = [
        f"{number} cells with {listed(f'{name} {each.get(name)}' for name in names)}"
        for each, number in zip(machines, counts.values(), strict=True)
    ]
    return [f"cells come from {len(counts)} environments: {'; '.join(parts)}"]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _flat(value, f"{name} ") if isinstance(value, Mapping) else {prefix + name: value}
    return leaves


def note_lines(records: Sequence[Record]) -> list[str]:
    """A caption for every remark on the data, with the seeds that it concerns."""
    seeds: dict[str, set[int]] = {}
    for record in records:
        for note in record.get("notes", ()):
            seeds.setdefault(note, set()).add(record["seed"])
    return [f"data: {note} (seeds {listed(sorted(found))})" for note, found in seeds.items()]

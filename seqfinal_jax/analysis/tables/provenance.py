"""What the cells of a table say of how they were made, where a reader should know it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from seqfinal_jax.analysis.tables.labels import listed

Record = Mapping[str, Any]


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

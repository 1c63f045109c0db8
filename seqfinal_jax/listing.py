"""What exists: methods, networks, data, optimisers, augmentations, fields and more, one line each.

Command   seqfinal list [KIND] [--plugins=FILE,...]
Kinds     methods, networks, shifts, data, optimisers, augmentations, metrics, configs, fields, presets
"""

from collections.abc import Callable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from seqfinal_jax.config.command_line import FlagParser

WIDE = 10_000  # columns of what is not a terminal: one line per entry, for other programs
Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]


def _methods() -> Rows:
    from seqfinal_jax.methods.recipes import METHODS

    found = [METHODS.get(name) for name in METHODS]
    rows = [(each.id, each.family, each.summary.rstrip(".")) for each in found]
    return ("method", "family", "what it does"), rows


def _networks() -> Rows:
    from seqfinal_jax.models.families.architectures import FAMILIES

    rows = []
    for name in FAMILIES:
        family = FAMILIES.get(name)
        names = f"{name}-{family.blocks[0]} to {name}-{family.blocks[-1]}"
        sizes = ", ".join(f"network.{size}" for size in family.reads)
        rows.append((names if len(family.blocks) > 1 else f"{name}-{family.blocks[0]}", family.title, sizes))
    return ("network", "family", "sizes that can be set"), rows


def _shifts() -> Rows:
    from seqfinal_jax.data.shifts import SHIFTS

    found = [SHIFTS.get(name) for name in SHIFTS]
    rows = [(each.name, each.summary or _first_line(each.apply), ", ".join(each.needs)) for each in found]
    return ("shift", "what it does", "needs"), rows


def _data() -> Rows:
    from seqfinal_jax.data.base.sources import DATASETS
    from seqfinal_jax.data.sequences.source import SEQUENCES

    rows = [
        (name, "images that shifts make a sequence of", _first_line(DATASETS.get(name))) for name in DATASETS
    ]
    rows += [
        (name, "images that came with their time", _first_line(SEQUENCES.get(name))) for name in SEQUENCES
    ]
    return ("config.data.dataset", "kind", "what it is"), rows


def _optimisers() -> Rows:
    from seqfinal_jax.training.engine.optimisers import OPTIMISERS

    found = [OPTIMISERS.get(name) for name in OPTIMISERS]
    rows = [
        (each.id, _first_line(each.transformation), ", ".join(f"{each.id}.{name}" for name, _ in each.axes))
        for each in found
    ]
    return ("config.training.optimiser", "what it is", "fields"), rows


def _augmentations() -> Rows:
    from seqfinal_jax.training.augmentations import AUGMENTATIONS

    found = [AUGMENTATIONS.get(name) for name in AUGMENTATIONS]
    rows = [(each.id, _first_line(each.change), "yes" if each.mirrors else "no") for each in found]
    return ("config.training.augmentation", "what it does", "mirrors images"), rows


def _metrics() -> Rows:
    from seqfinal_jax.analysis.tables.metrics import METRICS

    found = [METRICS.get(name) for name in METRICS]
    rows = [(each.id, each.summary.rstrip("."), f"{each.better} is better") for each in found]
    return ("--metric", "what it is", "direction"), rows


def _configs() -> Rows:
    from seqfinal_jax.config.config_files import named_configs, summary

    return ("--config", "what it is"), [(name, summary(path)) for name, path in named_configs().items()]


def _fields() -> Rows:
    from seqfinal_jax.config.pages import default_text
    from seqfinal_jax.config.schema import all_fields

    rows = [
        (each.name, default_text(each.default), f"{each.meaning} ({each.kind.expected})")
        for each in all_fields()
    ]
    return ("--config.", "default", "meaning, and what it may be"), rows


def _presets() -> Rows:
    from seqfinal_jax.config.build import PRESET_MEANINGS

    return ("preset", "what it changes"), list(PRESET_MEANINGS.items())


def _first_line(thing: object) -> str:
    thing = getattr(thing, "func", thing)  # what a partial calls
    return (getattr(thing, "__doc__", None) or "").strip().split("\n")[0].rstrip(".")


KINDS: dict[str, Callable[[], Rows]] = {
    "methods": _methods, "networks": _networks, "shifts": _shifts, "data": _data,
    "optimisers": _optimisers, "augmentations": _augmentations, "metrics": _metrics,
    "configs": _configs, "fields": _fields, "presets": _presets,
}  # fmt: skip


def print_list(kind: str, console: Console) -> None:
    """One kind as a table."""
    heads, rows = KINDS[kind]()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=kind, title_justify="left")
    for place, head in enumerate(heads):
        table.add_column(head, overflow="fold", no_wrap=place == 0, ratio=None if place == 0 else 1)
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the kinds that the command line names, all kinds by default."""
    parser = FlagParser(__doc__)
    parser.add_argument("kind", nargs="?", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--plugins", default="", help="files or modules of your own, separated by commas")
    return parser.run(_list, arguments)


def _list(options: Any) -> None:
    from seqfinal_jax.records.plugins import load_plugins, names_of

    load_plugins(names_of(options.plugins))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDE
    for kind in KINDS if options.kind == "all" else (options.kind,):
        print_list(kind, console)
        console.print()

"""Finds fields that have no effect: the run is planned again without each; if the plan is the same, the field is idle."""

from collections.abc import Callable, Collection
from typing import Any

from ml_collections import ConfigDict

from seqfinal_jax.config.read import get
from seqfinal_jax.config.schema import ConfigField, all_fields
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.models.families.architectures import FAMILIES, split_name

# Values that a configuration file gives for whichever methods a run has; only the command line must mean them.
SHARED = ("protocol", "grid", "joint_grid", "training", "")
Fingerprints = Callable[[ConfigDict, tuple[str, ...]], list[str]]


def refuse_idle_fields(
    config: ConfigDict,
    overrides: Collection[str],
    methods: tuple[str, ...],
    architectures: tuple[str, ...],
    fingerprints: Fingerprints,
) -> None:
    """Raises ValueError for a field that was set and changes no result of the run.

    `overrides`: fields that the command line set. `fingerprints`: gives the fingerprints of all cells of these methods
    under a configuration. A size that one of the networks reads may equal that network's preset.
    """
    read = {size for name in architectures for size in FAMILIES.get(split_name(name)[0]).reads}
    changed = [each for each in all_fields() if each.size not in read and _must_act(config, each, overrides)]
    if not changed:
        return
    as_asked = fingerprints(config, methods)
    for field in changed:
        if _without(config, field, methods, fingerprints) == as_asked:
            value = get(config, field.name)
            raise ValueError(
                f"config.{field.name} = {value!r} changes nothing in this run; leave it at {field.default!r}"
                f"{_instead(config, field, fingerprints)}"
            )


def _must_act(config: ConfigDict, field: ConfigField, overrides: Collection[str]) -> bool:
    if field.everywhere or _same(get(config, field.name), field.default):
        return False
    return field.name in overrides or field.section not in SHARED or field.name == "all_layers_efficient"


def _same(value: Any, default: Any) -> bool:
    plain = lambda v: tuple(v) if isinstance(v, (tuple, list)) else v  # noqa: E731
    return plain(value) == plain(default)


def _without(
    config: ConfigDict, field: ConfigField, methods: tuple[str, ...], fingerprints: Fingerprints
) -> list[str] | None:
    """The fingerprints with this field at its default; None where the run would not work so."""
    other = config.copy_and_resolve_references()
    section = get(other, field.section) if field.section else other
    section[field.name.rpartition(".")[2]] = field.default
    try:
        return fingerprints(other, methods)
    except ValueError:
        return None


def _instead(config: ConfigDict, field: ConfigField, fingerprints: Fingerprints) -> str:
    """Methods or networks on which the field would act, as the end of a sentence."""
    if field.size:
        families = [name for name in FAMILIES if field.size in FAMILIES.get(name).reads]
        return f", or take a network that has it: {', '.join(families)}"
    acting = []
    for name in METHODS:
        try:
            with_it = fingerprints(config, (name,))
        except ValueError:
            continue
        if _without(config, field, (name,), fingerprints) not in (None, with_it):
            acting.append(name)
    return f", or add a method on which it acts: {', '.join(acting)}" if acting else ""

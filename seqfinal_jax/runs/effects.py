"""Finds fields that have no effect: the run is planned again without each; if the plan is the same, the field is idle."""

from collections.abc import Callable, Collection, Mapping
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
    filled: Mapping[str, Any],
) -> None:
    """Raises ValueError for a field that was set and changes no result of the run.

    `overrides`: fields that the command line set. `fingerprints`: gives the fingerprints of all cells of these methods
    under a configuration. `filled`: the values that fields take where they are not set; a field may be set to the value
    that applies anyway. A size that one of the networks reads may equal that network's preset.
    """
    config = _unset(config, [each for each in all_fields() if each.name in filled], filled)
    read = {size for name in architectures for size in FAMILIES.get(split_name(name)[0]).reads}
    changed = [each for each in all_fields() if each.size not in read and _must_act(config, each, overrides)]
    if not changed:
        return
    as_asked = fingerprints(config, methods)
    for field in changed:
        if _without(config, field, methods, fingerprints) == as_asked:
            value, applies = get(config, field.name), filled.get(field.name, field.default)
            raise ValueError(
                f"config.{field.name} = {value!r} changes nothing in this run; leave it at {applies!r}"
                f"{_instead(config, field, fingerprints)}"
            )


def _unset(config: ConfigDict, fields: list[ConfigField], filled: Mapping[str, Any]) -> ConfigDict:
    """The configuration with these fields at their defaults where they have the values that would apply anyway."""
    other = config.copy_and_resolve_references()
    for field in fields:
        if _same(get(config, field.name), filled[field.name]):
            _reset(other, field)
    return other


def _reset(config: ConfigDict, field: ConfigField) -> None:
    section = get(config, field.section) if field.section else config
    section[field.name.rpartition(".")[2]] = field.default


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
    _reset(other, field)
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

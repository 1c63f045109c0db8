"""Finds fields that have no effect: planned without such a field, the cells of a run have the same keys."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from seqfinal_jax.config.parse import value_of, with_value
from seqfinal_jax.config.schema import ConfigField, RunSpec, all_fields
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.models.families.architectures import FAMILIES, split_name

# Values that a configuration file gives for whichever methods a run has; only the command line must mean them.
SHARED = ("protocol", "grid", "joint_grid", "training", "")
SHARED_FIELDS = ("network.width_factor",)  # of another section
Keys = tuple[str, ...]  # of the models of a run's cells


def refuse_idle_fields(
    spec: RunSpec, keys: Keys, keys_of: Callable[[RunSpec], Keys], filled: Mapping[str, Any]
) -> None:
    """Raises ValueError for a field that was set and changes no result of the run.

    `keys`: of the run's cells; `keys_of`: gives those of another specification. `filled`: the values that fields take
    where they are not set; a field may be set to the value that applies anyway. A size that one of the networks reads may
    equal that network's preset.
    """
    spec = _unset(spec, filled)
    read = {size for name in spec.architectures for size in FAMILIES.get(split_name(name)[0]).reads}
    for field in all_fields():
        if field.size not in read and _must_act(spec, field) and _without(spec, field, keys_of) == keys:
            value, applies = value_of(spec, field), filled.get(field.name, field.default)
            raise ValueError(
                f"config.{field.name} = {value!r} changes nothing in this run; leave it at {applies!r}"
                f"{_instead(spec, field, keys_of)}"
            )


def _unset(spec: RunSpec, filled: Mapping[str, Any]) -> RunSpec:
    """The specification with fields at their defaults where they have the values that would apply anyway."""
    for field in all_fields():
        if field.name in filled and value_of(spec, field) == filled[field.name]:
            spec = with_value(spec, field, field.default)
    return spec


def _must_act(spec: RunSpec, field: ConfigField) -> bool:
    if field.everywhere or value_of(spec, field) == _plain(field.default):
        return False
    shared = field.section in SHARED or field.name in SHARED_FIELDS
    return field.name in spec.given or not shared or field.name == "all_layers_efficient"


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _without(spec: RunSpec, field: ConfigField, keys_of: Callable[[RunSpec], Keys]) -> Keys | None:
    """The keys with this field at its default; None where the run would not work so."""
    try:
        return keys_of(with_value(spec, field, field.default))
    except ValueError:
        return None


def _instead(spec: RunSpec, field: ConfigField, keys_of: Callable[[RunSpec], Keys]) -> str:
    """Methods or networks on which the field would act, as the end of a sentence."""
    if field.size:
        families = [name for name in FAMILIES if field.size in FAMILIES.get(name).reads]
        return f", or take a network that has it: {', '.join(families)}"
    acting = []
    for name in METHODS:
        alone = replace(spec, methods=(name,))
        try:
            with_it = keys_of(alone)
        except ValueError:
            continue
        if _without(alone, field, keys_of) not in (None, with_it):
            acting.append(name)
    return f", or add a method on which it acts: {', '.join(acting)}" if acting else ""

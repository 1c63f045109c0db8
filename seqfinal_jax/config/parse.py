"""From a ConfigDict to a checked `RunSpec`, and from that to the objects that the program uses."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ml_collections import ConfigDict

from seqfinal_jax.config.build import (
    add_own_fields,
    hardware_defaults,
    protocol_of,
    settle_budget,
    split_names,
    with_precision,
)
from seqfinal_jax.config.schema import NAMES, ConfigField, RunSpec, all_fields, own_fields
from seqfinal_jax.config.values import flat
from seqfinal_jax.data.sequences.source import SequenceRequest
from seqfinal_jax.methods.options import Options
from seqfinal_jax.methods.recipes import method_id
from seqfinal_jax.models.families.architectures import published_architectures, split_name
from seqfinal_jax.records.plugins import load_plugins, names_of
from seqfinal_jax.records.registry import nearest
from seqfinal_jax.training.objectives.risk import InputScaling

T = TypeVar("T")
BESIDE = ("own", "given", "notes")  # of a RunSpec: what is no field of the configuration


def parse(config: ConfigDict, given: Collection[str] = ()) -> RunSpec:
    """The specification of a configuration, of which every field was checked; its plugins are loaded first.

    `given` names the fields that the command line or the interface set. The configuration itself is left as it is.
    Raises ValueError for a field that does not exist, and for a value that is not allowed.
    """
    plugins = config.get("plugins", ())
    NAMES.check("plugins", plugins)
    load_plugins(names_of(plugins))
    config = config.copy_and_resolve_references()
    add_own_fields(config)
    known = {each.name: each for each in all_fields()}
    _check_names(flat(config), known)
    notes = settle_budget(config, given)
    return replace(_spec(flat(config), known), given=tuple(given), notes=tuple(notes))


def stored_spec(stored: Mapping[str, Any]) -> RunSpec:
    """The specification that a config.json holds; fields that came later have their defaults, its plugins are left out.

    Raises ValueError for a value that is not allowed.
    """
    known = {each.name: each for each in all_fields()}
    there = {name: value for name, value in flat(with_precision(stored)).items() if name in known}
    return _spec({name: each.default for name, each in known.items()} | there | {"plugins": ()}, known)


def _spec(given: Mapping[str, Any], known: Mapping[str, ConfigField]) -> RunSpec:
    values = {name: _value(known[name], value) for name, value in given.items()}
    spec = replace(_section(RunSpec, values), own={each.name: values[each.name] for each in own_fields()})
    _check_scaling(spec)
    _check_resume(spec)
    return spec


def _check_names(values: Mapping[str, Any], known: Mapping[str, ConfigField]) -> None:
    for name in values:
        if name not in known:
            raise ValueError(f"config.{name}: there is no such field; {nearest(name, list(known))}")
    for name in known:
        if name not in values:
            raise ValueError(
                f"config.{name} is missing; build the configuration with seqfinal_jax.config.base_config"
            )


def _value(field: ConfigField, value: Any) -> Any:
    """A field's value in the form that its type has. Raises ValueError for one that is not allowed."""
    field.kind.check(field.name, value)
    if field.name == "plugins":
        return names_of(value)
    if field.kind is NAMES:
        return split_names(value)
    if not isinstance(value, (tuple, list)):
        return value
    return tuple(map(float, value)) if field.type == tuple[float, ...] else tuple(value)


def _section(section: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    made = {}
    for each in fields(section):  # type: ignore[arg-type]
        if is_dataclass(each.type):
            made[each.name] = _section(each.type, values, f"{each.name}.")  # type: ignore[arg-type]
        elif each.metadata:
            made[each.name] = values[prefix + each.name]
    return section(**made)


def _check_scaling(spec: RunSpec) -> None:
    if len(spec.input_mean) != len(spec.input_std):
        raise ValueError(
            f"config.input_mean has {len(spec.input_mean)} numbers and config.input_std {len(spec.input_std)}; "
            f"give both one number per channel"
        )


def _check_resume(spec: RunSpec) -> None:
    joint, training = spec.joint, spec.training
    if joint.resume_to_epochs and joint.resume_patience < training.patience:
        raise ValueError(
            f"config.joint.resume_patience = {joint.resume_patience} is below config.training.patience = "
            f"{training.patience}: fits that stopped early would end where they are"
        )


def resolve(spec: RunSpec, backend: str) -> RunSpec:
    """The specification with the ids of its methods, and with the hardware's networks and seeds where it has none.

    Raises ValueError for names that are unknown or stand twice.
    """
    default = hardware_defaults(backend)
    named = spec.architectures or default["architectures"]
    found = {
        "methods": tuple(map(method_id, spec.methods)),
        "architectures": tuple(
            each for name in named for each in (published_architectures() if name == "all" else (name,))
        ),
        "seeds": spec.seeds or default["seeds"],
    }
    for field, values in found.items():
        refuse_repeats(values, field)
    for name in found["architectures"]:
        split_name(name)
    return replace(spec, **found)


def refuse_repeats(values: tuple[Any, ...], field: str) -> None:
    """Raises ValueError where a value is listed twice, and names it."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"config.{field} names {value!r} {values.count(value)} times; name each once")


def as_dict(spec: RunSpec) -> dict[str, Any]:
    """The configuration as nested dictionaries, as config.json has it."""
    tree = {name: value for name, value in asdict(spec).items() if name not in BESIDE}
    for name, value in spec.own.items():
        method, _, last = name.partition(".")
        tree.setdefault(method, {})[last] = value
    return tree


def value_of(spec: RunSpec, field: ConfigField) -> Any:
    """The value of a field."""
    if field.type is None:
        return spec.own[field.name]
    return getattr(getattr(spec, field.section) if field.section else spec, field.last)


def with_value(spec: RunSpec, field: ConfigField, value: Any) -> RunSpec:
    """The specification with another value of a field."""
    if field.type is None:
        return replace(spec, own={**spec.own, field.name: value})
    if not field.section:
        return replace(spec, **{field.last: value})
    return replace(spec, **{field.section: replace(getattr(spec, field.section), **{field.last: value})})


def taken(made: type[T], *sections: Any, **others: Any) -> T:
    """An object of a dataclass that has the fields of these sections by their own names; `others` take precedence."""
    names = {each.name for each in fields(made)}  # type: ignore[arg-type]
    same = {name: value for each in sections for name, value in vars(each).items() if name in names}
    return made(**{**same, **others})


def protocol_name(spec: RunSpec) -> str:
    """The protocol that the fields belong to: "corrected", "released", or "custom" for neither."""
    return protocol_of(asdict(spec.protocol))


def options_of(spec: RunSpec) -> Options:
    """The options of methods, including those that the protocol sets."""
    own, given = "checkpoint" * bool(spec.pretrained.checkpoint), spec.pretrained.resnet18
    return taken(
        Options, spec.fine_tune, spec.protocol, spec.training,
        side=spec.side.sizes, adapter=spec.adapter, joint=spec.joint,
        all_layers_efficient=spec.all_layers_efficient, pretrained="imagenet" if given else own,
    )  # fmt: skip


def scaling_of(spec: RunSpec, published: tuple[Any, Any] | None = None) -> InputScaling:
    """How stored pixels become inputs, by protocol.

    `published` is the mean and deviation of a published program that does not take these pixels as they are.
    """
    if spec.protocol.input_scaling == "raw":
        return InputScaling(*published) if published else InputScaling()
    return InputScaling(spec.input_mean, spec.input_std)


def request_of(spec: RunSpec, data_dir: str | Path | None) -> SequenceRequest:
    """The part of the configuration that describes the data."""
    folder = Path(data_dir) if data_dir else None
    return taken(
        SequenceRequest, spec.protocol, data=asdict(spec.data), oracle_size=spec.oracle_size, data_dir=folder
    )

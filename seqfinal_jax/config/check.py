"""Checks a configuration before anything is loaded or trained."""

from typing import Any

from ml_collections import ConfigDict

from seqfinal_jax.config import read
from seqfinal_jax.config.schema import all_fields
from seqfinal_jax.records.registry import nearest


def check_config(config: ConfigDict) -> None:
    """Raises ValueError for a field that does not exist, or whose value is not allowed."""
    known = {each.name: each for each in all_fields()}
    leaves = flat(config)
    for name in leaves:
        if name not in known:
            raise ValueError(f"config.{name}: there is no such field; {nearest(name, list(known))}")
    for name, field in known.items():
        if name not in leaves:
            raise ValueError(
                f"config.{name} is missing; build the configuration with seqfinal_jax.config.base_config"
            )
        field.kind.check(name, leaves[name])
    read.side_sizes(config.side.layer_sizes)
    _check_scaling(config)
    _check_resume(config)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries to dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        nested = isinstance(value, (dict, ConfigDict))
        leaves.update(flat(value, f"{prefix}{name}.") if nested else {prefix + name: value})
    return leaves


def refuse_repeats(values: tuple[Any, ...], field: str) -> None:
    """Raises ValueError where a value is listed twice, and names it."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"config.{field} names {value!r} {values.count(value)} times; name each once")


def _check_scaling(config: ConfigDict) -> None:
    if len(config.input_mean) != len(config.input_std):
        raise ValueError(
            f"config.input_mean has {len(config.input_mean)} numbers and config.input_std {len(config.input_std)}; "
            f"give both one number per channel"
        )


def _check_resume(config: ConfigDict) -> None:
    joint, training = config.joint, config.training
    if joint.resume_to_epochs and joint.resume_patience < training.patience:
        raise ValueError(
            f"config.joint.resume_patience = {joint.resume_patience} is below config.training.patience = "
            f"{training.patience}: fits that stopped early would end where they are"
        )

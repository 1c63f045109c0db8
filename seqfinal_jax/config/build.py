"""A configuration with all fields, and the presets of protocol and size that change some.

`base_config` gives every field; a file of configs/ changes what its benchmark sequence needs, then applies the
presets that follow the colon in `--config=configs/cifar10_rcl.py:released,quick`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ml_collections import ConfigDict, config_dict

from seqfinal_jax.config.schema import ConfigField, Protocol, TrainingLoop, all_fields, default_of, own_fields
from seqfinal_jax.models.parts.precision import Precision
from seqfinal_jax.records.plugins import load_plugins
from seqfinal_jax.records.registry import nearest

# Every place where the published program departs from its own description is one field (docs/protocols.md).
# fmt: off
PROTOCOLS: dict[str, dict[str, str]] = {
    "corrected": asdict(Protocol()),
    "released": {
        "input_scaling": "raw", "subpop_sizes": "released", "test_all_steps_draws": "same_stream",
        "history_steps": "all", "decay_selection": "test", "penalise_bn": "by_name",
    },
}
# fmt: on
# What an empty precision meant in configurations that were stored when the protocol decided it.
EMPTY_PRECISION: dict[str, Precision] = {"corrected": "bfloat16", "released": "highest", "custom": "highest"}
PRESET_MEANINGS = {
    "corrected": "the protocol of the paper's text, with the defects of the published program mended; the default",
    "released": "the protocol of the published program, with its departures from the text (docs/protocols.md)",
    "quick": "real images, half the sizes, 20 epochs or more, a grid of dropout 0 and 0.5: minutes on a CPU",
    "smoke": "everything tiny: seconds, to see that a configuration runs",
}
PRESETS = tuple(PRESET_MEANINGS)
# How the published program trains; its epochs and patience are the defaults of the schema.
PUBLISHED_TRAINING = {"least_updates": 0, "patience_updates": 0, "stop_on": "previous", "ties": "first"}
NO_BUDGET = {"least_updates": "max_epochs", "patience_updates": "patience"}
BUDGET = {name: getattr(TrainingLoop, name) for name in NO_BUDGET}  # where nothing sets them
QUICK_EPOCHS = 20
QUICK_GRID = {"learning_rate": (1e-3,), "weight_decay": (1e-4,), "adjacent": (0.1,), "dropout": (0.0, 0.5)}


def base_config(
    name: str,
    dataset: str,
    shifts: str = "",
    source_size: int = 0,
    target_sizes: tuple[int, ...] = (),
    test_size: int = 0,
    oracle_size: int = 20000,
    plugins: Sequence[str] = (),
) -> ConfigDict:
    """All fields with their defaults; setting a field that does not exist is an error.

    Sizes count samples; `target_sizes` has one size per step of `shifts`. A recorded sequence has its own sizes and no
    shifts. `plugins` are loaded first, so that the fields which they declare exist.
    """
    load_plugins(plugins)
    config = ConfigDict()
    for each in all_fields():
        _add(config, each)
    config.update({"name": name, "oracle_size": oracle_size, "plugins": tuple(plugins)})
    config.data.update(
        {
            "dataset": dataset, "shifts": shifts, "source_size": source_size,
            "target_sizes": tuple(target_sizes), "test_size": test_size,
        }
    )  # fmt: skip
    return config.lock()


def add_own_fields(config: ConfigDict) -> None:
    """Adds the fields of records that were registered after the configuration was made, at their defaults."""
    with config.unlocked():
        for each in own_fields():
            if each.last not in (config.get(each.section) or {}):
                _add(config, each)


def _add(config: ConfigDict, field: ConfigField) -> None:
    *path, last = field.name.split(".")
    for part in path:
        if part not in config:
            config[part] = ConfigDict()
        config = config[part]
    with config.unlocked():
        config[last] = config_dict.placeholder(field.type) if field.unset else field.default


def apply_presets(config: ConfigDict, presets: str) -> ConfigDict:
    """Applies presets, a comma-separated list, in order; raises ValueError, which suggests the nearest name."""
    for preset in filter(None, (part.strip() for part in presets.split(","))):
        if preset in PROTOCOLS:
            config.protocol.update(PROTOCOLS[preset])
            if preset == "released":
                config.training.update(PUBLISHED_TRAINING)
                config.search, config.precision = "grid", "highest"
        elif preset == "quick":
            _quick(config)
        elif preset == "smoke":
            _smoke(config)
        else:
            raise ValueError(
                f"unknown preset {preset!r} behind the config file; {nearest(preset, list(PRESETS))}"
            )
        if preset not in PROTOCOLS:
            config.name = f"{config.name}-{preset}"
    return config


def _quick(config: ConfigDict) -> None:
    """Real images, half the sizes (test sets unchanged), 20 epochs or the budget in updates, dropout 0 and 0.5."""
    settle_budget(config)
    if not config.data.shifts:
        config.data.keep *= 0.5
    config.data.source_size //= 2
    config.data.target_sizes = tuple(size // 2 for size in config.data.target_sizes)
    config.oracle_size //= 2
    config.training.max_epochs = min(QUICK_EPOCHS, config.training.max_epochs)
    config.grid.update(QUICK_GRID)
    config.joint_grid.adjacent = (0.1, 1.0)


def _smoke(config: ConfigDict) -> None:
    """Everything tiny: seconds, to see that a configuration runs."""
    if config.data.shifts:
        least = 20 if config.data.dataset == "cifar100" else 10
        config.data.source_size = config.data.test_size = 10 * least
        config.data.target_sizes = (10 * least,) * len(config.data.target_sizes)
        config.oracle_size = 15 * least
    else:
        config.data.most_per_class = 10
    config.training.update({"max_epochs": 2, "batch_size": 40, "least_updates": 0, "patience_updates": 0})
    config.network.width_factor = 0.125
    config.grid.update(QUICK_GRID)
    config.joint_grid.adjacent = (0.1,)


def settle_budget(config: ConfigDict, given: Collection[str] = ()) -> list[str]:
    """Fills in both budgets in updates where they are not set, and says where a number of epochs replaces them.

    A number of epochs or a patience that the user sets takes precedence: `given` names the fields of the command line or
    the API; in a user's own file they are those that differ from the defaults. To have both limits, set both.
    """
    said, training = [], config.training
    for budget, epochs in NO_BUDGET.items():
        names = f"training.{budget}", f"training.{epochs}"
        chosen = training[epochs] != default_of(names[1]) if training[budget] is None else names[1] in given
        if chosen and names[0] not in given and training[budget] != 0:
            said.append(
                f"config.{names[1]} = {training[epochs]} is set, so config.{names[0]} is 0; set both to use both"
            )
            training[budget] = 0
        elif training[budget] is None:
            training[budget] = BUDGET[budget]
    return said


def protocol_of(fields: Mapping[str, str]) -> str:
    """The protocol that these fields of `config.protocol` belong to: "corrected", "released", or "custom" for neither."""
    return next((name for name, preset in PROTOCOLS.items() if preset == fields), "custom")


def with_precision(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration, whose precision, if it is empty, is the one that it stood for."""
    empty = stored.get("precision") == ""
    return {**stored, **({"precision": EMPTY_PRECISION[protocol_of(stored["protocol"])]} if empty else {})}


def hardware_defaults(backend: str) -> dict[str, tuple[Any, ...]]:
    """Architectures and seeds of a first run: one small network and the published seed on a CPU, more elsewhere."""
    if backend == "cpu":
        return {"architectures": ("convnet-1",), "seeds": (1007,)}
    return {
        "architectures": tuple(f"convnet-{blocks}" for blocks in (1, 2, 3, 4)),
        "seeds": (1007, 0, 1, 2, 3, 4, 5, 6),
    }


def split_names(values: Any) -> tuple[str, ...]:
    """Names from a tuple or a comma-separated string; elements with commas are split, blanks are stripped."""
    elements = (values,) if isinstance(values, str) else values
    return tuple(part.strip() for value in elements for part in str(value).split(",") if part.strip())

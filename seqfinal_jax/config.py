"""The configuration: defaults, presets of protocol and size, and what its fields mean.

`base_config` gives every field; a file of configs/ changes what its benchmark sequence needs, then applies the
presets that stand behind the colon of `--config=configs/cifar10_rcl.py:released,quick`.
"""

import math
from typing import Any

from ml_collections import ConfigDict

from seqfinal_jax.data.matching import MEMORY_GIB
from seqfinal_jax.methods.grid import JOINT_GRID, Grid
from seqfinal_jax.methods.joint_options import FISHERS, JOINT_MODES, SAMPLES, STRENGTHS, JointOptions
from seqfinal_jax.methods.options import MODES, REGULARIZATIONS, Options
from seqfinal_jax.models.low_rank import Adapter
from seqfinal_jax.models.network import NetworkConfig
from seqfinal_jax.models.side import SideSizes
from seqfinal_jax.registry import nearest
from seqfinal_jax.training.early_stopping import StopRule
from seqfinal_jax.training.objectives import InputScaling

# Every place where the published program departs from its own description is one field (docs/protocols.md).
# fmt: off
PROTOCOLS: dict[str, dict[str, str]] = {
    "corrected": {
        "input_scaling": "standardised", "subpop_sizes": "as_asked", "test_all_steps_draws": "own",
        "history_steps": "history", "decay_selection": "validation", "penalise_bn": "none",
    },
    "released": {
        "input_scaling": "raw", "subpop_sizes": "released", "test_all_steps_draws": "same_stream",
        "history_steps": "all", "decay_selection": "test", "penalise_bn": "by_name",
    },
}
# fmt: on
CHOICES: dict[str, tuple[str, ...]] = {
    "protocol.input_scaling": ("standardised", "raw"),
    "protocol.subpop_sizes": ("as_asked", "released"),
    "protocol.test_all_steps_draws": ("own", "same_stream"),
    "protocol.history_steps": ("history", "all"),
    "protocol.decay_selection": ("validation", "test"),
    "protocol.penalise_bn": ("none", "by_name"),
    "fine_tune.regularization": REGULARIZATIONS,
    "fine_tune.mode": MODES,
    "fine_tune.fisher": ("batch_sums", "per_sample"),
    "joint.mode": JOINT_MODES,
    "joint.adjacent_penalty": tuple(STRENGTHS),
    "joint.loss_samples": SAMPLES,
    "joint.fisher": FISHERS,
    "adapter.mode": ("add", "multiply"),
    "adapter.init": ("uniform", "identity"),
    "training.stop_on": ("previous", "best"),
    "training.train_metrics": ("running", "eval"),
    "precision": ("highest", "high", "default"),
}
PRESETS = ("corrected", "released", "quick", "smoke")
FULL_GRID = Grid(adjacent=(0.01, 0.1, 1.0))
QUICK_EPOCHS = 20
QUICK_GRID = {"learning_rate": (1e-3,), "weight_decay": (1e-4,), "adjacent": (0.1,), "dropout": (0.0, 0.5)}


def base_config(
    name: str,
    dataset: str,
    shifts: str,
    source_size: int,
    target_sizes: tuple[int, ...],
    test_size: int,
    oracle_size: int,
) -> ConfigDict:
    """All fields with their defaults. Sizes count samples; `target_sizes` has one for each step of `shifts`.

    methods, architectures, seeds: empty means all methods, and what suits the hardware (`hardware_defaults`).
    data_seed: -1 lets the run's seed drive the data draws too; another number holds the data fixed.
    """
    config = ConfigDict()
    config.name = name
    config.plugins = ()
    config.methods = ()
    config.architectures = ()
    config.seeds = ()
    config.data_seed = -1
    config.precision = "highest"
    config.protocol = ConfigDict(PROTOCOLS["corrected"])
    config.input_mean = (0.485, 0.456, 0.406)
    config.input_std = (0.229, 0.224, 0.225)
    config.oracle_size = oracle_size
    config.data = ConfigDict(
        {
            "dataset": dataset, "shifts": shifts, "source_size": source_size,
            "target_sizes": tuple(target_sizes), "test_size": test_size, "disjoint": False,
            "test_all_steps": False,
        }
    )  # fmt: skip
    config.network = ConfigDict(
        {
            "stem_width": 0, "widths": (), "strides": (), "width_factor": 1.0, "block_relu": False, "units": 2,
            "dense_layers": (),
        }
    )  # fmt: skip
    config.grid = ConfigDict(
        {name: getattr(FULL_GRID, name) for name in ("learning_rate", "weight_decay", "adjacent", "dropout")}
    )
    config.fine_tune = ConfigDict(
        {
            "layers": "all", "regularization": "standard", "mode": "standard", "ablate_init": False,
            "fisher": "batch_sums", "freeze_batch_stats": False,
        }
    )  # fmt: skip
    config.side = ConfigDict({"layer_sizes": ""})
    config.adapter = ConfigDict({"mode": "add", "rank": 1, "init": "uniform"})
    config.all_layers_efficient = False
    config.joint = ConfigDict(
        {
            "mode": "separate", "separate_layers": "all", "adjacent_penalty": "l2", "penalty_by_time": False,
            "increasing_loss_weights": False, "loss_samples": "all", "ablate": False,
            "sweep_efficient_penalty": False, "same_init_over_time": False, "resume_to_epochs": 0,
            "fisher": "batch_sums", "resume_patience": 10, "matching_memory_gib": MEMORY_GIB,
        }
    )  # fmt: skip
    config.joint_grid = ConfigDict(
        {
            name: getattr(JOINT_GRID, name)
            for name in ("learning_rate", "weight_decay", "adjacent", "dropout", "final_weight")
        }
    )
    config.pretrained = ConfigDict({"resnet18": ""})
    config.training = ConfigDict(
        {
            "max_epochs": 100, "batch_size": 100, "patience": 5, "stop_on": "previous",
            "train_metrics": "running", "init_per_grid_point": False, "normalise_time_weights": False,
        }
    )  # fmt: skip
    return config


def apply_presets(config: ConfigDict, presets: str) -> ConfigDict:
    """Applies presets, named by commas, in order; raises ValueError that names the nearest one."""
    for preset in filter(None, (part.strip() for part in presets.split(","))):
        if preset in PROTOCOLS:
            config.protocol.update(PROTOCOLS[preset])
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
    """Real images, half the sizes (test sets unchanged), at most 20 epochs, a grid of dropout 0 and 0.5."""
    config.data.source_size //= 2
    config.data.target_sizes = tuple(size // 2 for size in config.data.target_sizes)
    config.oracle_size //= 2
    config.training.max_epochs = min(QUICK_EPOCHS, config.training.max_epochs)
    config.grid = ConfigDict(QUICK_GRID)
    config.joint_grid.adjacent = (0.1, 1.0)


def _smoke(config: ConfigDict) -> None:
    """Everything tiny: seconds, to see that a configuration runs."""
    least = 20 if config.data.dataset == "cifar100" else 10
    config.data.source_size = config.data.test_size = 10 * least
    config.data.target_sizes = (10 * least,) * len(config.data.target_sizes)
    config.oracle_size = 15 * least
    config.training.max_epochs, config.training.batch_size = 2, 40
    config.network.width_factor = 0.125
    config.grid = ConfigDict(QUICK_GRID)
    config.joint_grid.adjacent = (0.1,)


def hardware_defaults(backend: str) -> dict[str, tuple[Any, ...]]:
    """Architectures and seeds of a first run: one small network and the published seed on a CPU, more elsewhere."""
    if backend == "cpu":
        return {"architectures": ("convnet-1",), "seeds": (1007,)}
    return {
        "architectures": tuple(f"convnet-{blocks}" for blocks in (1, 2, 3, 4)),
        "seeds": (1007, 0, 1, 2, 3),
    }


def protocol_name(config: ConfigDict) -> str:
    """ "corrected", "released", or "custom" when the fields are those of neither."""
    fields = config.protocol.to_dict()
    return next((name for name, preset in PROTOCOLS.items() if preset == fields), "custom")


def network_config(config: ConfigDict, image_size: int, channels: int) -> NetworkConfig:
    """Sizes of the networks."""
    network = config.network
    return NetworkConfig(
        image_size=image_size,
        channels=channels,
        stem_width=network.stem_width or None,
        widths=tuple(network.widths),
        strides=tuple(network.strides),
        width_factor=network.width_factor,
        block_relu=network.block_relu,
        units=network.units,
        dense_layers=tuple(network.dense_layers),
    )


def grid(config: ConfigDict, field: str = "grid") -> Grid:
    """The grid of hyper-parameters of every search; of the joint model's with field "joint_grid"."""
    return Grid(**{name: tuple(float(v) for v in values) for name, values in config[field].items()})


def options(config: ConfigDict) -> Options:
    """How methods adapt a model, and what of it the protocol says. Raises ValueError for malformed side sizes."""
    tune, protocol, adapter = config.fine_tune, config.protocol, config.adapter
    return Options(
        layers=tune.layers,
        regularization=tune.regularization,
        mode=tune.mode,
        ablate_init=tune.ablate_init,
        side=side_sizes(config.side.layer_sizes),
        adapter=Adapter(adapter.mode, adapter.rank, adapter.init),
        all_layers_efficient=config.all_layers_efficient,
        normalise_time_weights=config.training.normalise_time_weights,
        history_steps=protocol.history_steps,
        decay_selection=protocol.decay_selection,
        pretrained=bool(config.pretrained.resnet18),
        joint=joint_options(config),
    )


def joint_options(config: ConfigDict) -> JointOptions:
    """How the networks of all time steps hang together."""
    joint = config.joint
    return JointOptions(
        mode=joint.mode,
        separate=joint.separate_layers,
        adjacent=joint.adjacent_penalty,
        by_time=joint.penalty_by_time,
        increasing=joint.increasing_loss_weights,
        samples=joint.loss_samples,
        ablate=joint.ablate,
        sweep=joint.sweep_efficient_penalty,
        fisher=joint.fisher,
        same_init=joint.same_init_over_time,
        resume_to=joint.resume_to_epochs,
        resume_patience=joint.resume_patience,
    )


def side_sizes(text: str) -> SideSizes:
    """ "block", or numbers by comma; empty for a single convolution."""
    if text == "block":
        return text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        raise ValueError(
            f"config.side.layer_sizes = {text!r}: expected 'block', or whole numbers by comma such as '8,16', or ''"
        )
    return tuple(map(int, parts))


def stop_rule(config: ConfigDict) -> StopRule:
    """When members stop."""
    training = config.training
    return StopRule(training.max_epochs, training.patience, training.stop_on)


def input_scaling(config: ConfigDict) -> InputScaling:
    """How stored pixels become inputs, by protocol."""
    if config.protocol.input_scaling == "raw":
        return InputScaling()
    return InputScaling(tuple(config.input_mean), tuple(config.input_std))


def check_config(config: ConfigDict) -> None:
    """Raises ValueError for a field that cannot be right, before anything is loaded or trained."""
    for field, choices in CHOICES.items():
        value = _get(config, field)
        if value not in choices:
            raise ValueError(f"config.{field} = {value!r} is unknown; {nearest(str(value), list(choices))}")
    for field in ("training.max_epochs", "training.batch_size", "oracle_size"):
        if _get(config, field) < 1:
            raise ValueError(f"config.{field} must be at least 1, found {_get(config, field)}")
    if config.training.patience < 0:
        raise ValueError(f"config.training.patience must be 0 or more, found {config.training.patience}")
    _check_resume(config)
    if config.adapter.rank < 1:
        raise ValueError(f"config.adapter.rank must be at least 1, found {config.adapter.rank}")
    options(config)
    if config.network.width_factor <= 0:
        raise ValueError(f"config.network.width_factor must be above 0, found {config.network.width_factor}")
    for part in ("grid", "joint_grid"):
        for field, values in config[part].items():
            if values or (part, field) != ("joint_grid", "adjacent"):  # empty there: by the penalty's type
                _check_grid(f"{part}.{field}", tuple(values), 1 if field == "dropout" else math.inf)


def _check_resume(config: ConfigDict) -> None:
    joint, training = config.joint, config.training
    if not joint.matching_memory_gib > 0:
        raise ValueError(
            f"config.joint.matching_memory_gib must be above 0, found {joint.matching_memory_gib}"
        )
    if joint.resume_to_epochs == 0:
        return
    if joint.resume_to_epochs <= training.max_epochs:
        raise ValueError(
            f"config.joint.resume_to_epochs = {joint.resume_to_epochs} counts earlier epochs too: expected more than "
            f"config.training.max_epochs = {training.max_epochs}, or 0 for none"
        )
    if joint.resume_patience < training.patience:
        raise ValueError(
            f"config.joint.resume_patience = {joint.resume_patience} is below config.training.patience = "
            f"{training.patience}: fits that stopped early would end where they are"
        )


def _check_grid(field: str, values: tuple[float, ...], most: float) -> None:
    if not values:
        raise ValueError(f"config.{field} is empty; give at least one value")
    if len(set(values)) < len(values):
        raise ValueError(f"config.{field} = {values} repeats a value")
    for value in values:
        if not 0 <= value < most or (field.endswith("learning_rate") and value == 0):
            raise ValueError(f"config.{field} has {value}, outside its range")


def _get(config: ConfigDict, field: str) -> Any:
    for part in field.split("."):
        config = config[part]
    return config


def split_names(values: Any) -> tuple[str, ...]:
    """Names from a tuple or text, commas inside elements split, blanks stripped."""
    elements = (values,) if isinstance(values, str) else values
    return tuple(part.strip() for value in elements for part in str(value).split(",") if part.strip())


def refuse_repeats(values: tuple[Any, ...], field: str) -> None:
    """Raises ValueError that names a value which stands twice."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"config.{field} names {value!r} {values.count(value)} times; name each once")

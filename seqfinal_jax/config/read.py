"""Reads the parts of a configuration as the objects that the program uses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seqfinal_jax.config.build import BUDGET, protocol_of
from seqfinal_jax.config.schema import own_fields
from seqfinal_jax.data.sequences.source import SequenceRequest
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.joint_options import JointOptions
from seqfinal_jax.methods.options import Options
from seqfinal_jax.methods.stages.training import Budget
from seqfinal_jax.models.network import NetworkConfig
from seqfinal_jax.models.per_step.low_rank import Adapter
from seqfinal_jax.models.per_step.side import SideSizes
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.objectives.risk import InputScaling


def protocol_name(config: ConfigDict) -> str:
    """The protocol that the fields belong to: "corrected", "released", or "custom" for neither."""
    return protocol_of(config.protocol.to_dict())


def get(config: ConfigDict, field: str) -> Any:
    """The value of a field, given by its dotted name."""
    for part in field.split("."):
        config = config[part]
    return config


def network_config(config: ConfigDict, image_shape: tuple[int, int, int]) -> NetworkConfig:
    """Sizes of the networks for images (h, w, c)."""
    network = config.network
    return NetworkConfig(
        image_shape=image_shape,
        stem_width=network.stem_width or None,
        widths=tuple(network.widths),
        strides=tuple(network.strides),
        width_factor=network.width_factor,
        block_relu=network.block_relu,
        units=network.units,
        dense_layers=tuple(network.dense_layers),
    )


def grid(config: ConfigDict, field: str = "grid") -> Grid:
    """The grid of hyper-parameters of every search; with field "joint_grid", that of the joint model."""
    return Grid(**{name: tuple(float(v) for v in values) for name, values in config[field].items()})


def own_values(config: ConfigDict) -> Mapping[str, Any]:
    """The values of the fields and grid axes that methods declare for themselves, by "<method>.<name>"."""
    return {each.name: _plain(get(config, each.name)) for each in own_fields()}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, (tuple, list)) else value


def options(config: ConfigDict) -> Options:
    """The options of methods, including those that the protocol sets. Raises ValueError for malformed side sizes."""
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
        pretrained="imagenet"
        if config.pretrained.resnet18
        else "checkpoint" * bool(config.pretrained.checkpoint),
        joint=joint_options(config),
    )


def joint_options(config: ConfigDict) -> JointOptions:
    """The options of the joint model: how the networks of all time steps are tied together."""
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
    """The sizes of side modules: "block", or comma-separated numbers; empty for a single convolution."""
    if text == "block":
        return text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(
            f"config.side.layer_sizes = {text!r}: expected 'block', or whole numbers by comma such as '8,16', or ''"
        )
    return tuple(map(int, parts))


def stop_rule(config: ConfigDict) -> StopRule:
    """The rule by which trainings stop."""
    training = config.training
    return StopRule(
        training.max_epochs, training.patience, training.stop_on, training.ties, search=config.search
    )


def budget(config: ConfigDict) -> Budget:
    """The budget in updates; a field that is not set takes its default."""
    given = {name: config.training[name] for name in BUDGET}
    return Budget(**{name: BUDGET[name] if value is None else value for name, value in given.items()})


def input_scaling(config: ConfigDict, published: tuple[Any, Any] | None = None) -> InputScaling:
    """How stored pixels become inputs, by protocol.

    `published` is the mean and deviation of a published program that does not take these pixels as they are.
    """
    if config.protocol.input_scaling == "raw":
        return InputScaling(*published) if published else InputScaling()
    return InputScaling(tuple(map(float, config.input_mean)), tuple(map(float, config.input_std)))


def sequence_request(config: ConfigDict, data_dir: str | None) -> SequenceRequest:
    """The part of the configuration that describes the data."""
    protocol = config.protocol
    return SequenceRequest(
        config.data.to_dict(),
        config.oracle_size,
        protocol.subpop_sizes,
        protocol.test_all_steps_draws,
        Path(data_dir) if data_dir else None,
    )

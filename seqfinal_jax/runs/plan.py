"""A checked run: which cells, from which data, with which stages."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax

from seqfinal_jax.config.parse import (
    options_of,
    protocol_name,
    request_of,
    resolve,
    scaling_of,
    taken,
)
from seqfinal_jax.config.schema import Pretrained, RunSpec
from seqfinal_jax.data.matching.links import MATCHING_RULES
from seqfinal_jax.data.sequences.source import (
    SequenceSource,
    named_steps,
    published_scaling_of,
    sequence_source,
    source_code,
    training_sizes_of,
)
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.joint_options import STRENGTHS
from seqfinal_jax.methods.method_plan import MethodPlan, MethodPlans, plan_methods
from seqfinal_jax.methods.nodes import Node, Stage, all_stages, has_model_of_every_step, stage_of
from seqfinal_jax.methods.recipes import default_row
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.fingerprint import node_fingerprint
from seqfinal_jax.methods.stages.network import check_stage, stage_rule, training_of
from seqfinal_jax.methods.stages.training import Budget, Training
from seqfinal_jax.models import Network, build_network
from seqfinal_jax.models.convert.checkpoint import check_checkpoint, checkpoint_digest
from seqfinal_jax.models.convert.pretrained import check_network, content_digest, read_resnet18
from seqfinal_jax.models.families.architectures import split_name
from seqfinal_jax.models.network import NetworkConfig, check_images
from seqfinal_jax.records.plugins import blamed
from seqfinal_jax.results.store import Cell
from seqfinal_jax.runs.effects import refuse_idle_fields
from seqfinal_jax.training.augmentations import AUGMENTATIONS, Augmentation
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.optimisers import OPTIMISERS, Axes
from seqfinal_jax.training.objectives.risk import Objective


@dataclass(frozen=True)
class Plan:
    """A checked run: which cells, from which data, with which stages.

    spec: the whole configuration, with the ids of the methods that are fitted. training: the settings that all stages
    share. networks: by architecture. identity: for each variant of the sequence, everything
    that determines its data besides the run's seed. planned: the plan of each (architecture, method); methods that an
    architecture does not have are missing there and named in `left_out`. warnings: messages for the user before the
    start. data_dir: the folder of the data sets where one was named.
    """

    spec: RunSpec
    source: SequenceSource
    training: Training
    networks: dict[str, Network]
    identity: dict[str, Any]
    planned: dict[tuple[str, str], MethodPlan]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    data_dir: str | None = None

    @property
    def name(self) -> str:
        """The name of the sequence in tables."""
        return self.spec.name

    @property
    def protocol(self) -> str:
        """The name of the protocol."""
        return protocol_name(self.spec)

    @property
    def methods(self) -> tuple[str, ...]:
        """The ids of the methods, with their options."""
        return self.spec.methods

    @property
    def architectures(self) -> tuple[str, ...]:
        """The networks."""
        return self.spec.architectures

    @property
    def seeds(self) -> tuple[int, ...]:
        """The random seeds."""
        return self.spec.seeds

    def node(self, architecture: str, method: str) -> Node:
        """The recipe of a cell."""
        return self.planned[architecture, method].node

    def cells(self) -> Iterator[Cell]:
        """Every cell, in order."""
        for architecture in self.architectures:
            for method in self.methods:
                if (architecture, method) in self.planned:
                    yield from (Cell(architecture, method, seed) for seed in self.seeds)

    @property
    def num_steps(self) -> int:
        """Time steps of the sequence."""
        return len(self.source.sizes("main"))

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants of the data that the methods need, the main one first."""
        return tuple(sorted(self.identity, key=lambda name: (name != "main", name)))

    def data_seed(self, seed: int) -> int:
        """The seed from which the data are drawn, for a seed of the run."""
        fixed = self.identity["main"][1]
        return seed if fixed == "run" else fixed

    def sizes(self, variant: str) -> tuple[int, ...]:
        """Training and validation samples of each step of a variant."""
        return self.source.sizes(drawn_from(variant))

    def key(self, architecture: str, node: Node) -> str:
        """Hash of everything that determines a node's result, except its seed."""
        return node_fingerprint(node, self.networks[architecture], self.training, self.identity)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all models: of the last node of each network and method."""
        return tuple(self.key(architecture, each.node) for (architecture, _), each in self.planned.items())

    def keys_of(self, other: RunSpec) -> tuple[str, ...]:
        """The keys of another resolved specification of the same data; raises ValueError where it cannot be planned."""
        source = sequence_source(request_of(other, self.data_dir), self.source)
        return planned(other, source).keys


def make_plan(spec: RunSpec, data_dir: str | None = None) -> Plan:
    """Checks everything that can be checked before training. Raises ValueError, whose message says what to change."""
    spec = resolve(spec, jax.default_backend())
    source = sequence_source(request_of(spec, data_dir))
    _check_images(spec, source)
    plan = replace(planned(spec, source), data_dir=data_dir)
    _check_steps(plan)
    _check_networks(plan)
    _check_search(plan)

    filled = {
        "joint_grid.adjacent": STRENGTHS[spec.joint.adjacent_penalty],
        "data.steps": named_steps(source),
    }
    refuse_idle_fields(spec, plan.keys, plan.keys_of, filled)
    return plan


def planned(spec: RunSpec, source: SequenceSource) -> Plan:
    """The plan of a resolved specification; without methods, that of the published row and its controls.

    Raises ValueError for options and methods that do not work together.
    """
    found = planned_methods(spec, source)
    variants = {stage.variant for each in found.found.values() for stage in all_stages(each.node)}
    sizes = taken(
        NetworkConfig,
        spec.network,
        image_shape=tuple(source.image_shape),
        stem_width=spec.network.stem_width or None,
    )
    classes = len(source.class_names)
    networks = {name: build_network(name, classes, sizes, spec.precision) for name in spec.architectures}
    _check_start(spec.pretrained, networks)
    ids = tuple(dict.fromkeys(method for _, method in found.found))
    return Plan(
        replace(spec, methods=ids), source, make_training(spec, source), networks,
        data_identity(spec, source, {"main", *variants}), found.found, found.left_out, (*found.warnings, *spec.notes),
    )  # fmt: skip


def _check_start(pretrained: Pretrained, networks: Mapping[str, Network]) -> None:
    """Raises ValueError where the networks cannot start from the weights that the configuration names."""
    resnet18, own = pretrained.resnet18, pretrained.checkpoint
    if resnet18 and own:
        raise ValueError(
            "config.pretrained.resnet18 and config.pretrained.checkpoint exclude each other; give one"
        )
    for network in networks.values():
        if resnet18:
            check_network(network)
        if own:
            check_checkpoint(network, own)


def planned_methods(spec: RunSpec, source: SequenceSource) -> MethodPlans:
    """The nodes of all methods; of the published row and its controls where none is named."""
    steps, options = len(source.sizes("main")), options_of(spec)
    axes = optimiser_axes(spec)
    grid, joint_grid = (taken(Grid, each).with_axes(axes) for each in (spec.grid, spec.joint_grid))
    settings = {
        name: Setting(steps, grid, *split_name(name), options, joint_grid, fields=spec.own)
        for name in spec.architectures
    }
    variants = {*source.variants, *MATCHING_RULES}
    return plan_methods(spec.methods or default_row(), bool(spec.methods), settings, variants)


def augmentation_of(spec: RunSpec, source: SequenceSource) -> Augmentation | None:
    """The run's augmentation.

    Raises ValueError for an unknown one, for one that gives other shapes, and for flips that may change classes.
    """
    if not spec.training.augmentation:
        return None
    found = AUGMENTATIONS.get(spec.training.augmentation)
    if found.mirrors:
        _check_mirror(found.id, spec.data.mirror_keeps_class, source)
    with blamed():
        found.check(source.image_shape)
    return found


def _check_mirror(name: str, allowed: bool, source: SequenceSource) -> None:
    known = getattr(source, "mirror_keeps_class", None)
    begin = f"config.training.augmentation = {name!r} mirrors images, and "
    if known is False:
        raise ValueError(
            f"{begin}mirrored images of {source.name} do not keep their classes; expected 'crop' or none"
        )
    if not (known or allowed):
        raise ValueError(
            f"{begin}a mirrored image of {source.name} may be of another class; expected 'crop' or none, or, if you know "
            f"that its class stays, config.data.mirror_keeps_class = True"
        )


def optimiser_axes(spec: RunSpec) -> Axes:
    """The axes of the run's optimiser, with the values that are tried. Raises ValueError for an unknown optimiser."""
    name = spec.training.optimiser
    return tuple((axis, spec.own[f"{name}.{axis}"]) for axis, _ in OPTIMISERS.get(name).axes)


def data_identity(spec: RunSpec, source: SequenceSource, variants: Collection[str]) -> dict[str, Any]:
    """For each variant of the sequence, everything that determines its data besides the run's seed."""
    drawn = "run" if spec.data_seed < 0 else spec.data_seed
    code = source_code(spec.data.dataset)
    return {variant: [source.identity(drawn_from(variant)), drawn, code] for variant in sorted(variants)}


def drawn_from(variant: str) -> str:
    """The variant whose images a variant uses: matched samples are images of the main variant."""
    return "main" if variant in MATCHING_RULES else variant


def _check_images(spec: RunSpec, source: SequenceSource) -> None:
    channels, means = source.image_shape[2], len(spec.input_mean)
    if spec.protocol.input_scaling != "raw" and means != channels:
        raise ValueError(
            f"config.input_mean and config.input_std have {means} numbers, and images of {source.name} have {channels} "
            f"channels; give one number per channel, for example --config.input_mean={(0.449,) * channels} "
            f"--config.input_std={(0.226,) * channels}"
        )


def _check_steps(plan: Plan) -> None:
    later = range(1, plan.num_steps)
    nodes = [each.node for each in plan.planned.values()]
    if plan.spec.data.test_all_steps and not any(has_model_of_every_step(node, later) for node in nodes):
        raise ValueError(
            "config.data.test_all_steps tests the models of all time steps, which only sequential methods and the "
            "joint model have; add one of them to config.methods"
        )


def _check_search(plan: Plan) -> None:
    rules = (stage_rule(s, plan.training) for each in plan.planned.values() for s in all_stages(each.node))
    if plan.training.rule.search == "halving" and all(rule.search == "grid" for rule in rules):
        raise ValueError(
            "config.search = 'halving' needs a stage with two grid points or more, and every stage of this run has one; "
            "give a grid more values, for example --config.grid.dropout=0,0.5, or leave the search at 'grid'"
        )


def _check_networks(plan: Plan) -> None:
    """Builds every network that will be trained; reads the file of pretrained weights once."""
    pretrained = plan.training.pretrained
    for architecture, network in plan.networks.items():
        check_images(network)
        for (name, _), each in plan.planned.items():
            if name == architecture:
                for stage in all_stages(each.node):
                    check_stage(stage, network)
                    _check_resume(stage, plan.training)
                    _check_decay(stage, plan.training)
    if pretrained:
        read_resnet18(pretrained[0])


def _check_decay(stage: Stage, training: Training) -> None:
    """Raises ValueError where an optimiser that decays weights itself would leave an objective's own penalty out."""
    optimiser, kind = training_of(stage, training).optimiser, type(stage.objective)
    if optimiser.decoupled and (kind.network_per_step or kind.penalty is not Objective.penalty):
        raise ValueError(
            f"optimiser {optimiser.id!r} applies the weight decay itself, and the objective {kind.__name__} of stage "
            f"{stage.name!r} weighs a penalty of its own with it, which would be left out; take another "
            f"config.training.optimiser, or leave out the method or option that uses this objective"
        )


def _check_resume(stage: Stage, training: Training) -> None:
    if not stage.resume:
        return
    schedule = training_of(stage, training).optimiser.schedule
    if schedule != "constant":
        raise ValueError(
            f"config.training.schedule = {schedule!r} ends with the epochs that a training is allowed, so that it cannot "
            f"go on to config.joint.resume_to_epochs; expected 'constant', or resume_to_epochs = 0"
        )
    before = stage_rule(stage_of(stage.start), training).max_epochs
    if stage.resume.to_epochs <= before:
        raise ValueError(
            f"config.joint.resume_to_epochs = {stage.resume.to_epochs} counts earlier epochs too: expected more than "
            f"the {before} epochs that config.training.max_epochs and config.training.least_updates allow before, or 0 "
            f"for none"
        )


def make_training(spec: RunSpec, source: SequenceSource) -> Training:
    """The training settings that all stages of the run share."""
    return taken(
        Training,
        spec.training,
        spec.fine_tune,
        spec.protocol,
        rule=taken(StopRule, spec.training, search=spec.search),
        budget=taken(Budget, spec.training),
        samples=training_samples(source),
        scaling=scaling_of(spec, published_scaling_of(source)),
        precision=spec.precision,
        augmentation=augmentation_of(spec, source),
        optimiser=replace(OPTIMISERS.get(spec.training.optimiser), schedule=spec.training.schedule),
        pretrained=_pretrained(spec.pretrained.resnet18),
        checkpoint=_checkpoint(spec.pretrained.checkpoint),
    )


def training_samples(source: SequenceSource) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Training samples of each step, by variant; a matched variant has as many at every step as at the final one."""
    sizes = {variant: training_sizes_of(source, variant) for variant in source.variants}
    matched = (sizes["main"][-1],) * len(sizes["main"])
    return tuple(sorted({**sizes, **dict.fromkeys(MATCHING_RULES, matched)}.items()))


def _pretrained(path: str) -> tuple[str, str] | None:
    return (path, content_digest(path)) if path else None


def _checkpoint(path: str) -> tuple[str, str] | None:
    return (path, checkpoint_digest(path)) if path else None

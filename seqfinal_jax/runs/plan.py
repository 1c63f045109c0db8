"""A checked run: which cells, from which data, with which stages."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
from ml_collections import ConfigDict

from seqfinal_jax.config import build, read
from seqfinal_jax.config.check import check_config, refuse_repeats
from seqfinal_jax.data.matching.links import MATCHING_RULES
from seqfinal_jax.data.sequences.source import (
    SequenceSource,
    named_steps,
    published_scaling_of,
    sequence_source,
    source_code,
    training_sizes_of,
)
from seqfinal_jax.methods.joint_options import STRENGTHS
from seqfinal_jax.methods.method_plan import MethodPlan, MethodPlans, plan_methods
from seqfinal_jax.methods.nodes import Node, Stage, all_stages, has_model_of_every_step, stage_of
from seqfinal_jax.methods.recipes import default_row, method_id
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.fingerprint import node_fingerprint
from seqfinal_jax.methods.stages.network import check_stage, stage_rule
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models import Network, build_network
from seqfinal_jax.models.convert.checkpoint import check_checkpoint, checkpoint_digest
from seqfinal_jax.models.convert.pretrained import check_network, content_digest, read_resnet18
from seqfinal_jax.models.families.architectures import split_name
from seqfinal_jax.models.network import check_images
from seqfinal_jax.records.plugins import load_plugins, names_of
from seqfinal_jax.runs.effects import refuse_idle_fields


@dataclass(frozen=True)
class Plan:
    """A checked run: which cells, from which data, with which stages.

    config: as it was given, to be recorded; the other fields contain everything that a run takes from it. training: the
    settings that all stages share. networks: by architecture. identity: for each variant of the sequence, everything
    that determines its data besides the run's seed. planned: the plan of each (architecture, method); methods that an
    architecture does not have are missing there and named in `left_out`. warnings: messages for the user before the
    start.
    """

    config: ConfigDict
    name: str
    protocol: str
    methods: tuple[str, ...]
    architectures: tuple[str, ...]
    seeds: tuple[int, ...]
    source: SequenceSource
    training: Training
    networks: dict[str, Network]
    identity: dict[str, Any]
    planned: dict[tuple[str, str], MethodPlan]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def node(self, architecture: str, method: str) -> Node:
        """The recipe of a cell."""
        return self.planned[architecture, method].node

    def cells(self) -> Iterator[tuple[str, str, int]]:
        """Every cell (architecture, method, seed), in order."""
        for architecture in self.architectures:
            for method in self.methods:
                if (architecture, method) in self.planned:
                    yield from ((architecture, method, seed) for seed in self.seeds)

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

    def fingerprint(self, architecture: str, method: str) -> str:
        """Hash of everything that determines a cell's model, except its seed."""
        network = self.networks[architecture]
        return node_fingerprint(self.node(architecture, method), network, self.training, self.identity)


def make_plan(config: ConfigDict, data_dir: str | None = None, overrides: Collection[str] = ()) -> Plan:
    """Checks everything that can be checked before training.

    `overrides` names the fields that the command line set. Raises ValueError, whose message says what to change.
    """
    load_plugins(names_of(config.plugins))
    build.add_own_fields(config)
    settled = build.settle_budget(config, overrides)
    check_config(config)
    architectures = build.chosen_architectures(config, jax.default_backend())
    seeds = tuple(config.seeds) or build.hardware_defaults(jax.default_backend())["seeds"]
    methods = tuple(map(method_id, build.split_names(config.methods)))
    _check_names(methods, architectures, seeds)
    source = sequence_source(read.sequence_request(config, data_dir))
    _check_images(config, source)
    plan = planned(config, source, methods, architectures, seeds)
    plan = replace(plan, warnings=(*plan.warnings, *settled))
    _check_steps(plan)
    _check_networks(plan)
    _check_search(plan)

    def fingerprints(other: ConfigDict, names: tuple[str, ...]) -> list[str]:
        alike = sequence_source(read.sequence_request(other, data_dir), source)
        found = planned(other, alike, names, architectures, seeds)
        return [found.fingerprint(*place) for place in found.planned]

    refuse_idle_fields(config, overrides, methods, architectures, fingerprints, _filled(config, source))
    return plan


def _filled(config: ConfigDict, source: SequenceSource) -> dict[str, Any]:
    """The values that fields take where they are not set."""
    budget = {f"training.{name}": value for name, value in build.BUDGET.items()}
    strengths = STRENGTHS[config.joint.adjacent_penalty]
    return {**budget, "joint_grid.adjacent": strengths, "data.steps": named_steps(source)}


def _check_names(methods: tuple[str, ...], architectures: tuple[str, ...], seeds: tuple[int, ...]) -> None:
    """Raises ValueError for names that are unknown or stand twice."""
    for field, values in (("methods", methods), ("architectures", architectures), ("seeds", seeds)):
        refuse_repeats(values, field)
    for name in architectures:
        split_name(name)


def planned(
    config: ConfigDict,
    source: SequenceSource,
    methods: tuple[str, ...],
    architectures: tuple[str, ...],
    seeds: tuple[int, ...],
) -> Plan:
    """The plan of a checked configuration; without methods, that of the published row and its controls.

    Raises ValueError for options and methods that do not work together.
    """
    found = planned_methods(config, source, methods, architectures)
    variants = {stage.variant for each in found.found.values() for stage in all_stages(each.node)}
    sizes = read.network_config(config, tuple(source.image_shape))
    classes = len(source.class_names)
    networks = {name: build_network(name, classes, sizes, config.precision) for name in architectures}
    _check_start(config, networks)
    ids = tuple(dict.fromkeys(method for _, method in found.found))
    return Plan(
        config, config.name, read.protocol_name(config), ids, architectures, seeds, source, make_training(config, source),
        networks, data_identity(config, source, {"main", *variants}), found.found, found.left_out, found.warnings,
    )  # fmt: skip


def _check_start(config: ConfigDict, networks: Mapping[str, Network]) -> None:
    """Raises ValueError where the networks cannot start from the weights that the configuration names."""
    resnet18, own = config.pretrained.resnet18, config.pretrained.checkpoint
    if resnet18 and own:
        raise ValueError(
            "config.pretrained.resnet18 and config.pretrained.checkpoint exclude each other; give one"
        )
    for network in networks.values():
        if resnet18:
            check_network(network)
        if own:
            check_checkpoint(network, own)


def planned_methods(
    config: ConfigDict, source: SequenceSource, methods: tuple[str, ...], architectures: tuple[str, ...]
) -> MethodPlans:
    """The nodes of all methods; of the published row and its controls where none is named."""
    options, own = read.options(config), read.own_values(config)
    grid, joint_grid = read.grid(config), read.grid(config, "joint_grid")
    settings = {
        name: Setting(len(source.sizes("main")), grid, *split_name(name), options, joint_grid, fields=own)
        for name in architectures
    }
    variants = {*source.variants, *MATCHING_RULES}
    return plan_methods(methods or default_row(), bool(methods), settings, variants)


def data_identity(config: ConfigDict, source: SequenceSource, variants: Collection[str]) -> dict[str, Any]:
    """For each variant of the sequence, everything that determines its data besides the run's seed."""
    drawn = "run" if config.data_seed < 0 else config.data_seed
    code = source_code(config.data.dataset)
    return {variant: [source.identity(drawn_from(variant)), drawn, code] for variant in sorted(variants)}


def drawn_from(variant: str) -> str:
    """The variant whose images a variant uses: matched samples are images of the main variant."""
    return "main" if variant in MATCHING_RULES else variant


def _check_images(config: ConfigDict, source: SequenceSource) -> None:
    channels, means = source.image_shape[2], len(config.input_mean)
    if config.protocol.input_scaling != "raw" and means != channels:
        raise ValueError(
            f"config.input_mean and config.input_std have {means} numbers, and images of {source.name} have {channels} "
            f"channels; give one number per channel, for example --config.input_mean={(0.449,) * channels} "
            f"--config.input_std={(0.226,) * channels}"
        )


def _check_steps(plan: Plan) -> None:
    later = range(1, plan.num_steps)
    nodes = [each.node for each in plan.planned.values()]
    if plan.config.data.test_all_steps and not any(has_model_of_every_step(node, later) for node in nodes):
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
    if pretrained:
        read_resnet18(pretrained[0])


def _check_resume(stage: Stage, training: Training) -> None:
    if not stage.resume:
        return
    before = stage_rule(stage_of(stage.start), training).max_epochs
    if stage.resume.to_epochs <= before:
        raise ValueError(
            f"config.joint.resume_to_epochs = {stage.resume.to_epochs} counts earlier epochs too: expected more than "
            f"the {before} epochs that config.training.max_epochs and config.training.least_updates allow before, or 0 "
            f"for none"
        )


def make_training(config: ConfigDict, source: SequenceSource) -> Training:
    """The training settings that all stages of the run share."""
    return Training(
        rule=read.stop_rule(config),
        budget=read.budget(config),
        samples=training_samples(source),
        batch_size=config.training.batch_size,
        scaling=read.input_scaling(config, published_scaling_of(source)),
        train_metrics=config.training.train_metrics,
        init_per_grid_point=config.training.init_per_grid_point,
        precision=config.precision,
        freeze_batch_stats=config.fine_tune.freeze_batch_stats,
        penalise_bn=config.protocol.penalise_bn,
        fisher=config.fine_tune.fisher,
        pretrained=_pretrained(config.pretrained.resnet18),
        checkpoint=_checkpoint(config.pretrained.checkpoint),
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

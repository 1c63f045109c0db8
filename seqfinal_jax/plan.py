"""A checked run: which cells, from which data, with which stages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
from ml_collections import ConfigDict

from seqfinal_jax import config as configuration
from seqfinal_jax.data.sequence_spec import SequenceSpec, fingerprint, sequence_spec
from seqfinal_jax.data.sources import Source, load_source
from seqfinal_jax.methods.method_plan import MethodPlan, plan_methods
from seqfinal_jax.methods.nodes import Node, Stage, all_stages, has_model_of_every_step
from seqfinal_jax.methods.options import Options
from seqfinal_jax.methods.recipes import METHODS, published_row
from seqfinal_jax.methods.setting import Setting
from seqfinal_jax.methods.stages.network import freezes, stage_network
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models import Network, build_network
from seqfinal_jax.models.architectures import split_name
from seqfinal_jax.models.pretrained import check_network, content_digest, read_resnet18
from seqfinal_jax.plugins import load_plugins


@dataclass(frozen=True)
class Plan:
    """A checked run: which cells, from which data, with which stages.

    planned: what each (architecture, method) does; methods that an architecture does not have are missing there and
    named in `left_out`. warnings: what the user should know before it starts.
    """

    config: ConfigDict
    methods: tuple[str, ...]
    architectures: tuple[str, ...]
    seeds: tuple[int, ...]
    source: Source
    specs: dict[str, SequenceSpec]
    planned: dict[tuple[str, str], MethodPlan]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def node(self, architecture: str, method: str) -> Node:
        """The recipe of a cell."""
        return self.planned[architecture, method].node

    def cells(self) -> Iterator[tuple[str, str, int]]:
        """Every (architecture, method, seed) in order."""
        for architecture in self.architectures:
            for method in self.methods:
                if (architecture, method) in self.planned:
                    yield from ((architecture, method, seed) for seed in self.seeds)

    @property
    def num_classes(self) -> int:
        """Classes of the data set."""
        return self.source.num_classes

    def data_seed(self, seed: int) -> int:
        """The seed of the data draws of a run's seed."""
        return seed if self.config.data_seed < 0 else self.config.data_seed

    def network(self, architecture: str) -> Network:
        """The network of an architecture name."""
        size, channels = self.source.train_images.shape[1], self.source.train_images.shape[3]
        return build_network(
            architecture, self.num_classes, configuration.network_config(self.config, size, channels)
        )

    def data_identity(self) -> dict[str, Any]:
        """For each variant of the sequence, what determines its data besides the run's seed."""
        fixed = self.config.data_seed
        return {
            variant: [
                fingerprint(replace(spec, seed=max(fixed, 0)), self.source),
                "run" if fixed < 0 else "fixed",
            ]
            for variant, spec in self.specs.items()
        }


def make_plan(config: ConfigDict, data_dir: str | None = None) -> Plan:
    """Checks everything that can be checked before training; raises ValueError with what to mend."""
    load_plugins(configuration.split_names(config.plugins))
    configuration.check_config(config)
    defaults = configuration.hardware_defaults(jax.default_backend())
    asked = tuple(METHODS.named(name) for name in configuration.split_names(config.methods))
    architectures = configuration.split_names(config.architectures) or defaults["architectures"]
    seeds = tuple(config.seeds) or defaults["seeds"]
    for field, values in (("methods", asked), ("architectures", architectures), ("seeds", seeds)):
        configuration.refuse_repeats(values, field)
    for seed in seeds:
        if not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ValueError(f"config.seeds: expected whole numbers 0..{2**32 - 1}, found {seed!r}")
    options = configuration.options(config)
    planned = plan_methods(asked or published_row(), bool(asked), _settings(config, options, architectures))
    _check_steps(config, planned.found.values())
    nodes = [each.node for each in planned.found.values()]
    _check_unused(config, all_stages(*nodes))
    specs = _specs(config, {stage.variant for stage in all_stages(*nodes)})
    source = load_source(config.data.dataset, data_dir)
    methods = tuple(dict.fromkeys(method for _, method in planned.found))
    plan = Plan(
        config,
        methods,
        architectures,
        seeds,
        source,
        specs,
        planned.found,
        planned.left_out,
        planned.warnings,
    )
    _check_networks(plan)
    return plan


def _settings(config: ConfigDict, options: Options, architectures: Sequence[str]) -> dict[str, Setting]:
    num_steps, grid = len(config.data.target_sizes) + 1, configuration.grid(config)
    joint_grid = configuration.grid(config, "joint_grid")
    return {name: Setting(num_steps, grid, *split_name(name), options, joint_grid) for name in architectures}


def _check_steps(config: ConfigDict, planned: Sequence[MethodPlan]) -> None:
    later = range(1, len(config.data.target_sizes) + 1)
    if config.data.test_all_steps and not any(has_model_of_every_step(each.node, later) for each in planned):
        raise ValueError(
            "config.data.test_all_steps tests the models of all time steps, which only sequential methods and the "
            "joint model have; add one of them to config.methods"
        )


def _check_unused(config: ConfigDict, stages: Sequence[Stage]) -> None:
    """Raises ValueError for an option of the training that reaches no stage."""
    tune = config.fine_tune
    if tune.fisher != "batch_sums" and not any("fisher" in stage.objective.reads for stage in stages):
        raise ValueError(
            f"config.fine_tune.fisher = {tune.fisher!r}, and no method has a penalty with Fisher weights; add "
            f"sequential_ewc or set config.fine_tune.regularization to 'fisher', or leave it at 'batch_sums'"
        )
    if tune.freeze_batch_stats and not any(map(freezes, stages)):
        raise ValueError(
            "config.fine_tune.freeze_batch_stats is on, and no method of this run freezes anything; leave it off, or add "
            "one that does, such as erm_linear_probe_fine_tune or erm_side_tune_block"
        )


def _check_networks(plan: Plan) -> None:
    """Builds every network that will be trained; reads the file of pretrained weights once."""
    pretrained = plan.config.pretrained.resnet18
    for architecture in plan.architectures:
        network = plan.network(architecture)
        if pretrained:
            check_network(network)
        for (name, _), each in plan.planned.items():
            if name == architecture:
                for stage in all_stages(each.node):
                    stage_network(network, stage.form)
    if pretrained:
        read_resnet18(pretrained)


def _specs(config: ConfigDict, variants: set[str]) -> dict[str, SequenceSpec]:
    """What is drawn for each variant of the sequence; samples that stand in for others come from the main one."""
    specs = {"main": _spec(config, config.data.target_sizes)}
    if "oracle" in variants:
        specs["oracle"] = _spec(config, (*config.data.target_sizes[:-1], config.oracle_size))
    return specs | dict.fromkeys(sorted(variants - specs.keys()), specs["main"])


def _spec(config: ConfigDict, target_sizes: Sequence[int]) -> SequenceSpec:
    data = config.data
    return sequence_spec(
        data.dataset,
        data.shifts,
        data.source_size,
        tuple(target_sizes),
        data.test_size,
        seed=max(config.data_seed, 0),
        subpop_sizes=config.protocol.subpop_sizes,
        test_all_steps_draws=config.protocol.test_all_steps_draws,
        test_all_steps=data.test_all_steps,
        disjoint=data.disjoint,
    )


def make_training(config: ConfigDict) -> Training:
    """What every stage of the run has in common."""
    return Training(
        rule=configuration.stop_rule(config),
        batch_size=config.training.batch_size,
        scaling=configuration.input_scaling(config),
        train_metrics=config.training.train_metrics,
        init_per_grid_point=config.training.init_per_grid_point,
        precision=config.precision,
        freeze_batch_stats=config.fine_tune.freeze_batch_stats,
        penalise_bn=config.protocol.penalise_bn,
        fisher=config.fine_tune.fisher,
        pretrained=_pretrained(config.pretrained.resnet18),
    )


def _pretrained(path: str) -> tuple[str, str] | None:
    return (path, content_digest(path)) if path else None

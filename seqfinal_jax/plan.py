"""A checked run: which cells, from which data, with which stages."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
from ml_collections import ConfigDict

from seqfinal_jax import config as configuration
from seqfinal_jax.data.sequence_spec import SequenceSpec, fingerprint, sequence_spec
from seqfinal_jax.data.sources import Source, load_source
from seqfinal_jax.methods.names import METHODS, method_id
from seqfinal_jax.methods.recipe import RECIPES, Setting, Stage, build_recipe
from seqfinal_jax.methods.stage_fit import Training
from seqfinal_jax.models import Network, build_network


@dataclass(frozen=True)
class Plan:
    """A checked run: which cells, from which data, with which stages."""

    config: ConfigDict
    methods: tuple[str, ...]
    architectures: tuple[str, ...]
    seeds: tuple[int, ...]
    source: Source
    specs: dict[str, SequenceSpec]
    stages: dict[str, Stage]

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
    configuration.check_config(config)
    defaults = configuration.hardware_defaults(jax.default_backend())
    names = configuration.split_names(config.methods) or tuple(m for m in METHODS if m in RECIPES)
    methods = tuple(method_id(name) for name in names)
    architectures = configuration.split_names(config.architectures) or defaults["architectures"]
    seeds = tuple(config.seeds) or defaults["seeds"]
    for field, values in (("methods", methods), ("architectures", architectures), ("seeds", seeds)):
        configuration.refuse_repeats(values, field)
    for seed in seeds:
        if not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ValueError(f"config.seeds: expected whole numbers 0..{2**32 - 1}, found {seed!r}")
    num_steps = len(config.data.target_sizes) + 1
    setting = Setting(num_steps, configuration.grid(config))
    stages = {method: build_recipe(method, setting) for method in methods}
    specs = {"main": _spec(config, config.data.target_sizes)}
    if any(stage.variant == "oracle" for final in stages.values() for stage in final.chain()):
        specs["oracle"] = _spec(config, (*config.data.target_sizes[:-1], config.oracle_size))
    source = load_source(config.data.dataset, data_dir)
    plan = Plan(config, methods, architectures, seeds, source, specs, stages)
    for architecture in architectures:
        plan.network(architecture)
    return plan


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
    )

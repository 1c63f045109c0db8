"""The network that a stage trains, the rule by which its trainings stop, and the training settings that affect it."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from seqfinal_jax.methods.nodes import Model, Node, Stage, StepForm, all_stages, stage_of
from seqfinal_jax.methods.stages.training import Budget, Training
from seqfinal_jax.models.network import AnyNetwork, Network
from seqfinal_jax.models.per_step.network import build_steps
from seqfinal_jax.training.engine.early_stopping import StopRule


@lru_cache(maxsize=4096)
def stage_rule(stage: Stage, training: Training) -> StopRule:
    """The rule by which a stage's trainings stop, and whether their start may be selected as the best epoch.

    The budget in updates allows more epochs and more patience than the run's rule where epochs are short. A stage may
    have its own smaller limit of epochs, continue to a larger one, or have the limit of several other stages together.
    """
    rule = replace(
        training.rule,
        start=training.rule.ties == "first" or not begins_random(stage),
        search="grid" if stage.num_members(2) == 1 else training.rule.search,
        keep=stage.keep,
    )
    if stage.allowed_as:
        most = _epochs_for(_updates_allowed(stage.allowed_as, training), stage, training)
        return replace(rule, max_epochs=most, patience=most)
    patience = stage.resume.patience if stage.resume else rule.patience
    patience = max(patience, _epochs_for(training.budget.patience_updates, stage, training))
    most = max(rule.max_epochs, _epochs_for(training.budget.least_updates, stage, training))
    most = stage.resume.to_epochs if stage.resume else min(most, stage.max_epochs or most)
    return replace(rule, max_epochs=most, patience=most if stage.keep == "last" else patience)


def _epochs_for(updates: int, stage: Stage, training: Training) -> int:
    """The least epochs of a stage that hold so many updates."""
    return -(-updates // minibatches(stage, training)) if updates else 0


def _updates_allowed(nodes: tuple[Node, ...], training: Training) -> int:
    """The updates that all stages of these nodes are allowed together."""
    stages = all_stages(*nodes)
    return sum(stage_rule(each, training).max_epochs * minibatches(each, training) for each in stages)


def minibatches(stage: Stage, training: Training) -> int:
    """The minibatches, hence updates, of an epoch of a stage: those of its driving stream, by default the longest."""
    samples = dict(training.samples)[stage.variant]
    streams = stage.objective.streams(stage.train, lambda step, split: np.arange(samples[step]))
    driver = stage.objective.driver(streams)
    driving = streams if driver is None else [streams[driver]]
    return max(stream.num_batches(training.batch_size) for stream in driving)


@lru_cache(maxsize=256)
def stage_network(network: Network, form: StepForm | None) -> AnyNetwork:
    """The network that a stage trains; raises ValueError where the architecture does not allow the form."""
    if form is None:
        return network
    steps = build_steps(
        network,
        form.num_steps,
        form.mode,
        form.separate,
        side=form.side,
        adapter=form.adapter,
        all_layers_efficient=form.all_layers_efficient,
    )
    return replace(steps, ablated=form.ablate)


def check_stage(stage: Stage, network: Network) -> None:
    """Raises ValueError where the architecture does not allow a stage's form, or has no weight that a sweep varies."""
    own = stage_network(network, stage.form)
    if stage.grid.efficient_decay and not own.has_efficient_versions:
        raise ValueError(
            f"config.joint.sweep_efficient_penalty varies the decay of small side modules and adapters, and no weight of "
            f"{network.name} in this form is one; give config.side.layer_sizes numbers, take another network, or leave "
            f"the sweep out"
        )


def freezes(stage: Model) -> bool:
    """Whether a stage freezes a part of its network."""
    if not isinstance(stage, Stage):
        return False
    if stage.objective.network_per_step:
        return stage.form.ablate
    return bool(stage.layers) or stage.form is not None


def draws_weights(stage: Model) -> bool:
    """Whether a stage's start variables hold random (or pretrained) weights."""
    return isinstance(stage, Stage) and (stage.start is None or stage.fresh or stage.form is not None)


def begins_random(stage: Stage) -> bool:
    """Whether some of the weights that a stage trains start at random, so that its start is not a usable model."""
    if stage.resume:
        return begins_random(stage_of(stage.start))
    copied = stage.form is not None and stage.form.init_last == "previous" and stage.start is not None
    return draws_weights(stage) and not copied


def training_of(stage: Model, training: Training) -> Training:
    """The training settings that affect the stage: its own rule, and defaults for settings that do not affect it.

    So a setting without effect does not change the fingerprint, and the stage is not fitted again when it is changed.
    """
    rule = stage_rule(stage, training) if isinstance(stage, Stage) else StopRule()
    optimiser = getattr(stage, "optimiser", None) or training.optimiser
    training = replace(training, rule=rule, budget=Budget(), samples=(), optimiser=optimiser)
    reaching = {*stage.objective.reads}
    if freezes(stage):
        reaching.add("freeze_batch_stats")
    if draws_weights(stage):
        reaching |= {"pretrained", "checkpoint", "init_per_grid_point"}
    optional = (
        "freeze_batch_stats",
        "penalise_bn",
        "fisher",
        "pretrained",
        "checkpoint",
        "init_per_grid_point",
    )
    fields = Training.__dataclass_fields__
    return replace(training, **{name: fields[name].default for name in optional if name not in reaching})

"""The network that a stage trains, when its members stop, and which of the run's training settings reach it."""

from dataclasses import replace
from functools import lru_cache

from seqfinal_jax.methods.nodes import Model, Stage, StepForm
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import Network
from seqfinal_jax.models.per_step.ablation import ablated_network
from seqfinal_jax.models.per_step.network import StepNetwork, build_steps
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.objectives.step_penalties import is_efficient


def stage_rule(stage: Stage, training: Training) -> StopRule:
    """When a stage's members stop: as the run says, sooner where the stage has fewer epochs, later where it resumes."""
    if stage.resume:
        return replace(training.rule, max_epochs=stage.resume.to_epochs, patience=stage.resume.patience)
    most = training.rule.max_epochs
    return replace(training.rule, max_epochs=min(most, stage.max_epochs or most))


@lru_cache(maxsize=256)
def stage_network(network: Network, form: StepForm | None) -> Network | StepNetwork:
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
    return ablated_network(steps) if form.ablate else steps


def check_stage(stage: Stage, network: Network) -> None:
    """Raises ValueError where the architecture does not allow a stage's form, or has no weight that a sweep varies."""
    steps = stage_network(network, stage.form)
    if not stage.grid.efficient_decay:
        return
    if not (isinstance(steps, StepNetwork) and any(is_efficient(steps, each) for each in steps.group_names)):
        raise ValueError(
            f"config.joint.sweep_efficient_penalty varies the decay of small side modules and adapters, and no weight of "
            f"{network.name} in this form is one; give config.side.layer_sizes numbers, take another network, or leave "
            f"the sweep out"
        )


def freezes(stage: Model) -> bool:
    """Whether a stage leaves some of its network as it is."""
    if not isinstance(stage, Stage):
        return False
    if stage.objective.network_per_step:
        return stage.form.ablate
    return bool(stage.layers) or stage.form is not None


def draws_weights(stage: Model) -> bool:
    """Whether a stage's start variables hold random (or pretrained) weights."""
    return isinstance(stage, Stage) and (stage.start is None or stage.fresh or stage.form is not None)


def training_of(stage: Model, training: Training) -> Training:
    """The training settings with those that do not reach the stage at their defaults.

    So a setting that changes nothing changes no fingerprint, and a stage is fitted once whatever it is set to.
    """
    reaching = {*stage.objective.reads}
    if freezes(stage):
        reaching.add("freeze_batch_stats")
    if draws_weights(stage):
        reaching |= {"pretrained", "init_per_grid_point"}
    optional = ("freeze_batch_stats", "penalise_bn", "fisher", "pretrained", "init_per_grid_point")
    fields = Training.__dataclass_fields__
    return replace(training, **{name: fields[name].default for name in optional if name not in reaching})

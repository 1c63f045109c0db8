"""What every stage of a run has in common, and the network that a stage trains."""

from dataclasses import dataclass, replace
from functools import lru_cache

from seqfinal_jax.methods.recipe import Form, Stage
from seqfinal_jax.models.ablation import ablated_network
from seqfinal_jax.models.groups import PenaliseBatchNorm
from seqfinal_jax.models.network import Network
from seqfinal_jax.models.per_step import StepNetwork, build_steps
from seqfinal_jax.training.early_stopping import StopRule
from seqfinal_jax.training.objectives import InputScaling


@dataclass(frozen=True)
class Training:
    """What every stage of a run has in common.

    pretrained: a file of ImageNet weights that takes the place of random ones, and its content's digest.
    """

    rule: StopRule
    batch_size: int
    scaling: InputScaling
    train_metrics: str = "running"
    init_per_grid_point: bool = False
    precision: str = "highest"
    freeze_batch_stats: bool = False
    penalise_bn: PenaliseBatchNorm = "none"
    fisher: str = "batch_sums"
    pretrained: tuple[str, str] | None = None


def stage_rule(stage: Stage, training: Training) -> StopRule:
    """When a stage's members stop: as the run says, sooner where the stage has fewer epochs, later where it resumes."""
    if stage.resume:
        return replace(training.rule, max_epochs=stage.resume.to_epochs, patience=stage.resume.patience)
    most = training.rule.max_epochs
    return replace(training.rule, max_epochs=min(most, stage.max_epochs or most))


@lru_cache(maxsize=256)
def stage_network(network: Network, form: Form | None) -> Network | StepNetwork:
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

"""What every stage of a run has in common."""

from dataclasses import dataclass

from seqfinal_jax.models.parts.groups import PenaliseBatchNorm
from seqfinal_jax.models.parts.precision import Precision
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.objectives.risk import InputScaling


@dataclass(frozen=True)
class Budget:
    """A budget in optimiser updates, for stages whose epochs are short; 0 for none.

    least_updates: every fit is allowed so many at least, even where these are more epochs than the rule's.
    patience_updates: the rule's patience is raised to as many epochs as hold so many updates.
    """

    least_updates: int = 0
    patience_updates: int = 0


@dataclass(frozen=True)
class Training:
    """What every stage of a run has in common.

    rule: when fits stop, before the budget and the stage's own wishes (`stages.network.stage_rule`).
    samples: training samples of each time step, by variant of the sequence, from which updates are counted.
    pretrained: a file of ImageNet weights that takes the place of random ones, and its content's digest.
    """

    rule: StopRule
    batch_size: int
    scaling: InputScaling
    train_metrics: str = "running"
    init_per_grid_point: bool = False
    precision: Precision = "highest"
    freeze_batch_stats: bool = False
    penalise_bn: PenaliseBatchNorm = "none"
    fisher: str = "batch_sums"
    pretrained: tuple[str, str] | None = None
    budget: Budget = Budget()
    samples: tuple[tuple[str, tuple[int, ...]], ...] = ()

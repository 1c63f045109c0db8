"""What every stage of a run has in common."""

from dataclasses import dataclass

from seqfinal_jax.models.parts.groups import PenaliseBatchNorm
from seqfinal_jax.models.parts.precision import Precision
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.objectives.risk import InputScaling


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
    precision: Precision = "highest"
    freeze_batch_stats: bool = False
    penalise_bn: PenaliseBatchNorm = "none"
    fisher: str = "batch_sums"
    pretrained: tuple[str, str] | None = None

"""The training settings that all stages of a run share."""

from dataclasses import dataclass

from seqfinal_jax.models.parts.groups import PenaliseBatchNorm
from seqfinal_jax.models.parts.precision import Precision
from seqfinal_jax.training.augmentations import Augmentation
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.optimisers import ADAM, Optimiser
from seqfinal_jax.training.objectives.risk import InputScaling


@dataclass(frozen=True)
class Budget:
    """A budget in optimiser updates, for stages whose epochs are short; 0 for none.

    least_updates: every training is allowed at least this number, even where this takes more epochs than the rule allows.
    patience_updates: the rule's patience is raised to the number of epochs that contain this number of updates.
    """

    least_updates: int = 0
    patience_updates: int = 0


@dataclass(frozen=True)
class Training:
    """The training settings that all stages of a run share.

    rule: the rule for stopping, before the budget and the stage's own limits are applied (`stages.network.stage_rule`).
    samples: training samples of each time step, by variant of the sequence, from which updates are counted.
    pretrained: a file of ImageNet weights that replace the random ones, and the digest of its contents.
    checkpoint: the same for weights of the user's own.
    optimiser: the optimiser of every stage that has none of its own, with the schedule of its learning rate.
    augmentation: the random change of training images, or None.
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
    checkpoint: tuple[str, str] | None = None
    budget: Budget = Budget()
    samples: tuple[tuple[str, tuple[int, ...]], ...] = ()
    optimiser: Optimiser = ADAM
    augmentation: Augmentation | None = None

"""The objectives that recipes give to their stages, under the names by which users' files import them."""

from seqfinal_jax.training.objectives.anchored import Anchor, Anchored
from seqfinal_jax.training.objectives.joint_risk import JointSteps
from seqfinal_jax.training.objectives.last_step import LastStep
from seqfinal_jax.training.objectives.multi_domain import Domains, Invariant, WorstDomain
from seqfinal_jax.training.objectives.risk import Objective, Pooled

StageObjective = Objective

__all__ = [
    "Anchor",
    "Anchored",
    "Domains",
    "Invariant",
    "JointSteps",
    "LastStep",
    "Pooled",
    "StageObjective",
    "WorstDomain",
]

for kind in (Anchored, Domains, Invariant, JointSteps, LastStep, Pooled, WorstDomain):
    kind.__module__ = (
        __name__  # fingerprints hold a class's module: results from before the classes moved stay
    )

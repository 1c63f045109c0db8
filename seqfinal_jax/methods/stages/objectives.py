"""Objectives of stages, one frozen data class for each kind: the minibatches and the loss of a training.

An objective of a stage defines the streams of minibatches that it draws, the sets that are evaluated, and the risk of the
engine (`seqfinal_jax.training`) that is minimised. Its class, fields and `version` are part of the stage's fingerprint.
A new kind is a subclass, here or in a user's file; usually only `risk_class` differs from `Pooled`:

    @dataclass(frozen=True)
    class SmoothedRisk(EmpiricalRisk):
        def sample_losses(self, logits, labels, hyper): ...

    @dataclass(frozen=True)
    class Smoothed(Pooled):
        risk_class = SmoothedRisk
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.network import AnyNetwork, Network, Variables
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, driving_first
from seqfinal_jax.training.objectives.anchored import AnchoredRisk, anchor_constants
from seqfinal_jax.training.objectives.fisher import fisher_of
from seqfinal_jax.training.objectives.joint_risk import JointRisk
from seqfinal_jax.training.objectives.last_step import LastStepRisk
from seqfinal_jax.training.objectives.multi_domain import InvariantRisk, WorstDomainRisk
from seqfinal_jax.training.objectives.risk import EmpiricalRisk, Objective

Steps = tuple[int, ...]
Rows = Callable[[int, str], np.ndarray]  # (time step, split) -> row numbers of the images
TRAIN_OVER_FORWARD = 3.0


@dataclass(frozen=True)
class Anchor:
    """A model towards which an objective has a penalty, with the samples and loss weights of its training."""

    variables: Variables
    trained_on: EvaluationSet


@dataclass(frozen=True)
class StageObjective:
    """The interface of objectives, with the behaviour that most of them share.

    version: raise it when the code changes so that the same fields give other results.
    risk_class: the engine's objective. reads: the fields of `Training` that it depends on, in addition to those that
    every stage reads.
    network_per_step: every time step has its own network, and all are trained at once.
    """

    version: ClassVar[int] = 1
    risk_class: ClassVar[type[Objective]] = EmpiricalRisk
    reads: ClassVar[tuple[str, ...]] = ()
    network_per_step: ClassVar[bool] = False

    def risk(self, network: AnyNetwork, training: Training) -> Objective:
        """The engine's objective for a network."""
        return self.risk_class(network, training.scaling, training.freeze_batch_stats)

    def streams(self, train: Steps, rows: Rows) -> list[Stream]:
        """The streams of minibatches over the training steps: one for each step."""
        return [Stream(step, rows(step, "train")) for step in train]

    def in_order(self, streams: Sequence[Stream], batch_size: int, drop_single: bool) -> Sequence[Stream]:
        """The streams in the order in which a minibatch holds them."""
        return streams

    def evaluation(
        self, train: Steps, valid: Steps, rows: Rows, with_train: bool
    ) -> dict[str, EvaluationSet]:
        """The set "valid", which is used for selection, and "train" if it is requested."""
        chosen = np.concatenate([rows(step, "valid") for step in valid])
        sets = {"valid": EvaluationSet(valid[-1], chosen)}
        return sets | {"train": self.training_set(train, rows)} if with_train else sets

    def training_set(self, train: Steps, rows: Rows) -> EvaluationSet:
        """All training samples in stored order, with their loss weights."""
        streams = self.streams(train, rows)
        return EvaluationSet(streams[-1].step, np.concatenate([s.rows for s in streams]), streams[0].weights)

    def constants(
        self, network: Network, training: Training, data: dict[str, Any], anchors: Sequence[Anchor]
    ) -> Any:
        """Arrays that stay fixed during the fit of one seed; None where there are none."""
        return None

    def operations(
        self,
        train: Steps,
        valid: Steps,
        sizes: Sequence[int],
        forward: Callable[[int], float],
        batch_size: int,
    ) -> float:
        """Floating-point operations of an epoch; `sizes`: samples per step, `forward(step)`: those of a sample's pass."""
        trained = 0.8 * sum(sizes[step] for step in train)
        checked = 0.2 * sum(sizes[step] for step in valid)
        return forward(valid[-1]) * (TRAIN_OVER_FORWARD * trained + checked)


@dataclass(frozen=True)
class Pooled(StageObjective):
    """Empirical risk over all training steps as one set; `weights`, if given, has one loss weight for each step."""

    weights: tuple[float, ...] | None = None

    def streams(self, train: Steps, rows: Rows) -> list[Stream]:
        """One stream of all steps."""
        parts, weights = [rows(step, "train") for step in train], None
        if self.weights is not None:
            weights = np.concatenate([np.full(len(p), w) for p, w in zip(parts, self.weights, strict=True)])
        return [Stream(train[-1], np.concatenate(parts), weights)]


@dataclass(frozen=True)
class Domains(StageObjective):
    """Every training step is a domain with a stream of its own."""

    def in_order(self, streams: Sequence[Stream], batch_size: int, drop_single: bool) -> Sequence[Stream]:
        """The longest stream first."""
        return driving_first(streams, batch_size, drop_single)


@dataclass(frozen=True)
class Invariant(Domains):
    """Invariant risk minimisation over domains."""

    risk_class = InvariantRisk


@dataclass(frozen=True)
class WorstDomain(Domains):
    """The risk of the worst domain (group DRO with a hard maximum)."""

    risk_class = WorstDomainRisk


@dataclass(frozen=True)
class Anchored(Pooled):
    """Pooled risk with a penalty towards earlier models in place of weight decay (`Stage.anchors`).

    power: 2 or 1. weighted: by the Fisher information of the anchors. places: anchors are padded to this number, so that
    stages with few and with many anchors share one compiled program.
    """

    power: int = 2
    weighted: bool = False
    places: int = 1

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The fields that say which batch norms are compared and, for weighted penalties, which Fisher information."""
        return ("penalise_bn", "fisher") if self.weighted else ("penalise_bn",)

    def risk(self, network: AnyNetwork, training: Training) -> Objective:
        """See `AnchoredRisk`."""
        return AnchoredRisk(
            network, training.scaling, training.freeze_batch_stats,
            power=self.power, penalise_bn=training.penalise_bn, weighted=self.weighted,
        )  # fmt: skip

    def constants(
        self, network: Network, training: Training, data: dict[str, Any], anchors: Sequence[Anchor]
    ) -> Any:
        """The anchors' parameters and, where weighted, their Fisher information."""
        params = [anchor.variables["params"] for anchor in anchors]
        if not self.weighted:
            return anchor_constants(params)
        plain, each = EmpiricalRisk(network, training.scaling), training.fisher == "per_sample"
        weights = [
            fisher_of(
                plain, jax.tree.map(jnp.asarray, anchor.variables), data, anchor.trained_on,
                training.batch_size, each,
            )
            for anchor in anchors
        ]  # fmt: skip
        return anchor_constants(params, weights, self.places)


@dataclass(frozen=True)
class LastStep(Pooled):
    """Risk of the last step of a per-step network whose earlier steps are frozen."""

    risk_class = LastStepRisk


@dataclass(frozen=True)
class JointSteps(StageObjective):
    """The joint model: a network for each step, all trained at once (`JointRisk` explains the fields)."""

    network_per_step = True
    power: int = 2
    by_time: bool = False
    increasing: bool = False
    fisher: bool = False
    per_sample: bool = False

    def risk(self, network: AnyNetwork, training: Training) -> Objective:
        """See `JointRisk`."""
        return JointRisk(
            network, training.scaling, training.freeze_batch_stats, increasing=self.increasing, power=self.power,
            by_time=self.by_time, fisher=self.fisher, per_sample=self.per_sample,
        )  # fmt: skip

    def evaluation(
        self, train: Steps, valid: Steps, rows: Rows, with_train: bool
    ) -> dict[str, EvaluationSet]:
        """Set "valid", of the final step, is used for selection; "valid_step0", "train_step0", ... are of earlier steps.

        Each is evaluated with its own step's network.
        """
        last, sets = valid[-1], {}
        for split in ("valid", "train") if with_train else ("valid",):
            for step in (last, *(t for t in train if t != last)):
                name = split if step == last else f"{split}_step{step}"
                sets[name] = EvaluationSet(step, rows(step, split))
        return sets

    def operations(
        self,
        train: Steps,
        valid: Steps,
        sizes: Sequence[int],
        forward: Callable[[int], float],
        batch_size: int,
    ) -> float:
        """Every step has as many minibatches as the longest one."""
        own = [forward(step) for step in train]
        trained = batch_size * max(math.ceil(0.8 * sizes[step] / batch_size) for step in train)
        checked = 0.2 * sum(sizes[step] * each for step, each in zip(train, own, strict=True))
        return TRAIN_OVER_FORWARD * trained * sum(own) + checked

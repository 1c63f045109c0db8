"""A tiny problem for tests of the engine: two seeds, random images, a one-block ConvNet."""

from typing import Any

import jax
import numpy as np

from seqfinal_jax.models import Network, NetworkConfig, build_network, init_variables
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.members import FitSettings, MemberSpec, Problem
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, epoch_batches, fold, shuffled
from seqfinal_jax.training.objectives.risk import EmpiricalRisk, InputScaling

BATCH = 8
CLASSES = 3


def tiny_network(blocks: int = 1) -> Network:
    config = NetworkConfig(image_shape=(16, 16, 3), stem_width=4, widths=(6,) * blocks, strides=(2,) * blocks)
    return build_network(f"convnet-{blocks}", CLASSES, config)


def tiny_problem(samples: int = 24, total: int = 36, role: str = "final", **objective: Any) -> Problem:
    network = tiny_network()
    random = np.random.RandomState(0)
    labels = random.randint(CLASSES, size=72).astype(np.int32)
    images = random.randint(256, size=(72, 16, 16, 3)).astype(np.uint8)
    images[..., 0] = np.minimum(255, images[..., 0] // 2 + 60 * labels[:, None, None])
    scaling = InputScaling((0.5,) * 3, (0.25,) * 3)

    def rows(seed: int) -> np.ndarray:
        return seed * 36 + np.arange(total)

    return Problem(
        objective=EmpiricalRisk(network=network, scaling=scaling, **objective),
        data={"images": images, "labels": labels},
        batches=lambda seed, epoch: epoch_batches(
            [Stream(0, rows(seed)[:samples])], shuffled(seed, role), epoch, BATCH
        ),
        evaluation=lambda seed: {"valid": EvaluationSet(0, rows(seed)[samples:])},
        start=lambda member: init_variables(network, jax.random.key(fold(member.seed, "init"))),
        role=role,
    )


def member(
    seed: int = 0, lr: float = 1e-2, decay: float = 1e-4, dropout: float = 0.0, **masks: int
) -> MemberSpec:
    hyper = {"learning_rate": lr, "weight_decay": decay, "dropout": dropout}
    return MemberSpec(seed, hyper, {"conv1": 1, "layer1": 1, "fc": 1, **masks}, group=seed)


def grid(seeds: tuple[int, ...] = (0, 1)) -> list[MemberSpec]:
    return [
        member(seed, lr, decay, dropout)
        for seed in seeds
        for lr in (1e-2, 1e-3)
        for decay in (1e-4, 1e-2)
        for dropout in (0.0, 0.5)
    ]


def settings(max_epochs: int = 4, **changes: Any) -> FitSettings:
    patience = changes.pop("patience", 5)
    defaults = {"evaluation_batch_size": 6, "keep_all": True}
    return FitSettings(StopRule(max_epochs, patience), **{**defaults, **changes})


def assert_equal(first: Any, second: Any) -> None:
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, first, second)

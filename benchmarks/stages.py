"""The shipped stages for a few epochs at one grid point: what benchmarks of whole recipes measure. No command."""

import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from seqfinal_jax.data.sequences.pool import ImagePool
from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.nodes import Choice, Node, all_nodes
from seqfinal_jax.methods.stages.compute import compute
from seqfinal_jax.methods.stages.context import Context
from seqfinal_jax.methods.stages.network import stage_network
from seqfinal_jax.results.store import Store
from seqfinal_jax.runs.loop import fit_settings
from seqfinal_jax.runs.plan import Plan
from seqfinal_jax.training.engine.early_stopping import StopRule


@dataclass
class Clock:
    """Takes the place of a stage's progress: notes when epochs end."""

    marks: list[float] = field(default_factory=list)

    def __call__(self, chunk: Any, specs: Any) -> None:
        """An epoch has ended."""
        self.marks.append(time.perf_counter())

    def close(self) -> None:
        """Nothing to close."""

    def seconds(self) -> float:
        """Median of the epochs after the first."""
        return float(np.median(np.diff(self.marks)))


def one_point(node: Node, place: int = -1) -> Node:
    """The same recipe with one grid point a stage: the last one (with dropout), or at 0 the first one (without)."""
    if isinstance(node, Choice):
        return replace(node, candidates=tuple(one_point(each, place) for each in node.candidates))
    grid = Grid(**{each.name: getattr(node.grid, each.name)[place:][:1] for each in fields(Grid)})
    start = one_point(node.start, place) if node.start else None
    anchors = tuple(one_point(each, place) for each in node.anchors)
    return replace(node, grid=grid, start=start, anchors=anchors)


def quick_context(plan: Plan, pool: ImagePool, epochs: int, folder: Path, clocks: dict) -> Context:
    """What the shipped stages are computed from, with so many epochs; stages write their clocks to `clocks`."""
    network = plan.networks[plan.architectures[0]]
    training = replace(plan.training, rule=StopRule(epochs, patience=epochs))
    return Context(
        network=network,
        training=training,
        pool=pool,
        device_data=jax.device_put({"images": pool.images, "labels": pool.labels}),
        data_identity=plan.identity,
        store=Store(folder),
        settings=lambda stage: fit_settings(
            stage, stage_network(network, stage.form), training, pool.images.nbytes
        ),
        report=lambda stage, members: clocks.setdefault(stage, Clock()),
    )


def computed(context: Context, node: Node, seed: int) -> None:
    """Computes a node and all before it, but for those that are stored."""
    for each in all_nodes(node):
        if not context.store.has(context.key(each), seed):
            compute(context, each, [seed])

"""The whole RCL row of one network, from measured epochs: every stage of every method times members times epochs.

python -m benchmarks.row --data_dir=DIR
python -m benchmarks.row --data_dir=DIR --architecture=resnet-1 --methods=erm_final,joint

Each stage of the row is trained by the shipped code for a few epochs at one grid point, and the median of its epochs is
multiplied by its members and the epochs of the configuration. The last grid point has dropout 0.5, which half of the
fits have; `--without_dropout` takes the first one. After each stage PyTorch's step and forward pass are timed again, and
an epoch of the same stage is reckoned from them: one step for every network that learns in a minibatch, one forward pass
for every network that only runs; then validation (*lean*), or loss and accuracy of training and validation set in passes
of their own (*published*). Both sides fit the same stages once: the published program, too,
keeps the models of the source and of the first phase. What else PyTorch would have to do (penalties towards earlier
models, Fisher weights, gradients of IRM's penalty, writing files) is not charged to it. Nothing is run to its end.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import torch

from benchmarks import torch_peer
from benchmarks.engine import BATCH, images
from benchmarks.stages import computed, one_point, quick_context
from benchmarks.step import torch_parts
from configs.cifar10_rcl import get_config
from seqfinal_jax.config.parse import parse
from seqfinal_jax.methods.nodes import Stage, all_stages
from seqfinal_jax.methods.stages.network import stage_rule
from seqfinal_jax.methods.stages.objectives import Pooled
from seqfinal_jax.methods.stages.problem import stage_batches
from seqfinal_jax.runs.loop import build_pool
from seqfinal_jax.runs.plan import Plan, make_plan


class Peer(NamedTuple):
    """PyTorch's seconds of a training step and of a forward pass in evaluation mode, both of a minibatch."""

    step: float
    forward: float


def networks(stage: Stage, place: int) -> tuple[int, int]:
    """How many networks learn, and how many only run, in a minibatch of the stage's training step at this place."""
    if stage.layers == (("fc",),):
        return 0, 1
    if stage.form is None or (stage.objective.network_per_step and stage.form.mode == "separate"):
        return 1, 0
    return (place + 1, 0) if stage.objective.network_per_step else (1, stage.form.num_steps - 1)


def peer_epoch(stage: Stage, iterations: int, rows: Any, peer: Peer, published: bool) -> float:
    """Seconds of an epoch in PyTorch; see the module. `rows` are the pool's, by step and split."""
    places = [0] if isinstance(stage.objective, Pooled) else range(len(stage.train))
    working = [networks(stage, place) for place in places]
    train = iterations * sum(learn * peer.step + run * peer.forward for learn, run in working)
    if len(working) == 1:
        working = working * len(stage.train)
    counted = list(zip(stage.train, working, strict=True))
    kept = counted if stage.objective.network_per_step else [(step, working[-1]) for step in stage.valid]
    passes = [(step, "valid", sum(each)) for step, each in kept]
    if published:
        passes = 2 * (passes + [(step, "train", sum(each)) for step, each in counted])
    minibatches = sum(many * math.ceil(len(rows[step][split]) / BATCH) for step, split, many in passes)
    return train + minibatches * peer.forward


def peer_clock(architecture: str, rate: float) -> Callable[[], Peer]:
    """A function that times PyTorch's fastest form here: a step and a forward pass."""
    pixels, labels = images(8 * BATCH, BATCH)
    (x, y), _ = torch_parts(pixels, labels, 8 * BATCH)
    make = lambda form: torch_peer.Trainer(architecture, 10, 1e-3, 1e-2, rate, form)  # noqa: E731
    forms = torch_peer.working_forms(make, x[:BATCH], y[:BATCH])
    times = {
        form: torch_peer.step_seconds(trainer, (x, y), BATCH, 16)
        for form, trainer in forms.items()
        for _ in range(2)
    }
    trainer = forms[min(times, key=lambda form: times[form])]

    def clock() -> Peer:
        step = statistics.median(torch_peer.step_seconds(trainer, (x, y), BATCH, 8) for _ in range(5))
        began = time.perf_counter()
        for _ in range(5):
            trainer.evaluate(x, y, BATCH)
        return Peer(step, (time.perf_counter() - began) / 40)

    return clock


class Line(NamedTuple):
    """A stage of the row: fits of one seed, the most epochs of each, and seconds of an epoch of the three."""

    name: str
    fits: int
    epochs: int
    ours: float
    lean: float
    published: float


def measure(plan: Plan, epochs: int, without_dropout: bool, folder: Path) -> list[Line]:
    """Every stage of the plan, each printed as it is measured."""
    seed, network = plan.seeds[0], plan.networks[plan.architectures[0]]
    pool, clocks, lines, done = build_pool(plan, [seed]), {}, [], set()
    context, training = quick_context(plan, pool, epochs, folder, clocks), plan.training
    place, peer = (0 if without_dropout else -1), peer_clock(network.name, 0.0 if without_dropout else 0.5)
    for method in plan.methods:
        node = plan.node(network.name, method)
        for stage, small in zip(all_stages(node), all_stages(one_point(node, place)), strict=True):
            if stage in done:
                continue
            done.add(stage)
            computed(context, small, seed)
            iterations = stage_batches(stage, network, training, pool)(seed, 1).count
            now, rows = peer(), pool.rows[stage.variant, seed]
            lean, published = (peer_epoch(stage, iterations, rows, now, each) for each in (False, True))
            fits = stage.num_members(len(network.group_names))
            most = stage_rule(stage, training).max_epochs
            lines.append(
                Line(f"{method}: {stage.label}", fits, most, clocks[small].seconds(), lean, published)
            )
            figures = " | ".join(f"{value:.2f}" for value in lines[-1][3:])
            ratio = lines[-1].ours / published
            print(f"| {lines[-1].name} | {fits} | {iterations} | {figures} | {ratio:.2f} |", flush=True)
    return lines


def total(lines: list[Line]) -> str:
    """Hours of the three over all stages."""
    ours, lean, published = (
        sum(line.fits * line.epochs * getattr(line, side) for line in lines) / 3600
        for side in ("ours", "lean", "published")
    )
    return (
        f"{sum(line.fits for line in lines)} fits of at most {max(line.epochs for line in lines)} epochs: ours "
        f"{ours:.1f} h, lean {lean:.1f} h, published {published:.1f} h; ours over published {ours / published:.2f}, "
        f"over lean {ours / lean:.2f}"
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", default="convnet-1")
    parser.add_argument("--methods", default="", help="ids joined by commas; left out, the whole row")
    parser.add_argument("--data_dir")
    parser.add_argument("--epochs", type=int, default=4, help="epochs that are measured, the first left out")
    parser.add_argument("--without_dropout", action="store_true", help="the first grid point, not the last")
    asked = parser.parse_args()
    config = get_config("released")
    config.methods = tuple(filter(None, asked.methods.split(",")))
    config.architectures, config.seeds = (asked.architecture,), (1007,)
    plan = make_plan(parse(config), asked.data_dir)
    print(f"jax {jax.__version__}, torch {torch.__version__}, {jax.default_backend()}; {asked.architecture}")
    print("| stage | fits | minibatches | ours s | lean s | published s | over published |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(total(measure(plan, asked.epochs, asked.without_dropout, Path(folder))))


if __name__ == "__main__":
    main()

"""Whether validation accuracies averaged over several splits of the final step choose better than those of one split.

python -m benchmarks.resplits [--seeds 48] [--splits 3] [--updates 1000] [--config configs/digits_rcl.py]

Of `erm_final` and of the last stage of `erm_fine_tune` every grid point is trained to its end on the drawn split of the
final step's training and validation samples, and on stratified re-splits of the same samples. Grid point and epoch are
then chosen by the validation figures of the drawn split, or by their mean over all splits; the model of the drawn split
is reported either way, as the test accuracy at that epoch. Regret is the best test accuracy of any grid point and epoch
minus that of the chosen one. The last column is the paired difference of the test accuracies with its 95 % interval.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from benchmarks.stages import computed
from seqfinal_jax.analysis.statistics import compare
from seqfinal_jax.config.command_line import read_configuration
from seqfinal_jax.config.parse import parse
from seqfinal_jax.data.sequences.pool import ImagePool
from seqfinal_jax.methods.nodes import Stage
from seqfinal_jax.methods.stages.compute import start_of
from seqfinal_jax.methods.stages.context import Context
from seqfinal_jax.methods.stages.network import minibatches
from seqfinal_jax.methods.stages.problem import stage_problem
from seqfinal_jax.methods.stages.start import member_masks
from seqfinal_jax.results.store import Store
from seqfinal_jax.runs.loop import build_pool, make_context
from seqfinal_jax.runs.plan import Plan, make_plan
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings, MemberSpec
from seqfinal_jax.training.engine.streams import EvaluationSet, fold

METHODS = ("erm_final", "erm_fine_tune")
EVALUATED = 500  # images at once, of which the test set has as many on digits


def resplit(pool: ImagePool, seed: int, number: int) -> ImagePool:
    """The pool with a seed's final training and validation samples split again, class by class; number 0: as drawn."""
    *earlier, last = pool.rows["main", seed]
    if number == 0:
        return pool
    random = np.random.default_rng(fold(seed, "resplit", number))
    train, valid = [], []
    for label in np.unique(pool.labels[last["train"]]):
        own = [rows[pool.labels[rows] == label] for rows in (last["train"], last["valid"])]
        mixed = random.permutation(np.concatenate(own))
        train.append(mixed[: len(own[0])])
        valid.append(mixed[len(own[0]) :])
    parts = {**last, "train": np.concatenate(train), "valid": np.concatenate(valid)}
    return replace(pool, rows={**pool.rows, ("main", seed): (*earlier, parts)})


def figures(plan: Plan, context: Context, stage: Stage, seed: int, splits: int, epochs: int) -> np.ndarray:
    """Validation accuracy, validation loss and test accuracy, (3, splits, grid points, epochs + 1)."""
    specs = [
        MemberSpec(seed, point, member_masks(stage, context.network, ()), group=place)
        for place, point in enumerate(stage.grid.points())
    ]
    found = []
    for number in range(splits):
        pool = resplit(context.pool, seed, number)
        problem = stage_problem(
            stage, context.network, plan.training, pool, context.device_data,
            lambda spec: start_of(context, stage, spec), lambda seed: None,
        )  # fmt: skip
        tested = {"test": EvaluationSet(stage.train[-1], pool.rows["main", seed][-1]["test"])}
        usual = problem.evaluation
        problem = replace(
            problem, evaluation=lambda seed, usual=usual, tested=tested: {**usual(seed), **tested}
        )
        settings = FitSettings(StopRule(epochs, epochs), evaluation_batch_size=EVALUATED)
        names = ("valid_accuracy", "valid_loss", "test_accuracy")
        results = fit(problem, specs, settings)
        found.append([[np.asarray(result.history[name]) for name in names] for result in results])
    return np.moveaxis(np.array(found), 2, 0)


def chosen(accuracy: np.ndarray, loss: np.ndarray, first: int) -> tuple[int, int]:
    """Grid point and epoch of the best accuracy, then the lowest loss, from epoch `first` on; of (points, epochs + 1)."""
    order = np.lexsort((loss[:, first:].ravel(), -accuracy[:, first:].ravel()))
    point, epoch = np.unravel_index(order[0], accuracy[:, first:].shape)
    return int(point), int(epoch) + first


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/digits_rcl.py")
    parser.add_argument("--seeds", type=int, default=48)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--updates", type=int, default=1000)
    options, settings = parser.parse_known_args()
    config, overrides = read_configuration(options.config, settings)
    config.methods, config.seeds = METHODS, tuple(range(options.seeds))
    plan = make_plan(parse(config, overrides))
    pool = build_pool(plan, plan.seeds)
    data = jax.device_put({"images": pool.images, "labels": pool.labels})
    print(
        "| method | chosen by one split | by the mean over splits | best | difference (95 % interval) | p | n |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        [network] = plan.architectures
        quiet = Console(quiet=True)
        context = make_context(plan, network, pool, data, Store(Path(scratch)), quiet)
        for method in METHODS:
            print(_line(plan, context, network, method, options), flush=True)


def _line(plan: Plan, context: Context, network: str, method: str, options: argparse.Namespace) -> str:
    stage = plan.node(network, method)
    epochs = -(-options.updates // minibatches(stage, plan.training))
    sides: dict[str, dict[int, float]] = {"one": {}, "mean": {}, "best": {}}
    for seed in plan.seeds:
        if stage.start:
            computed(context, stage.start, seed)
        accuracy, loss, test = figures(plan, context, stage, seed, options.splits, epochs)
        first = 0 if stage.start else 1
        sides["one"][seed] = test[0][chosen(accuracy[0], loss[0], first)]
        sides["mean"][seed] = test[0][chosen(accuracy.mean(0), loss.mean(0), first)]
        sides["best"][seed] = test[0][:, first:].max()
        print(f"{method}: seed {seed} of {len(plan.seeds)} done", file=sys.stderr)
    means = {name: 100 * np.mean(list(values.values())) for name, values in sides.items()}
    [gain] = compare(sides, "one", ["mean"])
    return (
        f"| `{method}` | {means['one']:.1f} (regret {means['best'] - means['one']:.1f}) | {means['mean']:.1f} (regret "
        f"{means['best'] - means['mean']:.1f}) | {means['best']:.1f} | {100 * gain.difference:+.2f} "
        f"({100 * gain.low:+.2f} to {100 * gain.high:+.2f}) | {gain.p:.3f} | {len(gain.seeds)} |"
    )


if __name__ == "__main__":
    main()

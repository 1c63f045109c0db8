"""Whether the training budget decides a comparison: one run at a budget, one at twice that budget.

python -m benchmarks.convergence --config=configs/cifar10_rcl.py:quick --data_dir=DATA --workdir=DIR --budget=2000,500

Fields of the configuration may follow (`--config.seeds=0,1,2`). A budget is `training.least_updates` and
`training.patience_updates`. The run at the budget goes to DIR/1x, the one at twice the
budget to DIR/2x; a second call goes on where the first one stopped, and `--only_report` reads what is there. Printed and
written to DIR/convergence.md: every method's mean test accuracy at both, its change, and the pairs of methods whose
difference is above one point at either budget and of another sign at the other. DIR/convergence.csv has the cells, and
DIR/convergence.png the validation accuracy of each method's last stage against its updates.
"""

import argparse
import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from ml_collections import ConfigDict

import seqfinal_jax
from seqfinal_jax.analysis.figures.palette import (
    BLUE,
    FAINT,
    LABEL_SIZE,
    VERMILION,
    clean_axes,
    new_figure,
    save_png,
)
from seqfinal_jax.analysis.tables.cells import done_cells
from seqfinal_jax.analysis.tables.labels import in_order, method_name
from seqfinal_jax.config.command_line import read_configuration
from seqfinal_jax.config.parse import parse
from seqfinal_jax.methods.nodes import stage_of
from seqfinal_jax.methods.stages.network import minibatches, stage_rule
from seqfinal_jax.runs.plan import Plan, make_plan

FIELDS = ("least_updates", "patience_updates")  # of config.training
POINT = 0.01
SIDES = ("1x", "2x")


@dataclass(frozen=True)
class Change:
    """A method's mean test accuracy at both budgets, on the seeds that have both, as fractions."""

    architecture: str
    method: str
    seeds: tuple[int, ...]
    once: float
    twice: float

    @property
    def holds(self) -> bool:
        """Whether twice the budget moves the mean by one point at most."""
        return abs(self.twice - self.once) <= POINT + 1e-12


def changes(once: pd.DataFrame, twice: pd.DataFrame) -> list[Change]:
    """One row per network and method that both runs have."""
    keys = ["architecture", "method", "seed"]
    both = once.merge(twice, on=keys, suffixes=("_1x", "_2x"))
    found = []
    for architecture, cells in both.groupby("architecture", sort=False):
        for method in in_order(cells["method"]):
            own = cells[cells["method"] == method]
            means = (float(own[f"test_accuracy_{side}"].mean()) for side in SIDES)
            found.append(Change(str(architecture), method, tuple(sorted(own["seed"])), *means))
    return found


def turned(rows: list[Change]) -> list[tuple[Change, Change]]:
    """Pairs of one network's methods whose difference is above a point at a budget, and of another sign at the other."""
    pairs = []
    for one, other in combinations(rows, 2):
        if one.architecture == other.architecture:
            gaps = [round(getattr(one, side) - getattr(other, side), 12) for side in ("once", "twice")]
            if max(map(abs, gaps)) > POINT and gaps[0] * gaps[1] < 0:
                pairs.append((one, other))
    return pairs


def report(rows: list[Change], budget: tuple[int, int]) -> str:
    """The table and the verdict, as Markdown."""
    heads = [
        f"{least * times} updates, patience {patience * times}"
        for times in (1, 2)
        for least, patience in [budget]
    ]
    lines = [f"| network | method | {heads[0]} | {heads[1]} | change | n |", "|---|---|---|---|---|---|"]
    for row in rows:
        note = "" if row.holds else " †"
        lines.append(
            f"| {row.architecture} | {method_name(row.method).column} (`{row.method}`) | {100 * row.once:.1f} | "
            f"{100 * row.twice:.1f} | {100 * (row.twice - row.once):+.1f}{note} | {len(row.seeds)} |"
        )
    return "\n".join([*lines, "", *_verdict(rows)]) + "\n"


def _verdict(rows: list[Change]) -> list[str]:
    moved = [f"{row.method} on {row.architecture}" for row in rows if not row.holds]
    pairs = [f"{one.method} and {other.method} on {one.architecture}" for one, other in turned(rows)]
    return [
        "Twice the budget moves no mean by more than one point."
        if not moved
        else f"† Twice the budget moves these means by more than one point: {', '.join(moved)}.",
        "It turns no sign of a difference above one point."
        if not pairs
        else f"It turns the sign of the difference of {'; '.join(pairs)}.",
    ]


def curves(folder: Path, plan: Plan) -> pd.DataFrame:
    """Validation accuracy of every cell's last stage: method, architecture, seed, updates, valid_accuracy."""
    parts = []
    for cell in done_cells(folder):
        history = pd.read_csv(cell.path / "history.csv")
        grid = pd.read_csv(cell.path / "grid.csv")
        stage = grid["stage"].iloc[-1]
        chosen = int(grid[(grid["stage"] == stage) & grid["chosen"].astype(bool)]["member"].iloc[-1])
        own = history[(history["stage"] == stage) & (history["member"] == chosen)]
        per_epoch = minibatches(stage_of(plan.node(cell.architecture, cell.method)), plan.training)
        labels: dict[str, Any] = {"method": cell.method, "architecture": cell.architecture, "seed": cell.seed}
        parts.append(
            own.assign(**labels, updates=own["epoch"] * per_epoch)[[*labels, "updates", "valid_accuracy"]]
        )
    return pd.concat(parts, ignore_index=True)


def draw(found: pd.DataFrame, plan: Plan, path: Path) -> None:
    """One panel per method of a network: every seed a thin line, the mean of the running best a thick one."""
    panels = [
        (network, method)
        for network in dict.fromkeys(found["architecture"])
        for method in in_order(found["method"])
    ]
    columns = min(3, len(panels))
    figure = new_figure(3.6 * columns, 2.7 * -(-len(panels) // columns))
    for place, (network, method) in enumerate(panels):
        axes = figure.add_subplot(-(-len(panels) // columns), columns, place + 1)
        own = found[(found["architecture"] == network) & (found["method"] == method)]
        wide = own.pivot_table(index="updates", columns="seed", values="valid_accuracy")
        for seed in wide:
            axes.plot(wide.index, 100 * wide[seed], color=FAINT, linewidth=0.8)
        best = 100 * wide.cummax().ffill().mean(axis=1)
        axes.plot(best.index, best, color=BLUE, linewidth=1.8)
        stage = stage_of(plan.node(network, method))
        allowed = stage_rule(stage, plan.training).max_epochs * minibatches(stage, plan.training)
        axes.axvline(allowed, color=VERMILION, linestyle="--", linewidth=1)
        axes.set_title(f"{method_name(method).legend}, {network}", fontsize=LABEL_SIZE)
        axes.set_xlabel("updates of its last stage", fontsize=LABEL_SIZE)
        axes.set_ylabel("validation accuracy, %", fontsize=LABEL_SIZE)
        clean_axes(axes)
    figure.suptitle(
        "Thick: best epoch so far, mean over seeds. Thin: every seed. Dashed: allowed at the single budget",
        fontsize=LABEL_SIZE,
    )
    save_png(figure, path)


def configured(options: argparse.Namespace, settings: list[str], times: int) -> ConfigDict:
    """The configuration at so many times the budget."""
    config, _ = read_configuration(options.config, settings)
    config.training.update({name: times * value for name, value in zip(FIELDS, options.budget, strict=True)})
    return config


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True)
    parser.add_argument("--data_dir")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument(
        "--budget", type=lambda text: tuple(map(int, text.split(","))), default=(2000, 500), metavar="N,N"
    )
    parser.add_argument("--only_report", action="store_true")
    options, settings = parser.parse_known_args()
    if wrong := [each for each in settings if not each.startswith("--config.")]:
        parser.error(f"unknown argument {wrong[0]!r}; fields begin with --config.")
    for times, side in enumerate(SIDES if not options.only_report else (), 1):
        folder = options.workdir / side
        seqfinal_jax.run(configured(options, settings, times), folder, options.data_dir, progress=True)
    plan = make_plan(parse(configured(options, settings, 1)), options.data_dir)
    once, twice = (seqfinal_jax.load_results(options.workdir / side) for side in SIDES)
    text = report(changes(once, twice), options.budget)
    (options.workdir / "convergence.md").write_text(text, encoding="utf-8")
    frames = [
        frame.drop(columns="path").assign(budget=side)
        for frame, side in zip((once, twice), SIDES, strict=True)
    ]
    pd.concat(frames).to_csv(options.workdir / "convergence.csv", index=False)
    draw(curves(options.workdir / "2x", plan), plan, options.workdir / "convergence.png")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()

"""The files of a cell of the results table. result.json is written last: a cell is complete when it exists."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from seqfinal_jax.data.matching.links import MATCHING_RULES
from seqfinal_jax.data.matching.rows import usage_counts
from seqfinal_jax.methods.method import METHODS
from seqfinal_jax.methods.method_plan import MethodPlan
from seqfinal_jax.methods.nodes import Model, Node, all_stages, at_step, has_model_of_every_step
from seqfinal_jax.methods.stages.context import Context
from seqfinal_jax.methods.stages.step_models import CHANGE_COLUMNS, layer_changes
from seqfinal_jax.results.rows import grid_columns, history_columns, hyper_of, rows_to_csv
from seqfinal_jax.results.run_folder import RESULT_SCHEMA
from seqfinal_jax.results.store import StageResult
from seqfinal_jax.runs.cost import cell_cost
from seqfinal_jax.runs.environment import machine, settings
from seqfinal_jax.runs.graph import Task
from seqfinal_jax.runs.plan import Plan, drawn_from
from seqfinal_jax.runs.stage_lengths import stage_lengths
from seqfinal_jax.runs.workdir import data_record, made_by
from seqfinal_jax.training.objectives.risk import answered_right, cross_entropy

USAGE_COLUMNS = ("step", "times_used", "samples")


def write_cell(plan: Plan, context: Context, task: Task) -> float:
    """Evaluates the best model on the final step's validation and test sets, writes the cell, returns test accuracy."""
    architecture, method, seed = task.cell
    planned = plan.planned[architecture, method]
    chain = {each: context.result(each, seed) for each in context.chain(planned.node, seed)}
    stage, result = list(chain.items())[-1]
    figures, predictions = _evaluate(plan, context, stage, result, seed)
    stages = _stage_records(context, chain, seed)
    record = {
        "schema": RESULT_SCHEMA, "sequence": plan.name,
        "protocol": plan.protocol, "method": method,
        "architecture": architecture, "seed": seed, "data_seed": plan.data_seed(seed),
        "precision": plan.training.precision, "selection": planned.selection, **figures,
        "hyper": {**hyper_of(result.winner), **_values_before(planned, context, chain, seed)},
        "best_epoch": result.winner["best_epoch"], "stop_epoch": result.winner["stop_epoch"],
        "late_gain": max(stage["late_gain"] for stage in stages),
        "recipe": task.key, "label": _label(planned.method), "stages": stages,
        "forward_passes": cell_cost(plan, context, planned.node, seed),
        "notes": list(context.pool.notes.get((drawn_from(stage.variant), seed), ())),
        "data": data_record(plan, sorted({each.variant for each in all_stages(planned.node)})),
        "settings": settings(), "machine": machine(plan.training.precision), "made_by": made_by(),
    }  # fmt: skip
    later = range(1, plan.num_steps)
    if plan.spec.data.test_all_steps and has_model_of_every_step(planned.node, later):
        record["steps"] = _step_records(plan, context, planned.node, seed)
    context.store.save_cell(task.cell, record, _tables(context, planned.node, chain, seed), predictions)
    return figures["test_accuracy"]


def _evaluate(
    plan: Plan, context: Context, stage: Model, result: StageResult, seed: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Figures and predictions on the final step's validation and test sets."""
    predictions, figures = {}, {}
    for split in ("valid", "test"):
        rows = context.pool.rows[stage.variant, seed][plan.num_steps - 1][split]
        logits, labels = context.predict(stage, result.best, rows), context.pool.labels[rows]
        losses = np.asarray(cross_entropy(jnp.asarray(logits), labels), np.float64)
        figures[f"{split}_accuracy"] = float(np.mean(np.asarray(answered_right(logits, labels))))
        figures[f"{split}_loss"] = float(np.mean(losses))
        figures[f"n_{split}"] = len(rows)
        predictions |= {
            f"{split}_logits": logits.astype(np.float32), f"{split}_labels": labels,
            f"{split}_index": context.pool.source_index[rows],
        }  # fmt: skip
    return figures, predictions


def _step_records(plan: Plan, context: Context, node: Node, seed: int) -> list[dict[str, Any]]:
    """At each later time step that step's model, and its accuracies there.

    Of a sequential method the best by that step's validation set, of the joint model the reported one's network.
    """
    records, whole = [], context.resolve(node, seed)
    for step in range(1, plan.num_steps):
        stage = whole if whole.objective.network_per_step else context.resolve(at_step(node, step), seed)
        best = context.result(stage, seed).best
        figures = {
            f"{split}_accuracy": context.accuracy(stage, best, seed, step, split)
            for split in ("valid", "test")
        }
        n_test = len(context.pool.rows[stage.variant, seed][step]["test"])
        records.append({"step": step, "fingerprint": context.key(stage), **figures, "n_test": n_test})
    return records


def _stage_records(context: Context, chain: dict[Model, StageResult], seed: int) -> list[dict[str, Any]]:
    """What is written of every stage that led to the model."""
    lengths = stage_lengths(context, chain, seed)
    return [
        {
            "stage": stage.label, "role": stage.role, "step": stage.train[-1], "train_steps": list(stage.train),
            "fingerprint": context.key(stage), "hyper": hyper_of(result.winner),
            "best_epoch": result.winner["best_epoch"], "stop_epoch": result.winner["stop_epoch"],
            **lengths[stage], "valid_accuracy": result.winner["best_accuracy"],
        }
        for stage, result in chain.items()
    ]  # fmt: skip


def _values_before(
    planned: MethodPlan, context: Context, chain: dict[Model, StageResult], seed: int
) -> dict[str, Any]:
    """What was chosen before the last search: values of the method's own axes, and names of candidates."""
    own = {axis.name for axis in METHODS.get(planned.method).axes}
    earlier = [hyper_of(result.winner) for result in list(chain.values())[:-1]] if own else []
    values = {name: value for hyper in earlier for name, value in hyper.items() if name in own}
    for choice in context.choices(planned.node, seed):
        values |= choice.names[context.chosen(choice, seed)] if choice.names else {}
    return values


def _tables(context: Context, node: Node, chain: dict[Model, StageResult], seed: int) -> dict[str, str]:
    """The CSV files of a cell by name: every member, every epoch, and what only some methods have."""
    grid = [{"stage": s.label, "role": s.role, **row} for s, r in chain.items() for row in r.grid]
    named = dict.fromkeys(choice for choice in context.choices(node, seed) if choice.names)
    grid += [row for choice in named for row in context.candidate_rows(choice, seed)]
    history = [{"stage": s.label, **row} for s, r in chain.items() for row in r.history]
    changes = layer_changes(context.network, chain)
    found = {
        "grid.csv": (("stage", "role", *grid_columns(grid)), grid),
        "history.csv": (("stage", *history_columns(history)), history),
        "layer_change.csv": (CHANGE_COLUMNS, changes),
        "sample_usage.csv": (USAGE_COLUMNS, _sample_usage(context, list(chain)[-1], seed)),
    }
    return {name: rows_to_csv(*table) for name, table in found.items() if table[1]}


def _sample_usage(context: Context, stage: Model, seed: int) -> list[dict[str, int]]:
    """How many training samples of each step are used how often, where some stand in for those of the final step."""
    if stage.variant not in MATCHING_RULES:
        return []
    whole = context.pool.split_rows(("main", seed), stage.train, "train")
    matched = context.pool.split_rows((stage.variant, seed), stage.train[:-1], "train")
    return [
        {"step": step, "times_used": int(times), "samples": int(samples)}
        for step, counts in enumerate(usage_counts(whole, matched))
        for times, samples in zip(*np.unique(counts, return_counts=True), strict=True)
    ]


def _label(method: str) -> dict[str, Any]:
    """How a method is called in tables and figures: those of a user's own are known while their file is loaded only."""
    record = METHODS.get(method)
    names = ("column", "legend", "family", "comparable")
    return {"method": method, **{name: getattr(record, name) for name in names}}

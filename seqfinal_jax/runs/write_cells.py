"""The files of a cell of the results table. result.json is written last: a cell is complete when it exists."""

import io
import logging
import shutil
import traceback
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from seqfinal_jax.data.matching.links import MATCHING_RULES
from seqfinal_jax.data.matching.rows import usage_counts
from seqfinal_jax.methods.method import METHODS
from seqfinal_jax.methods.nodes import Model, Node, all_stages, at_step, has_model_of_every_step
from seqfinal_jax.methods.stages.fitter import StageFitter
from seqfinal_jax.methods.stages.step_models import CHANGE_COLUMNS, layer_changes
from seqfinal_jax.methods.stages.store import (
    StageResult,
    grid_columns,
    history_columns,
    hyper_of,
    rows_to_csv,
)
from seqfinal_jax.results.run_folder import RESULT_SCHEMA, write_whole
from seqfinal_jax.results.sealed import DamagedFolder, read_sealed, write_sealed
from seqfinal_jax.runs.cost import cell_cost
from seqfinal_jax.runs.environment import machine, settings
from seqfinal_jax.runs.plan import Plan, drawn_from
from seqfinal_jax.runs.stage_lengths import stage_lengths
from seqfinal_jax.runs.workdir import data_record, made_by
from seqfinal_jax.training.objectives.risk import answered_right, cross_entropy

log = logging.getLogger(__name__)
USAGE_COLUMNS = ("step", "times_used", "samples")


def cell_folder(workdir: Path, method: str, architecture: str, seed: int) -> Path:
    """cells/<method>/<architecture>/seed<k>."""
    return workdir / "cells" / method / architecture / f"seed{seed}"


def cell_done(workdir: Path, plan: Plan, method: str, architecture: str, seed: int) -> bool:
    """Whether the cell's files exist, are undamaged, and were made by exactly the stages that the plan asks for."""
    folder = cell_folder(workdir, method, architecture, seed)
    if not (folder / "result.json").exists():
        return False
    try:
        result = read_sealed(folder, "result.json")
    except DamagedFolder as error:
        log.warning("a cell is damaged and is computed again: %s", error)
        return False
    return result.get("schema") == RESULT_SCHEMA and result["recipe"] == plan.fingerprint(
        architecture, method
    )


def write_cell(workdir: Path, plan: Plan, fitter: StageFitter, method: str, seed: int) -> float:
    """Evaluates the best model on the final step's validation and test sets, writes the cell, returns test accuracy."""
    architecture = fitter.network.name
    planned = plan.planned[architecture, method]
    chain = {each: fitter.results(each, [seed])[seed] for each in fitter.chain(planned.node, seed)}
    stage, result = list(chain.items())[-1]
    figures, predictions = _evaluate(plan, fitter, stage, result, seed)
    stages = _stage_records(fitter, chain, seed)
    record = {
        "schema": RESULT_SCHEMA, "sequence": plan.name,
        "protocol": plan.protocol, "method": method,
        "architecture": architecture, "seed": seed, "data_seed": plan.data_seed(seed),
        "precision": plan.training.precision, "selection": planned.selection, **figures, "hyper": hyper_of(result.winner),
        "best_epoch": result.winner["best_epoch"], "stop_epoch": result.winner["stop_epoch"],
        "late_gain": max(stage["late_gain"] for stage in stages),
        "recipe": fitter.fingerprint(planned.node), "label": _label(planned.method), "stages": stages,
        "forward_passes": cell_cost(plan, fitter, planned.node, seed),
        "notes": list(fitter.pool.notes.get((drawn_from(stage.variant), seed), ())),
        "data": data_record(plan, sorted({each.variant for each in all_stages(planned.node)})),
        "settings": settings(), "machine": machine(plan.training.precision), "made_by": made_by(),
    }  # fmt: skip
    later = range(1, plan.num_steps)
    if plan.spec.data.test_all_steps and has_model_of_every_step(planned.node, later):
        record["steps"] = _step_records(plan, fitter, planned.node, seed)
    tables = _tables(fitter, chain, seed)
    _write_folder(cell_folder(workdir, method, architecture, seed), record, tables, predictions)
    return figures["test_accuracy"]


def _evaluate(
    plan: Plan, fitter: StageFitter, stage: Model, result: StageResult, seed: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Figures and predictions on the final step's validation and test sets."""
    predictions, figures = {}, {}
    for split in ("valid", "test"):
        rows = fitter.pool.rows[stage.variant, seed][plan.num_steps - 1][split]
        logits, labels = fitter.predict(stage, result.best, rows), fitter.pool.labels[rows]
        losses = np.asarray(cross_entropy(jnp.asarray(logits), labels), np.float64)
        figures[f"{split}_accuracy"] = float(np.mean(np.asarray(answered_right(logits, labels))))
        figures[f"{split}_loss"] = float(np.mean(losses))
        figures[f"n_{split}"] = len(rows)
        predictions |= {
            f"{split}_logits": logits.astype(np.float32), f"{split}_labels": labels,
            f"{split}_index": fitter.pool.source_index[rows],
        }  # fmt: skip
    return figures, predictions


def _step_records(plan: Plan, fitter: StageFitter, node: Node, seed: int) -> list[dict[str, Any]]:
    """At each later time step that step's model, and its accuracies there.

    Of a sequential method the best by that step's validation set, of the joint model the reported one's network.
    """
    records, whole = [], fitter.resolve(node, seed)
    for step in range(1, plan.num_steps):
        stage = whole if whole.objective.network_per_step else fitter.resolve(at_step(node, step), seed)
        best = fitter.results(stage, [seed])[seed].best
        figures = {
            f"{split}_accuracy": fitter.accuracy(stage, best, seed, step, split)
            for split in ("valid", "test")
        }
        n_test = len(fitter.pool.rows[stage.variant, seed][step]["test"])
        records.append({"step": step, "fingerprint": fitter.fingerprint(stage), **figures, "n_test": n_test})
    return records


def _stage_records(fitter: StageFitter, chain: dict[Model, StageResult], seed: int) -> list[dict[str, Any]]:
    """What is written of every stage that led to the model."""
    lengths = stage_lengths(fitter, chain, seed)
    return [
        {
            "stage": stage.label, "role": stage.role, "step": stage.train[-1], "train_steps": list(stage.train),
            "fingerprint": fitter.fingerprint(stage), "hyper": hyper_of(result.winner),
            "best_epoch": result.winner["best_epoch"], "stop_epoch": result.winner["stop_epoch"],
            **lengths[stage], "valid_accuracy": result.winner["best_accuracy"],
        }
        for stage, result in chain.items()
    ]  # fmt: skip


def _tables(fitter: StageFitter, chain: dict[Model, StageResult], seed: int) -> dict[str, str]:
    """The CSV files of a cell by name: every member, every epoch, and what only some methods have."""
    grid = [{"stage": s.label, "role": s.role, **row} for s, r in chain.items() for row in r.grid]
    history = [{"stage": s.label, **row} for s, r in chain.items() for row in r.history]
    changes = layer_changes(fitter.network, chain)
    found = {
        "grid.csv": (("stage", "role", *grid_columns(grid)), grid),
        "history.csv": (("stage", *history_columns(history)), history),
        "layer_change.csv": (CHANGE_COLUMNS, changes),
        "sample_usage.csv": (USAGE_COLUMNS, _sample_usage(fitter, list(chain)[-1], seed)),
    }
    return {name: rows_to_csv(*table) for name, table in found.items() if table[1]}


def _sample_usage(fitter: StageFitter, stage: Model, seed: int) -> list[dict[str, int]]:
    """How many training samples of each step are used how often, where some stand in for those of the final step."""
    if stage.variant not in MATCHING_RULES:
        return []
    whole = fitter.pool.split_rows(("main", seed), stage.train, "train")
    matched = fitter.pool.split_rows((stage.variant, seed), stage.train[:-1], "train")
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


def _write_folder(
    folder: Path, record: dict[str, Any], tables: dict[str, str], predictions: dict[str, np.ndarray]
) -> None:
    archive = io.BytesIO()
    np.savez_compressed(archive, **predictions)
    write_sealed(folder, "result.json", record, {**tables, "predictions.npz": archive.getvalue()})


def write_error(workdir: Path, method: str, architecture: str, seed: int, error: Exception) -> None:
    """Writes error.txt to the cell's folder and removes all else there: an earlier result no longer belongs to this run.

    A later run tries the cell again. Raises OSError where the folder cannot be written.
    """
    folder = cell_folder(workdir, method, architecture, seed)
    shutil.rmtree(folder, ignore_errors=True)
    write_whole(folder / "error.txt", "".join(traceback.format_exception(error)))

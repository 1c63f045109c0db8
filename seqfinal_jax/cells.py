"""What a cell of a results table leaves on disk: result.json last, so a cell is done when it is there."""

import json
import os
import shutil
import traceback
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax import config as configuration
from seqfinal_jax.methods.recipe import Stage
from seqfinal_jax.methods.stage_fit import StageFitter, stage_fingerprint
from seqfinal_jax.methods.store import GRID_COLUMNS, HISTORY_COLUMNS, StageResult, rows_to_csv
from seqfinal_jax.plan import Plan, make_training
from seqfinal_jax.training.objectives import EmpiricalRisk, cross_entropy, right
from seqfinal_jax.training.programs import predict_batch

SCHEMA = 1
HYPER = ("learning_rate", "weight_decay", "dropout")
SELECTION = "validation accuracy of the final step"


def cell_folder(workdir: Path, method: str, architecture: str, seed: int) -> Path:
    """cells/<method>/<architecture>/seed<k>."""
    return workdir / "cells" / method / architecture / f"seed{seed}"


def cell_done(workdir: Path, plan: Plan, method: str, architecture: str, seed: int) -> bool:
    """Whether the cell's result is there and came from the very stage that the plan asks for."""
    try:
        result = json.loads((cell_folder(workdir, method, architecture, seed) / "result.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    wanted = stage_fingerprint(
        plan.stages[method], plan.network(architecture), make_training(plan.config), plan.data_identity()
    )
    return result.get("schema") == SCHEMA and result["stages"][-1]["fingerprint"] == wanted


def predict(fitter: StageFitter, variables: Any, rows: np.ndarray, step: int) -> np.ndarray:
    """Logits (n,k) of rows (n,) of the pool, in evaluation mode."""
    objective = EmpiricalRisk(fitter.network, fitter.training.scaling)
    size = fitter.training.batch_size
    padded = np.concatenate([rows, np.zeros(-len(rows) % size, rows.dtype)]).astype(np.int32)
    variables = jax.tree.map(jnp.asarray, variables)
    parts = [
        predict_batch(objective, variables, fitter.device_data, jnp.asarray(part), jnp.asarray(step))
        for part in padded.reshape(-1, size)
    ]
    return np.concatenate([np.asarray(part) for part in parts])[: len(rows)]


def write_cell(
    workdir: Path, plan: Plan, fitter: StageFitter, method: str, seed: int, result: StageResult
) -> float:
    """Evaluates the best model on the final step's validation and test sets and writes the cell; test accuracy."""
    stage = plan.stages[method]
    chain = {each: fitter.results(each, [seed])[seed] for each in stage.chain()}
    predictions, figures = {}, {}
    for split in ("valid", "test"):
        step = len(plan.specs[stage.variant].sizes) - 1
        rows = fitter.pool.rows[stage.variant, seed][step][split]
        logits = predict(fitter, result.best, rows, step)
        labels = fitter.pool.labels[rows]
        figures[f"{split}_accuracy"] = float(np.mean(np.asarray(right(logits, labels))))
        figures[f"{split}_loss"] = float(
            np.mean(np.asarray(cross_entropy(jnp.asarray(logits), labels), np.float64))
        )
        figures[f"n_{split}"] = len(rows)
        predictions |= {
            f"{split}_logits": logits.astype(np.float16), f"{split}_labels": labels,
            f"{split}_index": fitter.pool.source_index[rows],
        }  # fmt: skip
    record = {
        "schema": SCHEMA, "sequence": plan.config.name,
        "protocol": configuration.protocol_name(plan.config), "method": method,
        "architecture": fitter.network.name, "seed": seed, "data_seed": plan.data_seed(seed),
        "selection": SELECTION, **figures, "hyper": {name: result.winner[name] for name in HYPER},
        "best_epoch": result.winner["best_epoch"], "stop_epoch": result.winner["stop_epoch"],
        "stages": [_stage_record(fitter, each, found) for each, found in chain.items()],
    }  # fmt: skip
    folder = cell_folder(workdir, method, fitter.network.name, seed)
    _write_folder(folder, record, chain, predictions)
    return figures["test_accuracy"]


def _stage_record(fitter: StageFitter, stage: Stage, result: StageResult) -> dict[str, Any]:
    winner = result.winner
    return {
        "stage": stage.name, "role": stage.role, "step": stage.train[-1], "train_steps": list(stage.train),
        "fingerprint": fitter.fingerprint(stage), "hyper": {name: winner[name] for name in HYPER},
        "best_epoch": winner["best_epoch"], "stop_epoch": winner["stop_epoch"],
        "valid_accuracy": winner["best_accuracy"],
    }  # fmt: skip


def _write_folder(
    folder: Path, record: dict[str, Any], chain: dict[Stage, StageResult], predictions: dict[str, np.ndarray]
) -> None:
    grid = [{"stage": s.name, "role": s.role, **row} for s, r in chain.items() for row in r.grid]
    history = [{"stage": s.name, **row} for s, r in chain.items() for row in r.history]
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    (beside / "grid.csv").write_text(rows_to_csv(("stage", "role", *GRID_COLUMNS), grid))
    (beside / "history.csv").write_text(rows_to_csv(("stage", *HISTORY_COLUMNS), history))
    np.savez_compressed(beside / "predictions.npz", **predictions)
    (beside / "result.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def write_error(workdir: Path, method: str, architecture: str, seed: int, error: Exception) -> None:
    """Leaves error.txt in the cell's folder; a later run tries the cell again."""
    folder = cell_folder(workdir, method, architecture, seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "error.txt").write_text("".join(traceback.format_exception(error)))

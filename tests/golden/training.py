"""Reference training runs and rules of the single-model methods, through the shipped engine in float64."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.methods.grid import Grid
from seqfinal_jax.methods.recipes.time_weights import increasing_weights
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings, MemberResult, MemberSpec, Problem, winner
from seqfinal_jax.training.engine.streams import (
    Batches,
    EvaluationSet,
    Stream,
    driving_first,
    epoch_batches,
    stored_order,
)
from seqfinal_jax.training.objectives.risk import EmpiricalRisk, Objective, Sums, batch_sums
from tests.golden.case import Case, check
from tests.golden.tiny_network import state_of, tiny_network, variables_of

TOLERANCE = 1e-10
BATCH = 8


def trace_problem(
    case: Case, objective: Objective, names: tuple[str, ...] = ("train",), constants: Any = None
) -> Problem:
    """The reference run as a problem: in stored order, a stream each of `names`, a set "train" of all as published."""
    images = [case[f"x_{name}"] for name in (*names, "valid")]
    labels = [case[f"y_{name}"] for name in (*names, "valid")]
    weights = case["sample_weight"] if "sample_weight" in case.arrays else None
    *rows, valid = np.split(np.arange(sum(map(len, labels))), np.cumsum([len(part) for part in labels])[:-1])
    streams = driving_first([Stream(step, part, weights) for step, part in enumerate(rows)], BATCH)
    sets = {
        "train": EvaluationSet(0, np.concatenate(rows), weights),
        "valid": EvaluationSet(0, valid),
    }
    start = variables_of(case.under("init/"))
    return Problem(
        objective=objective,
        data={
            "images": np.concatenate(images).transpose(0, 2, 3, 1),
            "labels": np.concatenate(labels).astype(np.int32),
        },
        batches=lambda seed, epoch: epoch_batches(streams, stored_order, epoch, BATCH),
        evaluation=lambda seed: sets,
        start=lambda spec: start,
        role="golden",
        constants=lambda seed: constants,
    )


def trace_member(case: Case) -> MemberSpec:
    """The reference run's hyper-parameters; the groups that are trained are those whose parameters moved."""
    hyper = {
        "learning_rate": float(case["lr"]),
        "weight_decay": float(case["weight_decay"]),
        "dropout": 0.0,
    }
    init, final = case.under("init/"), case.under("final/")
    moved = {
        name.split("/")[0]
        for name in init
        if not name.endswith(("mean", "var")) and np.any(init[name] != final[name])
    }
    return MemberSpec(0, hyper, {group: int(group in moved) for group in tiny_network(init).group_names})


def first_batches(problem: Problem, count: int) -> Problem:
    """The problem with only the first minibatches of the first epoch, and running train figures."""

    def batches(seed: int, epoch: int) -> Batches:
        whole = problem.batches(seed, epoch)
        return Batches(whole.index, whole.mask, whole.weight, count)

    valid = {"valid": problem.evaluation(0)["valid"]}
    return Problem(**{**vars(problem), "batches": batches, "evaluation": lambda seed: valid})


def compare_states(case: Case, prefix: str, variables: dict[str, Any]) -> None:
    found = state_of(variables)
    for name, expected in case.under(prefix).items():
        case.compare_to(prefix + name, found[name], expected, TOLERANCE)


@check(r"train_erm.*\.npz")
def check_erm_run(case: Case) -> None:
    problem = trace_problem(case, EmpiricalRisk(network=tiny_network(case.under("init/"))))
    spec = trace_member(case)
    check_fit(case, problem, spec)
    check_first_steps(case, problem, spec)
    if "time_weights" in case:
        weights = increasing_weights(len(case["time_weights"]))
        case.compare("time_weights", weights, "time_weights", TOLERANCE)
        case.compare("sample_weight", np.asarray(weights)[case["step_of_sample"]], "sample_weight", TOLERANCE)


def check_fit(case: Case, problem: Problem, spec: MemberSpec) -> None:
    """The whole run: its minibatches, last and best state, history, and when it stopped."""
    epochs = int(case["n_epochs"])
    result = fit(problem, [spec], FitSettings(StopRule(max_epochs=epochs)))[0]
    compare_states(case, "final/", result.last)
    compare_states(case, "best/", result.best)
    names = {
        "train_loss": "train_losses", "train_accuracy": "train_accuracies",
        "valid_loss": "valid_losses", "valid_accuracy": "valid_accuracies",
    }  # fmt: skip
    for ours, theirs in names.items():
        case.compare(theirs, result.history[ours], theirs, TOLERANCE)
    case.compare("best_epoch", result.best_epoch, "best_epoch", 0)
    case.compare("best_valid_acc", result.best_accuracy, "best_valid_acc", TOLERANCE)
    case.compare("stop_epoch", result.stop_epoch, "stop_epoch", 0)
    check_batch_lengths(case, problem, epochs)


def check_first_steps(case: Case, problem: Problem, spec: MemberSpec) -> None:
    """States after one, two and three optimiser steps, and the losses of these minibatches."""
    seen_loss = 0.0
    for step in (1, 2, 3):
        partial = first_batches(problem, step)
        result = fit(partial, [spec], FitSettings(StopRule(max_epochs=1)))[0]
        compare_states(case, f"step{step}/", result.last)
        count = _samples(problem, step)
        total = result.history["train_loss"][1] * count
        length = count - (_samples(problem, step - 1) if step > 1 else 0)
        expected = case["call_loss"][step - 1]
        case.compare_to(f"call_loss[{step - 1}]", (total - seen_loss) / length, expected, TOLERANCE)
        seen_loss = total


def _samples(problem: Problem, steps: int) -> int:
    batches = problem.batches(0, 1)
    mask = np.ones(batches.index.shape, bool) if batches.mask is None else batches.mask
    return int(mask[:steps].sum())


def check_batch_lengths(case: Case, problem: Problem, epochs: int) -> None:
    whole = [problem.batches(0, epoch) for epoch in range(1, epochs + 1)]
    lengths = [batches.mask[: batches.count].sum(2).ravel() for batches in whole]
    case.compare("call_batch_len", np.concatenate(lengths), "call_batch_len", 0)
    case.compare("n_steps", sum(batches.count for batches in whole), "n_steps", 0)
    case.compare("batch_size", BATCH, "batch_size", 0)


@check(r"weighted_loss\.npz")
def check_weighted_loss(case: Case) -> None:
    labels = jnp.asarray(case["labels"])
    weights = np.asarray(increasing_weights(len(case["time_weights"])))
    case.compare("time_weights", weights, "time_weights", TOLERANCE)
    weight = jnp.asarray(weights[case["time_step"]])
    case.compare("sample_weight", weight, "sample_weight", TOLERANCE)

    def loss(logits):
        sums = batch_sums(logits, labels, None, weight)
        return sums.loss / sums.count

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(case["logits"]))
    case.compare("loss", value, "loss", TOLERANCE)
    case.compare("dloss_dlogits", gradient, "dloss_dlogits", TOLERANCE)


@check(r"time_weights\.npz")
def check_time_weights(case: Case) -> None:
    for key in case.arrays:
        case.compare(key, increasing_weights(int(key[1:])), key, TOLERANCE)


@dataclass(frozen=True)
class Scripted(Objective):
    """A stand-in network whose validation accuracy at each epoch is read from a table.

    Its one parameter counts optimiser steps: the gradient is 1 and the learning rate 1, so Adam moves it by -1.
    The validation set has one sample a table row; answers are right for the fraction that the table asks.
    """

    def loss(self, params, context):
        value = jnp.sum(params["fc"]["count"])
        return value, (context.batch_stats, Sums(value, value, jnp.ones_like(value)))

    def logits(self, variables, data, index, step):
        epoch = jnp.round(-variables["params"]["fc"]["count"]).astype(jnp.int32)
        is_right = (
            data["images"][index, 0, 0, 0]
            < data["table"][variables["params"]["fc"]["row"].astype(int), epoch]
        )
        return jnp.stack([~is_right, is_right], axis=-1).astype(variables["params"]["fc"]["count"].dtype)


@check(r"early_stop\.npz")
def check_early_stop(case: Case) -> None:
    table = case["valid_acc"]
    levels = 1000
    thresholds = np.arange(levels) + 0.5
    problem = Problem(
        objective=Scripted(network=tiny_network()),
        data={
            "images": thresholds.reshape(-1, 1, 1, 1),
            "labels": np.ones(levels, np.int32),
            "table": np.round(table * levels),
        },
        batches=lambda seed, epoch: epoch_batches([Stream(0, np.arange(1))], stored_order, epoch, 1),
        evaluation=lambda seed: {"valid": EvaluationSet(0, np.arange(levels))},
        start=lambda spec: {
            "params": {"fc": {"count": np.zeros(()), "row": np.asarray(float(spec.seed))}},
            "batch_stats": {"fc": {"none": np.zeros(())}},
        },
        role="golden",
    )
    specs = [MemberSpec(row, {"learning_rate": 1.0}, {"fc": 1}, group=row) for row in range(len(table))]
    rule = StopRule(max_epochs=int(case["max_epochs"]), patience=int(case["patience"]))
    results = fit(problem, specs, FitSettings(rule))
    for key, name in (
        ("stop_epoch", "stop_epoch"),
        ("best_epoch", "best_epoch"),
        ("best_acc", "best_accuracy"),
    ):
        case.compare(
            key, [getattr(result, name) for result in results], key, 5e-4 if key == "best_acc" else 0
        )


@check(r"hyper_select\.npz")
def check_hyper_select(case: Case) -> None:
    points = Grid().points()
    for key, name in (
        ("grid_lr", "learning_rate"), ("grid_weight_decay", "weight_decay"), ("grid_dropout", "dropout"),
    ):  # fmt: skip
        case.compare(key, [point[name] for point in points], key, 0)
    chosen = []
    for accuracies in case["valid_acc"]:
        level = {"valid_loss": np.zeros(1)}
        results = [MemberResult(accuracy, 0, 0, False, level, None, None, None) for accuracy in accuracies]
        chosen.append(winner(results, range(len(results))))
    case.compare("chosen", chosen, "chosen", 0)

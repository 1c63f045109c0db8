"""Reference fits of the joint model through the shipped engine, in float64 and stored order."""

import json
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.models.parts.groups import named_tensors
from seqfinal_jax.models.per_step.network import StepNetwork
from seqfinal_jax.models.per_step.start import init_last_from_previous, start_from_single
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings, MemberResult, MemberSpec, Problem, winner
from seqfinal_jax.training.engine.streams import Batches, EvaluationSet, Stream, epoch_batches, stored_order
from seqfinal_jax.training.objectives.fisher import fisher_of
from seqfinal_jax.training.objectives.joint_risk import JointSteps
from seqfinal_jax.training.objectives.last_step import LastStep
from seqfinal_jax.training.objectives.risk import EmpiricalRisk, Objective
from seqfinal_jax.training.objectives.step_penalties import adjacent_norm
from tests.golden.case import Case, check
from tests.golden.joint import compare_each, compare_state, count_steps, hyper
from tests.golden.joint_names import (
    Named,
    canonical,
    joined,
    plain_network,
    plain_variables,
    side_of,
    steps_network,
    steps_variables,
)


@dataclass(frozen=True)
class Sets:
    """The samples of a reference fit: the data of all steps that have some, and the rows by part and step."""

    data: dict[str, np.ndarray]
    rows: dict[str, dict[int, np.ndarray]]

    @staticmethod
    def of(case: Case, steps: int) -> "Sets":
        names = [
            (part, t) for part in ("train", "valid") for t in range(steps) if f"x_{part}/t{t}" in case.arrays
        ]
        data, rows = joined(case, [f"_{part}/t{t}" for part, t in names])
        by_part: dict[str, dict[int, np.ndarray]] = {"train": {}, "valid": {}}
        for (part, t), own in zip(names, rows, strict=True):
            by_part[part][t] = own
        return Sets(data, by_part)

    def problem(self, objective: Objective, start: Any, batch_size: int) -> Problem:
        streams = [Stream(t, rows) for t, rows in self.rows["train"].items()]
        sets = {
            f"{part}_step{t}": EvaluationSet(t, own)
            for part, rows in self.rows.items()
            for t, own in rows.items()
        }
        last = objective.network.num_steps - 1
        return Problem(
            objective=objective,
            data=self.data,
            batches=lambda seed, epoch: epoch_batches(streams, stored_order, epoch, batch_size),
            evaluation=lambda seed: {"valid": sets[f"valid_step{last}"], **sets},
            start=lambda spec: start,
            role="golden",
        )


@check(r"fit_(sep|side)_.*\.npz")
def check_fit(case: Case) -> None:
    meta = json.loads(str(case["meta"]))
    regs, weights = meta["regs"], meta["loss_weights"]
    network = network_of(case, meta)
    increasing = weights == [1 / (meta["T"] - t) for t in range(meta["T"])]
    if not increasing:
        case.compare_to("weights of earlier steps", weights[:-1], np.ones(len(weights) - 1), 0)
    objective = JointSteps(
        network=network,
        increasing=increasing,
        power=int(regs["adjacent_reg_type"][1]),
        by_time=regs["weight_reg_by_time"],
    )
    masks = dict.fromkeys(network.group_names, 1)
    start = steps_variables(network, case.under("w/"))
    check_run(case, meta, objective, start, masks, final=weights[-1])


@check(r"fit_frozen_(sep_init|side)\.npz")
def check_frozen_fit(case: Case) -> None:
    """The last step alone, with all that the earlier step uses loaded from a single model and frozen."""
    meta = json.loads(str(case["meta"]))
    network = network_of(case, meta)
    fresh = steps_variables(network, case.under("w/"))
    start = start_from_single(network, fresh, plain_variables(case.under("partial/")))
    if meta["init_final"]:
        start = init_last_from_previous(start)
    case.compare_to("weight of the last step", meta["loss_weights"][-1], meta["T"], 0)
    masks = network.trained_from(meta["T"] - 1)
    check_run(case, meta, LastStep(network=network), start, masks, final=meta["T"])


def network_of(case: Case, meta: dict[str, Any]) -> StepNetwork:
    """The network of a fit: sizes from its arrays; what stem and head are, and the mode, from `meta`."""
    arrays, images = case.under("w/"), next(a for name, a in case.arrays.items() if name.startswith("x_"))
    base = plain_network(arrays, images)
    case.compare_to("family", base.family, meta["arch"], 0)
    if meta["mode"] == "separate":
        return steps_network(base, meta["T"])
    return steps_network(base, meta["T"], side_of(arrays), meta["side_layers"][0] != "separate")


def check_run(
    case: Case, meta: dict[str, Any], objective: Objective, start: Any, masks: Any, final: float
) -> None:
    regs = meta["regs"]
    efficient = {
        ours: regs[theirs]
        for ours, theirs in (("efficient_decay", "parameter_efficient_weight_decay"),)
        if theirs in regs
    }
    values = hyper(regs["adjacent_reg"], final, meta["lr"], **efficient)
    values["weight_decay"], values["dropout"] = regs["weight_decay"], regs["dropout"]
    sets = Sets.of(case, meta["T"])
    problem = sets.problem(objective, start, meta["batch_size"])
    rule = StopRule(meta["n_epochs"], meta["patience"])
    result = fit(problem, [MemberSpec(0, values, masks)], FitSettings(rule))[0]
    case.compare_to("stop_epoch", result.stop_epoch, meta["stop_epoch"], 0)
    case.compare_to("best_epoch", result.best_epoch, meta["best_epoch"], 0)
    case.compare_to("best_valid_acc", result.best_accuracy, meta["best_valid_acc"], 1e-12)
    check_history(case, sets, result, meta["loss_weights"])
    for which, variables in (("best", result.best), ("last", result.last)):
        named = Named(objective.network, variables["params"], variables["batch_stats"])
        compare_each(case, which, named.sums(case["best_names"]), f"{which}_sum_sumsq")


def check_history(case: Case, sets: Sets, result: MemberResult, weights: list[float]) -> None:
    """Every step's figures, and the totals: the weighted loss over T, the accuracy of all samples together."""
    for part, rows in sets.rows.items():
        loss, right = 0.0, 0.0
        for t, own in rows.items():
            losses, accuracies = (
                result.history[f"{part}_step{t}_{figure}"] for figure in ("loss", "accuracy")
            )
            compare_each(case, f"{part}_step{t}_losses", losses, f"history/{part}_step{t}_losses")
            key = f"history/{part}_step{t}_accuracies"
            case.compare(key, accuracies, key, 1e-12)
            loss, right = loss + weights[t] * losses / len(weights), right + len(own) * accuracies
        compare_each(case, f"{part}_total_losses", loss, f"history/{part}_total_losses")
        key = f"history/{part}_total_accuracies"
        case.compare(key, right / sum(map(len, rows.values())), key, 1e-12)


@check(r"tune_grid\.npz")
def check_grid(case: Case) -> None:
    adjacents = [key.removeprefix("valid_final_accuracies/adj") for key in case.arrays if "/adj" in key]
    steps = count_steps(case, "x_train/")
    network = steps_network(plain_network(case.under("w/"), case["x_train/t0"]), steps)
    start = steps_variables(network, case.under("w/"))
    problem = Sets.of(case, steps).problem(JointSteps(network=network), start, 5)
    masks = dict.fromkeys(network.group_names, 1)
    specs = [MemberSpec(0, hyper(float(adjacent), 3, 3e-3), masks, group=0) for adjacent in adjacents]
    results = fit(problem, specs, FitSettings(StopRule(12, 5)))
    for adjacent, result in zip(adjacents, results, strict=True):
        key = f"valid_final_accuracies/adj{adjacent}"
        case.compare(key, result.history["valid_accuracy"], key, 1e-12)
    best = json.loads(str(case["best"]))
    row = winner(results, range(len(results)))
    found = {**specs[row].hyper, "stop": results[row].stop_epoch}
    names = {
        "learning_rate": "learning_rate", "weight_decay": "weight_decay", "adjacent_reg": "adjacent",
        "dropout": "dropout", "last_time_step_loss_wt": "final_weight", "early_stopping_epochs": "stop",
    }  # fmt: skip
    for theirs, ours in names.items():
        case.compare_to(f"best {theirs}", found[ours], best[theirs], 0)
    case.compare("best_valid_acc", results[row].best_accuracy, "best_valid_acc", 1e-12)
    case.informational("files")


@check(r"fisher_epoch\.npz")
def check_fisher_epoch(case: Case) -> None:
    steps = count_steps(case, "x/")
    network = steps_network(plain_network(case.under("w/"), case["x/t0"]), steps)
    data, rows = joined(case, [f"/t{t}" for t in range(steps)])
    start = steps_variables(network, case.under("w/"))
    problem = Problem(
        objective=JointSteps(network=network, fisher=True),
        data=data,
        batches=lambda seed, epoch: halves(rows),
        evaluation=lambda seed: {"valid": EvaluationSet(steps - 1, rows[-1])},
        start=lambda spec: start,
        role="golden",
    )
    states = []

    def collect(chunk: Any, members: Any) -> None:
        states.append(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), chunk.state))

    spec = MemberSpec(0, hyper(), dict.fromkeys(network.group_names, 1))
    fit(problem, [spec], FitSettings(StopRule(1)), collect)
    params, weights = states[0].params, states[0].extra.weights
    compare_state(case, "fisher/", Named(network, weights))
    key = "penalty_after_epoch"
    compare_each(case, key, adjacent_norm(network, params, weights=weights), key)
    compare_each(case, "unweighted_after_epoch", adjacent_norm(network, params), "unweighted_after_epoch")
    case.compare("num_samples", sum(map(len, rows)), "num_samples", 0)
    check_single_fisher(case, data, rows[0])


def halves(rows: list[np.ndarray]) -> Batches:
    """Every step's samples as two equal minibatches, in stored order."""
    length = max(len(own) // 2 for own in rows)
    index, mask = np.zeros((2, len(rows), length), np.int32), np.zeros((2, len(rows), length), bool)
    for t, own in enumerate(rows):
        for half, part in enumerate(np.split(own, 2)):
            index[half, t, : len(part)], mask[half, t, : len(part)] = part, True
    return Batches(index, mask, np.ones(index.shape), 2)


def check_single_fisher(case: Case, data: dict[str, np.ndarray], rows: np.ndarray) -> None:
    """A single model's weights, in evaluation mode, of minibatches of 4."""
    network = plain_network(case.under("single/w/"), case["x/t0"])
    variables = plain_variables(case.under("single/w/"))
    data = jax.tree.map(jnp.asarray, data)
    weights = fisher_of(EmpiricalRisk(network=network), variables, data, EvaluationSet(0, rows), 4)
    compare_state(case, "single/fisher/", Named(None, weights))
    names = [canonical(str(name).removeprefix("single/fisher/")) for name in case["single/names_with_fisher"]]
    found = [".".join(path) for path, _ in named_tensors(weights)]
    ours = [name.replace("kernel", "weight").replace("scale", "weight") for name in found]
    case.compare_to("single/names_with_fisher", sorted(ours), sorted(names), 0)

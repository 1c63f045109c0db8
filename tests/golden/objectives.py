"""Reference runs and values of the objectives over domains (IRM, DRO) and towards earlier models (Fisher, EWC)."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings, MemberSpec, Problem
from seqfinal_jax.training.engine.programs import State
from seqfinal_jax.training.engine.streams import Batches, EvaluationSet
from seqfinal_jax.training.objectives.anchored import Anchored, anchor_constants
from seqfinal_jax.training.objectives.fisher import fisher_of
from seqfinal_jax.training.objectives.multi_domain import (
    Invariant,
    WorstDomain,
    half_gradients,
    invariance_penalty,
)
from seqfinal_jax.training.objectives.penalties import absolute_norm, distance, squared_norm
from seqfinal_jax.training.objectives.risk import Context, EmpiricalRisk, batch_of, batch_sums
from tests.golden.case import Case, check
from tests.golden.tiny_network import state_of, tiny_network, variables_of
from tests.golden.training import (
    BATCH,
    TOLERANCE,
    check_first_steps,
    check_fit,
    compare_states,
    trace_member,
    trace_problem,
)


def halves_of(permutation: np.ndarray, size: int) -> np.ndarray:
    """Even and odd places of a permutation, padded with -1, as two masks (2,size)."""
    order = permutation[permutation >= 0]
    halves = np.zeros((2, size), bool)
    halves[0, order[0::2]] = halves[1, order[1::2]] = True
    return halves


@check(r"irm_penalty\.npz")
def check_invariance_penalty(case: Case) -> None:
    for prefix in sorted({key.split("/")[0] + "/" for key in case.arrays}):
        arrays = case.under(prefix)
        labels, weight = jnp.asarray(arrays["labels"]), arrays.get("sample_weight")
        halves = jnp.asarray(halves_of(arrays["perm"], len(labels)))
        weight = None if weight is None else jnp.asarray(weight)

        def total(logits, labels=labels, halves=halves, weight=weight):
            sums = batch_sums(logits, labels, None, weight)
            mean, penalty = sums.loss / sums.count, invariance_penalty(logits, labels, halves, weight)
            return mean + penalty, {"mean_ce": mean, "penalty": penalty}

        logits = jnp.asarray(arrays["logits"])
        (value, found), gradient = jax.value_and_grad(total, has_aux=True)(logits)
        g1, g2 = half_gradients(logits, labels, halves, weight)
        found |= {"total": value, "dtotal_dlogits": gradient, "g1": g1, "g2": g2}
        for name, array in found.items():
            case.compare(prefix + name, array, prefix + name, TOLERANCE)


@dataclass(frozen=True)
class RecordedHalves(Invariant):
    """IRM with the halves of a reference run: constants {"halves": (steps, d, 2, b)}; its state counts steps."""

    def init_extra(self, variables):
        return jnp.int32(0)

    def after_step(self, extra, gradients, batch):
        return extra + 1

    def halves(self, context, domain, key):
        return context.constants["halves"][context.extra, domain]


DOMAINS = ("domain0", "domain1", "domain2")


@check(r"train_irm\.npz")
def check_invariant_run(case: Case) -> None:
    halves = np.stack([halves_of(permutation, BATCH) for permutation in case["irm_perm"]])
    constants = {"halves": halves.reshape(-1, len(DOMAINS), 2, BATCH)}
    check_domain_run(
        case,
        trace_problem(case, RecordedHalves(network=tiny_network(case.under("init/"))), DOMAINS, constants),
    )


@check(r"train_dro\.npz")
def check_worst_domain_run(case: Case) -> None:
    check_domain_run(
        case, trace_problem(case, WorstDomain(network=tiny_network(case.under("init/"))), DOMAINS)
    )


def check_domain_run(case: Case, problem: Problem) -> None:
    spec = trace_member(case)
    check_fit(case, problem, spec)
    states = states_of_steps(problem, spec, int(case["n_steps"]))
    for step in (1, 2, 3):
        compare_states(case, f"step{step}/", states[step - 1].variables)
    compare_states(case, "final/", states[-1].variables)
    start = problem.start(spec)
    first = State(start["params"], start["batch_stats"], None, jnp.int32(0))
    losses = domain_losses(problem, spec, [first, *states[:-1]])
    case.compare("call_loss", losses.ravel(), "call_loss", TOLERANCE)


def one_step_epochs(problem: Problem) -> Problem:
    """The problem with an epoch for every optimiser step."""
    per_epoch = problem.batches(0, 1).count

    def batches(seed: int, step: int) -> Batches:
        epoch, place = divmod(step - 1, per_epoch)
        whole = problem.batches(seed, epoch + 1)
        return Batches(*(array[place:][:1] for array in (whole.index, whole.mask, whole.weight)), 1)

    return replace(problem, batches=batches)


def states_of_steps(problem: Problem, spec: MemberSpec, steps: int) -> list[State]:
    """The state after every optimiser step."""
    states = []

    def collect(chunk, members):
        states.append(jax.tree.map(lambda leaf: np.asarray(leaf[0]), chunk.state))

    fit(one_step_epochs(problem), [spec], FitSettings(StopRule(max_epochs=steps, patience=steps)), collect)
    return states


def domain_losses(problem: Problem, spec: MemberSpec, states: list[State]) -> np.ndarray:
    """Each domain's loss at every step, in the order of evaluation, (steps, d)."""
    passes = jax.jit(problem.objective.passes)
    batches, losses = one_step_epochs(problem).batches, []
    data, constants = jax.tree.map(jnp.asarray, (problem.data, problem.constants(0)))
    for step, state in enumerate(states, start=1):
        own = batches(0, step)
        batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), batch_of(own))
        key, masks, hyper = jax.random.key(step), dict(spec.trainable), dict(spec.hyper)
        context = Context(data, masks, state.batch_stats, batch, hyper, key, constants, state.extra)
        found = passes(state.params, context)
        losses.append(found.losses)
    return np.asarray(losses)


def tree_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The trainable tensors of a reference state, or weights by their names, as our parameters."""
    statistics = {
        f"{group}/bn_{leaf}": np.zeros(0) for group in ("conv1", "layer1") for leaf in ("mean", "var")
    }
    return variables_of({**statistics, **arrays})["params"]


@check(r"train_ewc\.npz")
def check_ewc_run(case: Case) -> None:
    anchors = [tree_of(case.under(f"prev{i}/")) for i in (0, 1)]
    weights = [tree_of(case.under(f"fisher{i}/")) for i in (0, 1)]
    objective = Anchored(network=tiny_network(), penalise_bn="by_name", weighted=True)
    problem = trace_problem(case, objective, constants=anchor_constants(anchors, weights, places=3))
    spec = trace_member(case)
    compare_states(case, "prev1/", problem.start(spec))
    check_fit(case, problem, spec)
    check_first_steps(case, problem, spec)


@check(r"fisher_ewc\.npz")
def check_fisher(case: Case) -> None:
    objective = EmpiricalRisk(network=tiny_network())
    for i in (0, 1):
        data = {
            "images": jnp.asarray(case[f"x_prev{i}"].transpose(0, 2, 3, 1)),
            "labels": jnp.asarray(case[f"y_prev{i}"].astype(np.int32)),
        }
        variables = jax.tree.map(jnp.asarray, variables_of(case.under(f"prev{i}/")))
        samples = EvaluationSet(0, np.arange(len(data["labels"])))
        fisher = fisher_of(objective, variables, data, samples, int(case["batch_size"]))
        found = state_of({"params": fisher, "batch_stats": variables["batch_stats"]})
        for name, expected in case.under(f"fisher{i}/").items():
            case.compare_to(f"fisher{i}/{name}", found[name], expected, TOLERANCE)
    check_distances(case)


def check_distances(case: Case) -> None:
    current = tree_of(case.under("current/"))
    anchors, weights = ([tree_of(case.under(f"{kind}{i}/")) for i in (0, 1)] for kind in ("prev", "fisher"))
    case.compare("param_norm_l2", squared_norm(current), "param_norm_l2", TOLERANCE)
    case.compare("param_norm_l1", absolute_norm(current), "param_norm_l1", TOLERANCE)
    sums = {
        "ewc_sum": ("by_name", 2, True), "ewc_sum_excl_bn": ("none", 2, True),
        "l1_to_prev_incl_bn": ("by_name", 1, False), "l1_to_prev_excl_bn": ("none", 1, False),
        "l2_to_prev_excl_bn": ("none", 2, False),
    }  # fmt: skip
    for key, (penalise_bn, power, weighted) in sums.items():
        to_one = partial(distance, current, penalise_bn=penalise_bn, power=power)
        pairs = zip(anchors, weights if weighted else (None, None), strict=True)
        case.compare(key, [to_one(anchor, weights=weight) for anchor, weight in pairs], key, TOLERANCE)
        objective = Anchored(network=tiny_network(), power=power, penalise_bn=penalise_bn, weighted=weighted)
        constants = anchor_constants(anchors, weights if weighted else None)
        context = Context({}, {}, None, None, {"weight_decay": 0.5}, None, constants)
        penalty = objective.penalty(current, context)
        case.compare_to(f"penalty of {key}", penalty, 0.5 * np.sum(case[key]), TOLERANCE)

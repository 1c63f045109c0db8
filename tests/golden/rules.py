"""Reference rules of the methods: the language of layers, surgical scores, learning rates that fall."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.methods.recipes.layer_language import (
    StepLayers,
    layer_groups,
    layer_subsets,
    layers_name,
    parse_layers,
)
from seqfinal_jax.methods.recipes.learning_rates import CHAINS, decayed_rates
from seqfinal_jax.models.parts.groups import is_batch_norm, named_tensors
from seqfinal_jax.training.engine.streams import EvaluationSet
from seqfinal_jax.training.objectives.risk import Batch, EmpiricalRisk, batch_of
from seqfinal_jax.training.objectives.surgical import batch_gradient, layer_scores, rank_groups, tensor_scores
from tests.golden.case import Case, check
from tests.golden.tiny_network import state_of, tiny_network, variables_of

TOLERANCE = 1e-10


@check(r"layer_language\.json")
def check_layer_language(case: Case) -> None:
    for number, wanted in enumerate(case["cases"]):
        check_spec(case, f"cases[{number}] {wanted['spec']!r}", dict(wanted))
    subsets = {blocks: layer_subsets(layer_groups(int(blocks))) for blocks in case["search_counts"]}
    for blocks, order in case["search_order"].items():
        found = [",".join(subset) for subset in subsets[blocks]]
        case.compare_to(f"search_order {blocks}", found, order, 0)
    for blocks, count in case["search_counts"].items():
        case.compare_to(f"search_counts {blocks}", len(set(subsets[blocks])), count, 0)


def check_spec(case: Case, label: str, wanted: dict[str, Any]) -> None:
    """One spec: its stages and name, or its rejection; every field of the reference takes part."""
    blocks, targets, sequential = (
        wanted.pop(key) for key in ("num_blocks", "num_target_steps", "sequential")
    )
    try:
        steps = parse_layers(wanted.pop("spec"), blocks, targets, sequential)
    except ValueError:
        case.compare_to(label, json.dumps({"error": True}), json.dumps(wanted), 0)
        return
    prefix = "sequential" if sequential else "erm"
    found = {
        "steps": [as_reference(step) for step in steps],
        "method_name": f"{prefix}_{layers_name(steps, blocks)}",
    }
    case.compare_to(label, json.dumps(found, sort_keys=True), json.dumps(wanted, sort_keys=True), 0)


def as_reference(step: StepLayers) -> Any:
    return step.kind if step.kind != "stages" else step.stages


@check(r"surgical\.npz")
def check_surgical(case: Case) -> None:
    network, variables = tiny_network(case.under("state/")), variables_of(case.under("state/"))
    data = {
        "images": jnp.asarray(case["x"].transpose(0, 2, 3, 1)),
        "labels": jnp.asarray(case["y"].astype(np.int32)),
    }
    stored = EvaluationSet(0, np.arange(len(case["x"]))).batches(int(case["batch_size"]))
    batches = jax.tree.map(jnp.asarray, batch_of(stored))
    arguments = (EmpiricalRisk(network=network), variables, data, batches, jnp.int32(stored.count))
    check_gradients(case, *arguments)
    tensors, groups = tensor_scores(*arguments), layer_scores(*arguments)
    for metric in ("rgn", "snr"):
        for path, score in named_tensors(tensors[metric]):
            key = f"{metric}_param/{reference_name(path)}"
            case.compare(key, score, key, TOLERANCE)
        scores, order = groups[metric], rank_groups(groups[metric], network.group_names)
        case.compare(
            f"{metric}_score", [scores[g] for g in network.group_names], f"{metric}_score", TOLERANCE
        )
        places = [network.group_names.index(group) for group in order]
        case.compare(f"{metric}_order", places, f"{metric}_order", 0)


def check_gradients(case: Case, objective, variables, data, batches: Batch, count) -> None:
    gradient_of = jax.jit(batch_gradient, static_argnames=("objective",))
    for number in range(int(count)):
        batch = jax.tree.map(lambda leaf, at=number: leaf[at], batches)
        gradient, _ = gradient_of(objective, variables, data, batch)
        found = state_of({"params": gradient, "batch_stats": variables["batch_stats"]})
        for name, expected in case.under(f"grad{number}/").items():
            case.compare_to(f"grad{number}/{name}", found[name], expected, TOLERANCE)


def reference_name(path: tuple[str, ...]) -> str:
    """conv1/bn/scale is conv1/bn_scale in the reference, conv1/conv/kernel is conv1/kernel."""
    return f"{path[0]}/{'bn_' if is_batch_norm(path) else ''}{path[-1]}"


@check(r"lr_decay\.npz")
def check_decay(case: Case) -> None:
    for decay, chains in CHAINS.items():
        case.compare(f"{decay}_start", [chain.start for chain in chains], f"{decay}_start", 0)
        case.compare(f"{decay}_factor", [chain.factor for chain in chains], f"{decay}_factor", 0)
        num_steps = case[decay].shape[1]
        case.compare(decay, decayed_rates(decay, num_steps), decay, 0)

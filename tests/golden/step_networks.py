"""Reference per-step networks: separate versions, side modules, low-rank adapters, by the canonical names."""

import json
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.models import build_network
from seqfinal_jax.models.parts.groups import full_count
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.per_step.low_rank import Adapter
from seqfinal_jax.models.per_step.names import steps_from_torch, steps_to_torch
from seqfinal_jax.models.per_step.network import StepNetwork, apply_step, build_steps
from seqfinal_jax.training.engine.programs import mask_groups
from seqfinal_jax.training.objectives.risk import cross_entropy
from seqfinal_jax.training.objectives.step_penalties import adjacent_norm, parameter_norm
from tests.golden.case import Case, check
from tests.golden.networks import STORED_IN_SINGLE, TOLERANCE, recipe_weight

Named = dict[str, np.ndarray]


def network_of(meta: dict[str, Any]) -> StepNetwork:
    base = build_network(f"{meta['arch']}-{meta['blocks']}", meta["classes"])
    side = meta.get("side_sizes", [])
    adapter = Adapter(meta["adapter_mode"], meta["rank"]) if "rank" in meta else None
    return build_steps(
        base,
        meta["T"],
        meta["mode"],
        meta["separate"],
        side="block" if side in ("block", ["block"]) else tuple(side),
        adapter=adapter,
        all_layers_efficient=meta.get("all_layers_efficient", False),
    )


def load_steps(case: Case, meta: dict[str, Any], network: StepNetwork) -> Any:
    names, shapes = [str(name) for name in case["names"]], json.loads(str(case["shapes"]))
    width = next(
        shape[1]
        for name, shape in zip(names, shapes, strict=True)
        if re.search(r"^fc.*linear\.weight$", name)
    )
    state = {
        name: recipe_weight(meta["seed"], name, shape, width, meta["adapter_scale"])
        for name, shape in zip(names, shapes, strict=True)
    }
    case.compare("w_sum", [np.sum(state[n], dtype=np.float64) for n in names], "w_sum", TOLERANCE)
    sizes = [np.sum(np.abs(state[n]), dtype=np.float64) for n in names]
    case.compare("w_abs_sum", sizes, "w_abs_sum", 1e-8)
    variables = steps_from_torch(network, {name: array.astype(np.float64) for name, array in state.items()})
    return jax.tree.map(jnp.asarray, variables)


@partial(jax.jit, static_argnames=("network",))
def evaluate_steps(network: StepNetwork, variables: Any, x: Any) -> Any:
    """Logits and activation figures of every step."""

    def one(step):
        logits, _, outputs = apply_step(network, variables, step, x[step])
        figures = jnp.stack([jnp.stack([jnp.mean(a), jnp.std(a), jnp.min(a), jnp.max(a)]) for a in outputs])
        return logits, figures

    return jax.lax.map(one, jnp.arange(network.num_steps))


def train_forwards(network: StepNetwork, params: Any, batch_stats: Any, x: Any, labels: Any) -> Any:
    """Mean loss over the steps, forwards in order, running statistics carried on."""

    def one(stats, step):
        tree = {"params": params, "batch_stats": stats}
        logits, stats, _ = apply_step(network, tree, step, x[step], Pass(train=True))
        return stats, (jnp.mean(cross_entropy(logits, labels)), logits)

    stats, (losses, logits) = jax.lax.scan(one, batch_stats, jnp.arange(network.num_steps))
    return jnp.mean(losses), (logits, stats)


@partial(jax.jit, static_argnames=("network",))
def train_steps(network: StepNetwork, variables: Any, x: Any, labels: Any) -> Any:
    def loss(params):
        return train_forwards(network, params, variables["batch_stats"], x, labels)

    return jax.value_and_grad(loss, has_aux=True)(variables["params"])


@partial(jax.jit, static_argnames=("network",))
def train_last(network: StepNetwork, variables: Any, x: Any, labels: Any, masks: Any) -> Any:
    last = network.num_steps - 1

    def loss(params):
        tree = {"params": params, "batch_stats": variables["batch_stats"]}
        logits, stats, _ = apply_step(network, tree, last, x[last], Pass(train=True))
        return jnp.mean(cross_entropy(logits, labels)), (logits, stats)

    (value, aux), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return value, aux, mask_groups(gradients, masks)


@check(r"(side|lowrank|joint)_.*_T\d(_partial)?_s\d+\.npz")
def check_steps(case: Case) -> None:
    meta = json.loads(str(case["meta"]))
    network = network_of(meta)
    variables = load_steps(case, meta, network)
    x, labels = jnp.asarray(case["x"].transpose(0, 1, 3, 4, 2).astype(float)), jnp.asarray(case["labels"])
    case.compare("versions", network.versions, "versions", 0)
    case.compare_to("trainable_params", full_count(variables["params"]), meta["trainable_params"], 0)
    if "adapter_ranks" in meta:
        ranks = [getattr(form, "rank", 0) for form in network.forms]
        case.compare_to("adapter_ranks", ranks, meta["adapter_ranks"], 0)
    logits, figures = evaluate_steps(network, variables, x)
    case.compare("eval/logits", logits, "eval/logits", TOLERANCE, relative=True)
    case.compare("eval/act_stats", figures, "eval/act_stats", TOLERANCE, relative=True)
    check_shapes(case, network, variables, x)
    check_training(case, network, variables, x, labels)
    check_norms(case, network, variables["params"])
    check_last(case, meta, network, variables, x, labels)


def check_shapes(case: Case, network: StepNetwork, variables: Any, x: Any) -> None:
    outputs = jax.eval_shape(lambda v, x: apply_step(network, v, 0, x)[2], variables, x[0])
    shapes = [
        list(a.shape) if len(a.shape) == 2 else [a.shape[0], a.shape[3], a.shape[1], a.shape[2]]
        for a in outputs
    ]
    case.compare_to("eval/act_shapes", str(shapes), str(json.loads(str(case["eval/act_shapes"]))), 0)


def check_training(case: Case, network: StepNetwork, variables: Any, x: Any, labels: Any) -> None:
    (value, (logits, stats)), gradients = train_steps(network, variables, x, labels)
    case.compare("train/logits", logits, "train/logits", TOLERANCE, relative=True)
    case.compare("train/loss", value, "train/loss", TOLERANCE)
    by_name = names_of(network, gradients, {})
    check_gradients(case, "train", by_name)
    for name, expected in case.under("train/grad/").items():
        case.compare_to(f"train/grad/{name}", by_name[name], expected, TOLERANCE)
    moved = names_of(network, {}, stats)
    for name, expected in case.under("train/stat/").items():
        case.compare_to(f"train/stat/{name}", moved[name], expected, STORED_IN_SINGLE)


def names_of(network: StepNetwork, params: Any, stats: Any) -> Named:
    return steps_to_torch(network, {"params": params, "batch_stats": stats})


def check_gradients(case: Case, part: str, by_name: Named, frozen: frozenset[str] = frozenset()) -> None:
    """Norms by tensor (-1 where frozen), and by group and version."""
    names = [str(name) for name in case[f"{part}/param_names"]]
    norms = [-1.0 if name in frozen else np.linalg.norm(by_name[name]) for name in names]
    key = f"{part}/grad_norm_param"
    case.compare(key, norms, key, TOLERANCE, relative=True)
    squares: dict[str, float] = {}
    for name in by_name.keys() - frozen:
        squares[group_of(name)] = squares.get(group_of(name), 0.0) + float(np.sum(np.square(by_name[name])))
    groups = [str(name) for name in case[f"{part}/group_names"]]
    case.compare_to(f"{part}/group_names", sorted(squares), sorted(groups), 0)
    key = f"{part}/grad_norm_group"
    case.compare(key, [np.sqrt(squares[group]) for group in groups], key, TOLERANCE, relative=True)


def group_of(name: str) -> str:
    """`layer1@2` of a name with a version anywhere, `layer1` of one without."""
    version = re.search(r"@\d+", name)
    return re.split(r"[.@]", name)[0] + (version[0] if version else "")


def check_norms(case: Case, network: StepNetwork, params: Any) -> None:
    for power in (2, 1):
        for by_time in (False, True):
            suffix = f"l{power}" + ("_bytime" if by_time else "")
            for kind, norm in (("param", parameter_norm), ("adjacent", adjacent_norm)):
                key = f"reg/{kind}_norm_{suffix}"
                case.compare(key, norm(network, params, power, by_time), key, STORED_IN_SINGLE, relative=True)
    key = "reg/param_norm_l2_effweight10"
    if key in case:
        value = parameter_norm(network, params, efficient_weight=10.0)
        case.compare(key, value, key, STORED_IN_SINGLE, relative=True)


def check_last(
    case: Case, meta: dict[str, Any], network: StepNetwork, variables: Any, x: Any, labels: Any
) -> None:
    """One training pass at the last step with everything that earlier steps use frozen."""
    masks = network.trained_from(network.num_steps - 1)
    value, (logits, stats), gradients = train_last(network, variables, x, labels, masks)
    case.compare("last/logits", logits, "last/logits", TOLERANCE, relative=True)
    case.compare("last/loss", value, "last/loss", TOLERANCE)
    ones = mask_groups(jax.tree.map(jnp.ones_like, variables["params"]), masks)
    trained = names_of(network, ones, {})
    frozen = frozenset(name for name, kept in trained.items() if not np.any(kept))
    case.compare_to("trainable_after_freeze", len(trained) - len(frozen), meta["trainable_after_freeze"], 0)
    check_gradients(case, "last", names_of(network, gradients, {}), frozen)
    before, after = names_of(network, {}, variables["batch_stats"]), names_of(network, {}, stats)
    changed = sorted(name for name in after if np.any(before[name] != after[name]))
    case.compare_to("last/changed_stats", changed, sorted(str(n) for n in case["last/changed_stats"]), 0)
    for name, expected in case.under("last/stat/").items():
        case.compare_to(f"last/stat/{name}", after[name], expected, STORED_IN_SINGLE)
    tree = {"params": variables["params"], "batch_stats": stats}
    logits, _ = evaluate_steps(network, tree, x)
    case.compare("last/eval_logits_after", logits, "last/eval_logits_after", TOLERANCE, relative=True)

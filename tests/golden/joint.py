"""The joint model's objective, side modules, adapters and numbers against the reference, in float64."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.models import build_network, build_steps, init_steps
from seqfinal_jax.models.network import Network
from seqfinal_jax.models.parts import convolution
from seqfinal_jax.models.parts.groups import full_count, is_batch_norm, named_tensors
from seqfinal_jax.models.parts.layers import Pass
from seqfinal_jax.models.per_step.low_rank import adapted, head_rank, map_adapters, neutral_factors
from seqfinal_jax.models.per_step.network import StepNetwork, apply_step
from seqfinal_jax.training.engine.early_stopping import StopRule
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings, MemberSpec, Problem
from seqfinal_jax.training.engine.streams import EvaluationSet, Stream, epoch_batches, stored_order
from seqfinal_jax.training.objectives.joint_risk import JointSteps
from seqfinal_jax.training.objectives.penalties import absolute_norm, squared_norm
from seqfinal_jax.training.objectives.risk import Context, batch_of, batch_sums
from seqfinal_jax.training.objectives.step_penalties import (
    adjacent_norm,
    neighbour_distances,
    parameter_norm,
    stack_norms,
    version_norms,
)
from tests.golden.case import Case, check
from tests.golden.joint_names import (
    Named,
    images,
    joined,
    plain_network,
    side_of,
    steps_network,
    steps_variables,
)

TOLERANCE = 1e-9
FLOOR = 1e-3
DECAY = 1e-4


def compare_each(case: Case, quantity: str, found: Any, key: str) -> None:
    """Every number relative to its own size, with a floor (spec 10.2)."""
    expected = np.asarray(case[key])
    scale = np.maximum(np.abs(expected), FLOOR)
    case.compare_to(quantity, np.asarray(found) / scale, expected / scale, TOLERANCE)


def count_steps(case: Case, prefix: str) -> int:
    return sum(re.fullmatch(prefix + r"t\d", key) is not None for key in case.arrays)


def compare_state(case: Case, prefix: str, named: Named) -> None:
    for name in case.under(prefix):
        compare_each(case, prefix + name, named[name], prefix + name)


@check(r"objective_.*\.npz")
def check_objective(case: Case) -> None:
    steps = count_steps(case, "x/")
    network = steps_network(plain_network(case.under("w/"), case["x/t0"]), steps)
    variables = steps_variables(network, case.under("w/"))
    check_passes(case, network, variables)
    check_penalties(case, network, variables)
    problem, arguments = minibatch_problem(case, network, variables)
    check_values(case, network, arguments)
    check_gradients(case, network, arguments)
    check_adam(case, network, problem, arguments)


@partial(jax.jit, static_argnames=("network", "step", "train"))
def one_pass(network: StepNetwork, variables: Any, step: int, x: Any, labels: Any, train: bool) -> Any:
    logits, stats, _ = apply_step(network, variables, step, x, Pass(train=train))
    sums = batch_sums(logits, labels, None, None)
    return logits, sums.loss / sums.count, stats


def check_passes(case: Case, network: StepNetwork, variables: Any) -> None:
    for mode in ("eval", "train"):
        losses, tree = [], variables
        for t in range(network.num_steps):
            x, labels = images(case[f"x/t{t}"]), case[f"y/t{t}"].astype(np.int32)
            logits, loss, stats = one_pass(network, tree, t, x, labels, mode == "train")
            compare_each(case, f"logits_{mode}/t{t}", logits, f"logits_{mode}/t{t}")
            losses.append(loss)
            tree = {**tree, "batch_stats": stats}
        compare_each(case, f"ce_{mode}", losses, f"ce_{mode}")
    compare_state(case, "stats_after_one_forward/", Named(network, {}, tree["batch_stats"]))


def check_penalties(case: Case, network: StepNetwork, variables: Any) -> None:
    params = variables["params"]
    for power in (2, 1):
        for by_time in (False, True):
            suffix = f"l{power}" + "_by_time" * by_time
            for kind, norm in (("param", parameter_norm), ("adjacent", adjacent_norm)):
                key = f"{kind}_penalty/{suffix}"
                compare_each(case, key, norm(network, params, power, by_time), key)
    distances = [neighbour_distances(params[group]) for group in network.group_names]
    compare_each(case, "adjacent_l2_per_layer_pair", distances, "adjacent_l2_per_layer_pair")
    given, last = case.under("fisher_given/"), f"t{network.num_steps - 1}/"
    weights = {**case.under("w/"), **given}
    weights |= {name: np.full_like(array, np.nan) for name, array in weights.items() if name.startswith(last)}
    fisher = steps_variables(network, weights)["params"]
    key = "adjacent_penalty/l2_fisher"
    compare_each(case, key, adjacent_norm(network, params, weights=fisher), key)


def hyper(adjacent: float = 0.1, final: float = 3.0, rate: float = 1e-3, **more: float) -> dict[str, float]:
    return {
        "learning_rate": rate, "weight_decay": DECAY, "dropout": 0.0, "adjacent": adjacent,
        "final_weight": final, **more,
    }  # fmt: skip


def minibatch_problem(case: Case, network: StepNetwork, variables: Any) -> tuple[Problem, Callable]:
    """An epoch of the one minibatch of each step; and the arguments of `JointSteps.loss` on it."""
    data, rows = joined(case, [f"/t{t}" for t in range(network.num_steps)])
    streams = [Stream(t, own) for t, own in enumerate(rows)]
    size = max(map(len, rows))
    problem = Problem(
        objective=JointSteps(network=network),
        data=data,
        batches=lambda seed, epoch: epoch_batches(streams, stored_order, epoch, size),
        evaluation=lambda seed: {"valid": EvaluationSet(network.num_steps - 1, rows[-1])},
        start=lambda spec: variables,
        role="golden",
    )
    batches = problem.batches(0, 1)
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), batch_of(batches))
    data, masks = jax.tree.map(jnp.asarray, data), dict.fromkeys(network.group_names, 1)

    def arguments(variables: Any, hyper: dict[str, float]) -> tuple:
        hyper = {name: jnp.asarray(value) for name, value in hyper.items()}
        context = Context(data, masks, variables["batch_stats"], batch, hyper, jax.random.key(0))
        return variables["params"], context

    return problem, partial(arguments, variables)


KEY = re.compile(r"objective/(none|l1|l2)_(?:(.+?)_)?(final(\d)|increasing)(_bytime)?")


def check_values(case: Case, network: StepNetwork, arguments: Callable) -> None:
    losses: dict[JointSteps, Callable] = {}
    for key in [key for key in case.arrays if key.startswith("objective/")]:
        kind, adjacent, weights, final, by_time = KEY.fullmatch(key).groups()
        objective = JointSteps(
            network=network,
            increasing=weights == "increasing",
            power=1 if kind == "l1" else 2,
            by_time=bool(by_time),
        )
        loss = losses.setdefault(objective, jax.jit(objective.loss))
        value, _ = loss(*arguments(hyper(float(adjacent or 0), float(final or 1))))
        compare_each(case, key, value, key)


def check_gradients(case: Case, network: StepNetwork, arguments: Callable) -> None:
    value_and_grad = jax.jit(jax.value_and_grad(JointSteps(network=network).loss, has_aux=True))
    (_, (stats, _)), gradient = value_and_grad(*arguments(hyper()))
    named = Named(network, gradient)
    compare_each(case, "gradients", named.sums(case["grad_names"]), "grad_sum_sumsq")
    compare_state(case, "grad/", named)
    squares = named.sums(case["fisher_batch_names"])[:, 1]
    compare_each(case, "squared gradients", squares, "fisher_batch_sum")
    moved = Named(network, {}, stats)
    prefix = "stats_after_one_forward/"
    for name in case.under(prefix):
        compare_each(case, f"{name} after the loss", moved[name], prefix + name)


def check_adam(case: Case, network: StepNetwork, problem: Problem, arguments: Callable) -> None:
    states = [problem.start(None)]

    def collect(chunk: Any, members: Any) -> None:
        states.append(jax.tree.map(lambda leaf: np.asarray(leaf[0]), chunk.state.variables))

    spec = MemberSpec(0, hyper(), dict.fromkeys(network.group_names, 1))
    fit(problem, [spec], FitSettings(StopRule(3, 3)), collect)
    loss = jax.jit(problem.objective.loss)
    for step, variables in enumerate(states[:3]):
        _, context = arguments(hyper())
        value, _ = loss(variables["params"], context._replace(batch_stats=variables["batch_stats"]))
        compare_each(case, f"adam_loss/step{step}", value, f"adam_loss/step{step}")
    after = Named(network, states[3]["params"], states[3]["batch_stats"])
    compare_each(case, "after three steps", after.sums(case["after3_names"]), "after3_sum_sumsq")


def side_network(case: Case) -> StepNetwork:
    """The network of a file, from its arrays.

    Whether stem and head are replaced or summed over versions shows in no shape: of the two readings it is the one whose
    logits of the last step are nearer; that they agree is then checked like everything else.
    """
    arrays, acts = case.under("w/"), case.under("acts_last/")
    steps = count_steps(case, "logits_eval/")
    base, side, last = plain_network(arrays, case["x"], acts), side_of(arrays), steps - 1
    wanted, labels = case[f"logits_eval/t{last}"], jnp.zeros(len(case["x"]), jnp.int32)
    readings = []
    for efficient in (False, True):
        network = steps_network(base, steps, side, efficient)
        logits = one_pass(network, steps_variables(network, arrays), last, images(case["x"]), labels, False)[
            0
        ]
        readings.append((float(np.max(np.abs(np.asarray(logits) - wanted))), efficient, network))
    return min(readings)[2]


@check(r"side_(?!.*_T\d).*\.npz")
def check_side(case: Case) -> None:
    network = side_network(case)
    variables = steps_variables(network, case.under("w/"))
    x, tree = images(case["x"]), variables
    labels = jnp.zeros(len(x), jnp.int32)
    for t in range(network.num_steps):
        logits, _, _ = one_pass(network, variables, t, x, labels, False)
        compare_each(case, f"logits_eval/t{t}", logits, f"logits_eval/t{t}")
        logits, _, stats = one_pass(network, tree, t, x, labels, True)
        compare_each(case, f"logits_train/t{t}", logits, f"logits_train/t{t}")
        tree = {**tree, "batch_stats": stats}
    compare_state(case, "stats_after_forwards/", Named(network, {}, tree["batch_stats"]))
    outputs = jax.jit(lambda v: apply_step(network, v, network.num_steps - 1, x)[2])(variables)
    layers = ("stem", *(f"block{k}" for k in range(network.base.num_blocks)), "head")
    for layer, output in zip(layers, outputs, strict=True):
        output = output.transpose(0, 3, 1, 2) if output.ndim == 4 else output
        compare_each(case, f"acts_last/{layer}", output, f"acts_last/{layer}")
    params = variables["params"]
    compare_each(case, "param_penalty/l2", parameter_norm(network, params), "param_penalty/l2")
    weighted = parameter_norm(network, params, efficient_weight=float(case["eff_ratio"]))
    compare_each(case, "param_penalty/l2_eff", weighted, "param_penalty/l2_eff")
    for power in (1, 2):
        key = f"adjacent_penalty/l{power}"
        compare_each(case, key, adjacent_norm(network, params, power), key)


@check(r"low_rank_ops\.npz")
def check_low_rank(case: Case) -> None:
    for mode in ("add", "multiply"):
        for kind in ("conv", "linear"):
            check_adapter(case, f"{mode}/{kind}/", mode, kind)


def check_adapter(case: Case, prefix: str, mode: str, kind: str) -> None:
    """One layer, with two adapters and three versions."""
    arrays = {name: jnp.asarray(array) for name, array in case.under(prefix + "w/").items()}
    tree = adapter_tree(arrays, kind)
    x = images(case[prefix + "x"]) if kind == "conv" else case[prefix + "x"]

    def output(tree: Any, version: int) -> Any:
        layer = adapted(tree, version, mode)["layer"]
        return (
            convolution.conv(x, layer["kernel"], 2, 1)
            if kind == "conv"
            else x @ layer["kernel"] + layer["bias"]
        )

    neutral = {
        **tree,
        "adapters": map_adapters(partial(neutral_factors, mode), tree["base"], tree["adapters"]),
    }
    for t in range(3):
        weight = to_reference(adapted(tree, t, mode)["layer"]["kernel"])
        compare_each(case, f"{prefix}eff_weight/t{t}", weight, f"{prefix}eff_weight/t{t}")
        compare_each(case, f"{prefix}y/t{t}", to_reference_output(output(tree, t)), f"{prefix}y/t{t}")
        key = f"{prefix}y_ablated/t{t}"
        if kind == "linear" and t > 0:  # the published new bias is 0, ours is the base's
            case.informational(key)
        else:
            compare_each(case, key, to_reference_output(output(neutral, t)), key)
    gradient = jax.grad(lambda tree: jnp.sum(jnp.square(output(tree, 2))))(tree)
    for name in case.under(prefix + "grad_sumsq_out_t2/"):
        key = f"{prefix}grad_sumsq_out_t2/{name}"
        compare_each(case, key, adapter_tensor(gradient, name), key)
    for power, norm in ((2, squared_norm), (1, absolute_norm)):
        norms = [norm(tree["base"]), *stack_norms(tree["adapters"], power)]
        compare_each(case, f"{prefix}penalty_l{power}", norms, f"{prefix}penalty_l{power}")


def adapter_tree(arrays: dict[str, Any], kind: str) -> dict[str, Any]:
    weight = arrays["weight"]
    base = {"kernel": weight.transpose(2, 3, 1, 0) if kind == "conv" else weight.T}
    factors = {name: jnp.stack([arrays[f"{name}0"], arrays[f"{name}1"]]) for name in ("A_in", "A_out")}
    if kind == "linear":
        base["bias"] = arrays["bias"]
        factors["bias"] = jnp.stack([arrays["b_new0"], arrays["b_new1"]])
    return {"base": {"layer": base}, "adapters": {"layer": factors}, "norms": {}}


def adapter_tensor(tree: dict[str, Any], name: str) -> Any:
    if name == "weight":
        return to_reference(tree["base"]["layer"]["kernel"])
    if name == "bias":
        return tree["base"]["layer"]["bias"]
    return tree["adapters"]["layer"]["bias" if name.startswith("b_new") else name[:-1]][int(name[-1])]


def to_reference(kernel: Any) -> Any:
    return kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T


def to_reference_output(y: Any) -> Any:
    return y.transpose(0, 3, 1, 2) if y.ndim == 4 else y


ONE_DRAW = 0.01
ROUNDED = 0.0051


@check(r"reference_numbers\.json")
def check_numbers(case: Case) -> None:
    case.compare_to("input", "3x32x32", case["input"], 0)
    for name, numbers in case["plain"].items():
        check_plain_numbers(case, name, build_network(name, case["classes"]), numbers)
    for name, numbers in case["joint_T4_params"].items():
        check_joint_numbers(case, name, build_network(name, case["classes"]), numbers)
    for name, pairs in case["layer_params_plain_vs_1conv_side"].items():
        network = build_steps(build_network(name, case["classes"]), 2, "side_tune", all_layers_efficient=True)
        params = step_shapes(network)["params"]
        found = [[full_count(params[g]["base"]), full_count(params[g]["side"])] for g in network.group_names]
        case.compare_to(f"{name} layers", found, pairs, 0)
    for text, rank in case["max_head_rank"].items():
        classes = int(text.split("C=")[1])
        case.compare_to(f"largest head rank, {text}", head_rank(10**6, 512, classes), rank, 0)


def check_plain_numbers(case: Case, name: str, base: Network, numbers: dict[str, Any]) -> None:
    """Counts, and sums of squares of one draw of two steps."""
    network = build_steps(base, 2)
    variables = init_steps(network, jax.random.key(0))
    sizes = {path: leaf.size // 2 for path, leaf in named_tensors(variables["params"])}
    norms = sum(size for path, size in sizes.items() if is_batch_norm(path))
    total = sum(sizes.values())
    found = {"params": total, "penalised": total - norms, "batchnorm": norms}
    for key, value in found.items():
        case.compare_to(f"{name} {key}", value, numbers[key], 0)
    params = variables["params"]
    for step in range(2):
        square = sum(float(version_norms(form, params[form.group])[step]) for form in network.forms)
        expected = numbers["E_param_sumsq_per_step"]
        case.compare_to(f"{name} draw of step {step}", square / expected, 1.0, ONE_DRAW)
    pair = float(adjacent_norm(network, params)) / numbers["E_adjacent_sumsq_per_pair"]
    case.compare_to(f"{name} draw of a pair", pair, 1.0, ONE_DRAW)
    millions = forward_millions(network, 0)
    case.compare_to(f"{name} multiply-adds", millions, numbers["forward_MMAC"], ROUNDED)


def check_joint_numbers(case: Case, name: str, base: Network, numbers: dict[str, Any]) -> None:
    sides = {"side_block_all_efficient": "block", "side_1conv_all_efficient": ()}
    case.compare_to(f"{name} separate", step_count(build_steps(base, 4)), numbers["separate"], 0)
    for key, side in sides.items():
        if key in numbers:
            network = build_steps(base, 4, "side_tune", side=side, all_layers_efficient=True)
            case.compare_to(f"{name} {key}", step_count(network), numbers[key], 0)
    key = "side_1conv_forward_MMAC_per_t"
    if key in numbers:
        found = [forward_millions(network, t) for t in range(4)]
        case.compare_to(f"{name} {key}", found, numbers[key], 10 * ROUNDED)


def step_shapes(network: StepNetwork) -> Any:
    return network.shapes


def step_count(network: StepNetwork) -> int:
    return full_count(step_shapes(network)["params"])


def forward_millions(network: StepNetwork, step: int) -> float:
    """Multiply-adds of convolutions and matrix products for one image, in millions.

    Counted in the native form: others leave out taps that meet padding only, or multiply a margin too.
    """
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.result_type(float))
    with mock.patch.dict(convolution.CONV_FORM, {jax.default_backend(): "native"}):
        program = jax.make_jaxpr(lambda v, x: apply_step(network, v, step, x)[0])(step_shapes(network), x)
    return multiply_adds(program.jaxpr) / 1e6


def multiply_adds(program: Any) -> int:
    total = 0
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            contracted = equation.params["dimension_numbers"][0][0]
            shape = equation.invars[0].aval.shape
            total += equation.outvars[0].aval.size * int(np.prod([shape[axis] for axis in contracted]))
        if equation.primitive.name == "conv_general_dilated":  # the kernel is HWIO
            total += equation.outvars[0].aval.size * int(np.prod(equation.invars[1].aval.shape[:3]))
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "jaxpr")):
            total += multiply_adds(inner.jaxpr) if hasattr(inner, "jaxpr") else 0
    return total

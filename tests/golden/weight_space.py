"""Reference SVCCA coefficients and weight projections."""

import re
from typing import Any

import jax
import numpy as np

from seqfinal_jax.analysis.weight_space.projection import coordinates, weight_vectors
from seqfinal_jax.analysis.weight_space.svcca import coefficients, decompose, kept, similarities, similarity
from seqfinal_jax.models import NetworkConfig, apply_network, build_network, init_variables
from seqfinal_jax.models.convert.from_torch import to_trees
from seqfinal_jax.models.parts.groups import full_count, reported_count
from seqfinal_jax.models.parts.interpolation import interpolate
from seqfinal_jax.models.per_step.names import steps_from_torch
from seqfinal_jax.models.per_step.network import apply_step, build_steps
from tests.golden.case import Case, check

SINGLE = "float32"  # the case whose activations are stored in single precision


@check(r"svcca\.npz")
def check_svcca(case: Case) -> None:
    levels = case["levels"].tolist()
    for name in case["case_names"].tolist():
        single = name == SINGLE
        model, oracle = (decompose(case[f"{name}__acts_{whose}"]) for whose in ("model", "oracle"))
        for whose, found in (("model", model), ("oracle", oracle)):
            key = f"{name}__sv_{whose}"
            values = np.zeros(len(case[key]))
            values[: len(found.values)] = found.values[: len(values)]
            case.compare(key, values, key, 1e-4 if single else 1e-6)
            key = f"{name}__n_{whose}"
            case.compare(key, [kept(found.values, level) for level in levels], key, 0)
        for level, key in zip(levels, (f"{name}__coefs_50", f"{name}__coefs_90"), strict=True):
            case.compare(key, coefficients(model, oracle, level), key, 1e-5 if single else 1e-6)
        key = f"{name}__mean"
        case.compare(key, similarity(model, oracle, levels), key, 1e-5 if single else 1e-7)


@check(r"projection\.npz")
def check_projection(case: Case) -> None:
    ends = np.cumsum(case["layer_dims"])[:-1]
    names = [f"layer {place}" for place in range(len(case["layer_dims"]))]
    oracle, history, final = (np.split(case[key], ends) for key in ("oracle", "all_prev", "final"))

    def place(vector: np.ndarray) -> np.ndarray:
        return coordinates(np.split(vector, ends), oracle, history, final, names)

    case.compare("coords_models", [place(model) for model in case["models"]], "coords_models", 1e-10)
    for key, name in (
        ("oracle", "coords_oracle"),
        ("all_prev", "coords_all_prev"),
        ("final", "coords_final"),
    ):
        case.compare(name, place(case[key]), name, 1e-10)
    joint = np.stack([place(vector) for vector in case["joint_params"]], axis=1)
    case.compare("coords_joint", joint, "coords_joint", 1e-10)
    case.informational("joint_module_path")


@check(r"cca_models\.npz")
def check_cca_models(case: Case) -> None:
    network = build_network("convnet-2", 5, NetworkConfig(stem_width=4, widths=(4, 8), strides=(1, 2)))
    x = case["x"].astype(np.float32).transpose(0, 2, 3, 1).astype(np.float64)

    def layers(whose: str) -> list[np.ndarray]:
        state = {_named(key): array for key, array in case.under(f"{whose}__").items()}
        trees = to_trees({name: array.astype(np.float64) for name, array in state.items()})
        logits, _, outputs = apply_network(network, trees, x)
        return [decompose(np.asarray(each)) for each in [*outputs[:-1], logits]], outputs

    (model, _), (oracle, outputs) = layers("model"), layers("oracle")
    for place, output in enumerate(outputs):
        key = f"oracle_act_mean_layer{place}"
        mean = (
            np.moveaxis(np.asarray(output), -1, 1).mean(axis=0)
            if output.ndim == 4
            else np.asarray(output).mean(axis=0)
        )
        case.compare(key, mean.ravel(), key, 1e-5)
    levels = case["levels"].tolist()
    case.compare("coords_eval", similarities(model, oracle, levels), "coords_eval", 1e-5)
    case.compare(
        "n_oracle_eval", [[kept(each.values, v) for v in levels] for each in oracle], "n_oracle_eval", 0
    )
    steps = build_steps(network, 3, "separate")
    named = {_named(key): array.astype(np.float64) for key, array in case.under("joint__").items()}
    variables = steps_from_torch(steps, named)
    found = []
    for step in range(3):
        logits, _, outputs = apply_step(steps, variables, step, x)
        found.append(
            similarities([decompose(np.asarray(o)) for o in [*outputs[:-1], logits]], oracle, levels)
        )
    case.compare("coords_joint_eval", np.stack(found, axis=1), "coords_joint_eval", 1e-5)
    case.informational("n_oracle_train", "coords_train_as_original")


def _named(key: str) -> str:
    """The canonical name of a tensor of these files: 0 is a convolution, 1 its norm, 2 the head; t0, t1 are versions."""
    group, version, place, leaf = re.fullmatch(r"(\w+?)(?:\.t(\d+))?\.(\d)\.(\w+)", key).groups()
    module = "linear" if group == "fc" else ("conv", "bn")[int(place)]
    return f"{group}{'' if version is None else f'@{version}'}.{module}.{leaf}"


SIZES = {
    "convnet": NetworkConfig(stem_width=4, widths=(4, 8), strides=(1, 2)),
    "resnet": NetworkConfig(stem_width=4, widths=(4, 8), strides=(1, 2), units=2),
    "densenet": NetworkConfig(dense_layers=(1, 1)),
}
RENAMED = (
    (r"^conv1\.0\.", "conv1.conv."), (r"^conv1\.1\.", "conv1.bn."), (r"^fc\.0\.", "fc.bn."),
    (r"^fc\.[24]\.", "fc.linear."),
    (r"downsample\.0\.", "downsample.conv."), (r"downsample\.1\.", "downsample.bn."),
    (r"^(layer\d)\.(?:0\.)?denselayer(\d+)\.", r"\1.dense\2."), (r"^(layer\d)\.1\.norm\.", r"\1.transition.bn."),
    (r"^(layer\d)\.1\.conv\.", r"\1.transition.conv."), (r"\.norm(\d)\.", r".bn\1."),
)  # fmt: skip


@check(r"interpolation_(convnet|resnet|densenet)\.npz")
def check_interpolation(case: Case) -> None:
    names = " ".join(case.arrays)
    family = "densenet" if "denselayer" in names else "resnet" if "layer1.0.conv1" in names else "convnet"
    network = build_network(f"{family}-2", 5, SIZES[family])
    start, end = (_trees(case.under(f"{whose}__"), family) for whose in ("start", "end"))
    x = case["x"].transpose(0, 2, 3, 1).astype(np.float64)
    evaluate = jax.jit(lambda variables: apply_network(network, variables, x)[0])
    for mix, name in (("weights", "weights_only"), ("every", "full")):
        found = []
        for factor in case["alphas"]:  # the ends are the models themselves
            exact = {0.0: start, 1.0: end}.get(float(factor))
            found.append(
                np.asarray(
                    evaluate(exact if exact is not None else interpolate(start, end, float(factor), mix))
                )
            )
        case.compare(f"logits_{name}", found, f"logits_{name}", 2e-5)
        accuracy = [(logits.argmax(-1) == case["y"]).mean() for logits in found]
        case.compare(f"acc_{name}", accuracy, f"acc_{name}", 1e-12)
    mixed = _trees(case.under("weights_only_alpha0.25__"), family) if family != "densenet" else None
    if mixed is not None:
        ours = jax.tree.leaves(interpolate(start, end, 0.25, "weights"))
        worst = max(
            float(np.abs(np.asarray(a) - b).max()) for a, b in zip(ours, jax.tree.leaves(mixed), strict=True)
        )
        case.compare_to("mixed tensors", worst, np.asarray(0.0), 1e-6)
    added = 2 * 9 * 4 * 4 if family == "resnet" else 0  # of the unit that does nothing
    lengths = [len(each) for each in weight_vectors(start["params"], network.group_names)]
    lengths[1] -= added
    case.compare("param_vec_len_per_layer", lengths, "param_vec_len_per_layer", 0)
    if family == "resnet":
        case.informational("logits_original_resnet_bug")


def _trees(state: dict[str, np.ndarray], family: str) -> dict[str, Any]:
    """Our trees. The ResNet has one unit in its first block and two in the second; ours gets one more that adds 0."""
    named = {}
    for key, array in state.items():
        name = _named(key) if family == "convnet" else key
        for pattern, written in RENAMED if family != "convnet" else ():
            name = re.sub(pattern, written, name)
        named[name] = array.astype(np.float64)
    if family == "resnet":
        for place in ("1", "2"):
            named[f"layer1.1.conv{place}.weight"] = np.zeros((4, 4, 3, 3))
            for leaf, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
                named[f"layer1.1.bn{place}.{leaf}"] = np.full(4, value)
    return to_trees(named)


@check(r"param_counts\.npz")
def check_counts(case: Case) -> None:
    rows = zip(case["model"], case["num_blocks"], case["num_classes"], strict=True)
    reported, full, layers = [], [], []
    for family, blocks, classes in rows:
        network = build_network(f"{family}-{blocks}", int(classes))
        params = jax.eval_shape(lambda key, n=network: init_variables(n, key), jax.random.key(0))["params"]
        layers.append(",".join(str(reported_count(params[group])) for group in network.group_names))
        reported.append(sum(reported_count(params[group]) for group in network.group_names))
        full.append(full_count(params))
    case.compare("count_as_original", reported, "count_as_original", 0)
    case.compare("count_all_trainable", full, "count_all_trainable", 0)
    wrong = [
        (mine, theirs)
        for mine, theirs in zip(layers, case["per_layer_as_original"], strict=True)
        if mine != theirs
    ]
    case.compare_to(f"layers {wrong[:2]}", len(wrong), np.asarray(0), 0)


@check(r"interpolation_joint\.npz")
def check_interpolation_of_steps(case: Case) -> None:
    x = case["x"].transpose(0, 2, 3, 1).astype(np.float64)
    for name in ("resnet_separate", "resnet_side_layer", "convnet_side_block"):
        family = name.split("_")[0]
        mode = "separate" if name.endswith("separate") else "side_tune"
        base = build_network(f"{family}-2", 5, SIZES[family])
        network = build_steps(base, 2, mode, side="block" if name.endswith("block") else ())
        state = {key: array for key, array in case.under(f"{name}__").items() if not key.startswith("logits")}
        variables = steps_from_torch(network, _step_names(state, family, name))

        @jax.jit
        def on_line(factor, mix="weights", network=network, variables=variables):
            return network.on_line(variables, variables, factor, x, mix)

        for step in range(2):
            logits = apply_step(network, variables, step, x)[0]
            case.compare(f"{name}__logits_t{step}", logits, f"{name}__logits_t{step}", 2e-5)
            ours = network.on_line(variables, variables, float(step), x)
            case.compare_to(f"{name}, end {step} of our line", ours, np.asarray(logits), 1e-9)
        found = [np.asarray(on_line(float(factor))) for factor in case["alphas"]]
        case.compare(f"{name}__logits_interp", found, f"{name}__logits_interp", 2e-5)
    case.informational("convnet_side_block__logits_t1_as_rebuilt_by_original")


def _step_names(state: dict[str, np.ndarray], family: str, name: str) -> dict[str, np.ndarray]:
    """The canonical names of tensors of two time steps; a ResNet's first block gets a second unit that adds 0."""
    named = {}
    for key, array in state.items():
        group, step, rest = re.fullmatch(r"(\w+?)\.t(\d)\.(.+)", key).groups()
        if name.endswith("side_layer") and step == "1" and group.startswith("layer"):
            rest = {"0": "side.conv0.", "1": "side.bn."}[rest[0]] + rest[2:]
        elif rest.count(".") == 1:  # a convolution, a norm or a linear layer by its place
            rest = _named(f"{group}.{rest}").removeprefix(f"{group}.")
        plain = f"{group}.{rest}"
        for pattern, written in RENAMED:
            plain = re.sub(pattern, written, plain)
        head, tail = plain.split(".", 1)
        named[f"{head}@{step}.{tail}"] = array.astype(np.float64)
    if family == "resnet":
        for step in ("0",) if name.endswith("side_layer") else ("0", "1"):
            for place in ("1", "2"):
                unit = f"layer1@{step}.1"
                named[f"{unit}.conv{place}.weight"] = np.zeros((4, 4, 3, 3))
                for leaf, value in (
                    ("weight", 1.0),
                    ("bias", 0.0),
                    ("running_mean", 0.0),
                    ("running_var", 1.0),
                ):
                    named[f"{unit}.bn{place}.{leaf}"] = np.full(4, value)
    return named

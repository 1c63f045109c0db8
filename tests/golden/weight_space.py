"""Reference SVCCA coefficients and weight projections."""

import re

import numpy as np

from seqfinal_jax.analysis.weight_space.projection import coordinates
from seqfinal_jax.analysis.weight_space.svcca import coefficients, decompose, similarities, similarity
from seqfinal_jax.models import NetworkConfig, apply_network, build_network
from seqfinal_jax.models.convert.from_torch import to_trees
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
            case.compare(key, [found.kept(level) for level in levels], key, 0)
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
    case.compare("n_oracle_eval", [[each.kept(v) for v in levels] for each in oracle], "n_oracle_eval", 0)
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

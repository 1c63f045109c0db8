"""Reference models on a line, and distances between models."""

import json

import jax
import numpy as np

from seqfinal_jax.models import apply_network, build_network, init_variables
from seqfinal_jax.models.convert.from_torch import to_trees, torch_shapes
from seqfinal_jax.models.parts.interpolation import interpolate
from seqfinal_jax.training.objectives.penalties import distance
from tests.golden.case import Case, check
from tests.golden.networks import TOLERANCE, compared_names, recipe_weight

DISTANCE = 1e-6  # the reference summed in single precision


@check(r"interp_(convnet|resnet|densenet)\d_s\d+\.npz")
def check_interpolation(case: Case) -> None:
    meta = json.loads(str(case["meta"]))
    network = build_network(f"{meta['arch']}-{meta['blocks']}", meta["classes"])
    shapes = torch_shapes(jax.eval_shape(lambda key: init_variables(network, key), jax.random.key(0)))
    width = shapes["fc.linear.weight"][1]
    start, end = (
        to_trees({n: recipe_weight(meta[seed], n, s, width).astype(np.float64) for n, s in shapes.items()})
        for seed in ("seed_A", "seed_B")
    )
    x = case["x"].transpose(0, 2, 3, 1).astype(np.float64)
    evaluate = jax.jit(lambda variables: apply_network(network, variables, x)[0])
    case.compare("logits_A", evaluate(start), "logits_A", TOLERANCE, relative=True)
    case.compare("logits_B", evaluate(end), "logits_B", TOLERANCE, relative=True)
    for key, mix in (("logits_layerwise", "weights"), ("logits_all_tensors", "every")):
        logits = [evaluate(interpolate(start, end, factor, mix)) for factor in case["vals"]]
        case.compare(key, logits, key, TOLERANCE, relative=True)
    layerwise = [np.asarray(evaluate(interpolate(start, end, factor, "weights"))) for factor in case["vals"]]
    check_released(case, network.family, layerwise, np.asarray(evaluate(start)))
    check_distances(case, start["params"], end["params"])


def check_released(case: Case, family: str, layerwise: list[np.ndarray], at_start: np.ndarray) -> None:
    """The released program's ResNet mixed nothing; elsewhere it followed the layer rule."""
    released = [at_start] * len(layerwise) if family == "resnet" else layerwise
    case.compare("logits_released", released, "logits_released", TOLERANCE, relative=True)


def check_distances(case: Case, start: dict, end: dict) -> None:
    for power in (2, 1):
        for key, rule in ((f"dist_l{power}_released", "by_name"), (f"dist_l{power}_no_bn", "none")):
            case.compare(key, distance(start, end, rule, power), key, DISTANCE, relative=True)
    every = sum(
        np.sum(np.square(a - b)) for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(end), strict=True)
    )
    case.compare("dist_l2_all", every, "dist_l2_all", DISTANCE, relative=True)
    names = sorted(str(name) for name in case["released_included_names"])
    case.compare_to("released_included_names", compared_names(start), names, 0)

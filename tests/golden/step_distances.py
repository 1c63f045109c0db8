"""Reference distances between the joint model's versions of neighbouring steps, and what the published figure draws."""

import numpy as np

from seqfinal_jax.analysis.figures.adjacent_effect import change_over_steps
from seqfinal_jax.methods.stages.step_models import distance
from tests.golden.case import Case, check

GROUPS = ("conv1", "layer1", "layer2", "fc")


@check(r"adjacent_norms\.npz")
def check_adjacent_norms(case: Case) -> None:
    distances = []
    for group in GROUPS:
        tensors = case.under(f"joint__{group}.")
        steps = [
            {
                name: leaf
                for name, leaf in tensors.items()
                if name.startswith(f"t{t}.") and "running" not in name
            }
            for t in range(3)
        ]
        named = [{name.split(".", 1)[1]: leaf for name, leaf in step.items()} for step in steps]
        distances.append([distance(named[t], named[t + 1]) for t in range(2)])
    squares, key = np.square(distances), "sq_norm_per_layer_per_step"
    case.compare(key, squares, key, 1e-6, relative=True)
    drawn, key = [change_over_steps(np.array(each)) for each in distances], "plotted_norm_per_layer"
    case.compare(key, drawn, key, 1e-6, relative=True)

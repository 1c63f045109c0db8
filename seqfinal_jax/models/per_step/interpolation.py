"""Models on the straight line between two models."""

from typing import Any, Literal

import jax
from jax import Array

from seqfinal_jax.models.network import Network, Variables, apply_group, apply_network
from seqfinal_jax.models.parts.groups import is_batch_norm
from seqfinal_jax.models.parts.layers import EVALUATION
from seqfinal_jax.models.per_step.network import StepNetwork, apply_step, apply_versions, extract_group
from seqfinal_jax.models.per_step.versions import pick, with_version

Mix = Literal["every", "weights"]


def interpolate(start: Variables, end: Variables, factor: float | Array, mix: Mix = "every") -> Variables:
    """(1 - factor) start + factor end, elementwise.

    mix: "every" mixes all parameters and running statistics; "weights" mixes kernels and the head's bias only, and
    takes batch norms, their statistics and ResNet shortcuts from `start`, as the published program does
    (analysis spec 1.2; its ResNet path, which mixed nothing, is not reproduced).
    """

    def line(a: Array, b: Array) -> Array:
        return (1 - factor) * a + factor * b

    if mix == "every":
        return jax.tree.map(line, start, end)

    def choose(path: tuple[Any, ...], a: Array, b: Array) -> Array:
        names = tuple(entry.key for entry in path)
        return a if is_batch_norm(names) or "downsample" in names else line(a, b)

    params = jax.tree_util.tree_map_with_path(choose, start["params"], end["params"])
    return {**start, "params": params}


def apply_on_line(
    network: Network | StepNetwork,
    start: Variables,
    end: Variables,
    factor: float | Array,
    x: Array,
    mix: Mix = "every",
) -> Array:
    """Logits (n, num_classes) in evaluation mode of the model at `factor` on the line from `start` to `end`.

    Of a StepNetwork `end` alone counts: the line leads from its last time step but one to its last
    (`apply_between_steps`).
    """
    if isinstance(network, StepNetwork):
        return apply_between_steps(network, end, network.num_steps - 1, factor, x, mix)
    return apply_network(network, interpolate(start, end, factor, mix), x)[0]


def apply_between_steps(
    network: StepNetwork, variables: Variables, step: int, factor: float | Array, x: Array, mix: Mix = "every"
) -> Array:
    """Logits between time step `step` - 1 (factor 0) and `step` (1), which is at least 1, of one StepNetwork.

    Layers that are replaced or adapted are interpolated. Of side modules "every" scales the output of the new one by
    `factor`, so that both ends are the models themselves (analysis spec D3). "weights" is the published rule: the kernels
    of new modules, stem and head among them, are scaled and meet batch norms that are not.
    """
    if mix == "weights" and network.mode == "side_tune":
        return apply_step(network, _scaled(network, variables, step, factor), step, x)[0]
    mode = EVALUATION._replace(precision=network.base.precision)
    for place, (group, module) in enumerate(network.base.groups):
        before, after = network.versions[step - 1][place], network.versions[step][place]
        if network.kind(group) == "summed":
            outputs = [_output(network, variables, group, version, x) for version in (before, after)]
            x = outputs[0] if before == after else (1 - factor) * outputs[0] + factor * outputs[1]
            continue
        ends = [extract_group(network, variables, group, version) for version in (before, after)]
        mixed = interpolate(*ends, factor, mix)
        x, _ = apply_group(module, mixed["params"], mixed.get("batch_stats"), x, mode)
    return x


def _output(network: StepNetwork, variables: Variables, group: str, version: int, x: Array) -> Array:
    stats = variables["batch_stats"].get(group)
    mode = EVALUATION._replace(precision=network.base.precision)
    return apply_versions(network, group, variables["params"][group], stats, version, x, mode)[0]


def _scaled(network: StepNetwork, variables: Variables, step: int, factor: float | Array) -> Variables:
    """All kernels of modules that are new at a step, and the head's bias, times `factor`."""

    def scale(path: tuple[Any, ...], leaf: Array) -> Array:
        names = tuple(entry.key for entry in path)
        return leaf if is_batch_norm(names) or "downsample" in names else factor * leaf

    params = dict(variables["params"])
    for place, group in enumerate(network.group_names):
        before, after = network.versions[step - 1][place], network.versions[step][place]
        if before == after:
            continue
        own = params[group]["side"] if network.kind(group) == "summed" else params[group]
        at = after - 1 if network.kind(group) == "summed" else after
        new = with_version(own, at, jax.tree_util.tree_map_with_path(scale, pick(own, at)))
        params[group] = {**params[group], "side": new} if network.kind(group) == "summed" else new
    return {**variables, "params": params}

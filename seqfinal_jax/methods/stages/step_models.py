"""The models of all time steps that a method gives, and the distance between consecutive ones, layer by layer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from seqfinal_jax.methods.nodes import Model
from seqfinal_jax.methods.stages.network import stage_network
from seqfinal_jax.models.network import Network
from seqfinal_jax.models.per_step.network import StepNetwork
from seqfinal_jax.models.per_step.versions import pick
from seqfinal_jax.results.store import StageResult

CHANGE_COLUMNS = ("layer", "step", "distance")


def layer_changes(network: Network, chain: Mapping[Model, StageResult]) -> list[dict[str, Any]]:
    """The distance between the models of consecutive time steps, as rows of `CHANGE_COLUMNS`.

    For a joint model, the distance between the versions of its separate layers (joint spec, section 6); for a sequential
    method, between whole models; no rows for other methods, side modules and adapters. `step` is the later step.
    """
    stage, result = list(chain.items())[-1]
    if stage.objective.network_per_step:
        steps = stage_network(network, stage.form)
        return list(_version_changes(steps, result.best))
    params = [found.best["params"] for found in _models_of_steps(chain)]
    return [
        {"layer": group, "step": step, "distance": distance(params[step - 1][group], params[step][group])}
        for group in network.group_names
        for step in range(1, len(params))
    ]


def _version_changes(steps: StepNetwork, variables: Any) -> Iterator[dict[str, Any]]:
    table = np.asarray(steps.table(variables["batch_stats"]))
    for place, form in enumerate(steps.forms):
        for step in range(1, steps.num_steps if form.apart else 0):
            pair = [pick(variables["params"][form.group], table[t, place]) for t in (step - 1, step)]
            yield {"layer": form.group, "step": step, "distance": distance(*pair)}


def _models_of_steps(chain: Mapping[Model, StageResult]) -> Sequence[StageResult]:
    """The last model of every time step, of a chain of plain networks that trains step by step; else nothing."""
    if any(stage.form is not None or len(stage.train) != 1 for stage in chain):
        return []
    models = {stage.train[0]: result for stage, result in chain.items()}
    return [models[step] for step in sorted(models)] if sorted(models) == list(range(len(models))) else []


def distance(one: Any, other: Any) -> float:
    """Euclidean distance of two trees, over all entries."""
    squares = jax.tree.map(lambda a, b: np.sum(np.square(np.float64(a) - np.float64(b))), one, other)
    return float(np.sqrt(sum(jax.tree.leaves(squares))))

"""The variables that a training of a stage starts from, and the part of them that it changes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from seqfinal_jax.methods.nodes import Stage, StepForm
from seqfinal_jax.methods.stages.network import stage_network
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models.convert.checkpoint import read_checkpoint, start_from_checkpoint
from seqfinal_jax.models.convert.pretrained import start_from_resnet18
from seqfinal_jax.models.network import Network, Variables
from seqfinal_jax.models.per_step.network import StepNetwork
from seqfinal_jax.models.per_step.start import (
    init_last_from_previous,
    start_every_version,
    start_from_fewer,
    start_from_single,
    start_steps_from_resnet18,
)
from seqfinal_jax.models.per_step.versions import with_version
from seqfinal_jax.training.engine.members import MemberSpec
from seqfinal_jax.training.engine.streams import fold


def initial_variables(
    network: Network, training: Training, seed: int, hyper: Mapping[str, float]
) -> Variables:
    """Random start variables of a seed (the same for all methods), ImageNet's with a random head, or the user's own."""
    variables = network.init(_init_key(network, training, seed, hyper))
    if training.checkpoint:
        return start_from_checkpoint(network, variables, training.checkpoint[0])
    return (
        start_from_resnet18(network, variables, training.pretrained[0]) if training.pretrained else variables
    )


def _init_key(
    network: Network, training: Training, seed: int, hyper: Mapping[str, float], *parts: Any
) -> Any:
    extra = [json.dumps(dict(hyper), sort_keys=True)] if training.init_per_grid_point else []
    return jax.random.key(fold(seed, "init", network.name, network.num_classes, *parts, *extra))


def start_variables(
    stage: Stage,
    network: Network,
    training: Training,
    previous: Variables | None,
    previous_form: StepForm | None,
    member: MemberSpec,
) -> Variables:
    """The variables that a training of a stage starts from; `previous` is the best training of the previous stage."""
    if stage.form is None:
        if previous is None or stage.fresh:
            return initial_variables(network, training, member.seed, member.hyper)
        return previous
    steps = stage_network(network, stage.form)
    fresh = fresh_steps(steps, network, training, member)
    if stage.objective.network_per_step:
        return _joint_start(stage, steps, fresh, training, member)
    started = (start_from_single if previous_form is None else start_from_fewer)(steps, fresh, previous)
    return init_last_from_previous(started) if stage.form.init_last == "previous" else started


def with_own_params(stage: Stage, network: Network, started: Variables) -> Variables:
    """Start variables with the parameters of the objective's own: those of the previous stage, where it has them."""
    params = started["params"]
    own = stage.objective.own_params(stage.train, params)
    kept = {name: tree for name, tree in params.items() if name in (*network.group_names, *own)}
    return {**started, "params": {**own, **kept}}


def fresh_steps(steps: StepNetwork, network: Network, training: Training, member: MemberSpec) -> Variables:
    """Random start variables of the networks of all steps; a separate last step starts as `erm_final` does."""
    fresh = steps.init(_init_key(network, training, member.seed, member.hyper, "steps", steps.num_steps))
    if not steps.is_separate:
        return fresh
    last = initial_variables(network, training, member.seed, member.hyper)
    return {k: {g: with_version(fresh[k][g], -1, tree) for g, tree in last[k].items()} for k in fresh}


def _joint_start(
    stage: Stage, steps: StepNetwork, fresh: Variables, training: Training, member: MemberSpec
) -> Variables:
    if stage.form.same_init:
        fresh = jax.tree.map(lambda leaf: np.broadcast_to(leaf[-1:], leaf.shape), fresh)
    if training.pretrained:
        fresh = start_steps_from_resnet18(steps, fresh, training.pretrained[0])
    if training.checkpoint:
        fresh = start_every_version(steps, fresh, read_checkpoint(training.checkpoint[0]), but=())
    if stage.form.ablate:
        return steps.without_effect(fresh)
    return steps.with_table(fresh, searched_versions(steps, member.trainable)) if stage.layers else fresh


def searched_versions(steps: StepNetwork, trainable: Mapping[str, Any]) -> np.ndarray:
    """The version table (steps, groups) of a training of the layer search: a step uses the last trained version."""
    last = [int(np.sum(trainable[group])) - 1 for group in steps.group_names]
    return np.minimum(np.arange(steps.num_steps)[:, None], last)


def member_masks(stage: Stage, network: Network, layers: Sequence[str]) -> dict[str, Any]:
    """Masks: 1 for weights that are trained, 0 for frozen ones; empty `layers` stand for all.

    In the joint model's layer search `layers` are the separate ones; the others use version 0 only.
    """
    if stage.form is None:
        return {group: int(not layers or group in layers) for group in network.group_names}
    steps = stage_network(network, stage.form)
    if not stage.objective.network_per_step:
        return steps.trained_from(steps.num_steps - 1)
    masks = steps.trained_from(0)
    first = np.arange(steps.num_steps) == 0
    return {g: mask if not layers or g in layers else first.astype(np.int32) for g, mask in masks.items()}

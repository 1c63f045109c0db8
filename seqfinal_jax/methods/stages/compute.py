"""Computes one node for some seeds: a stage is fitted, a choice made, a transformation applied; results are stored."""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.methods.nodes import Choice, Model, Node, Stage, Transform
from seqfinal_jax.methods.stages.context import Context
from seqfinal_jax.methods.stages.fingerprint import describe_node
from seqfinal_jax.methods.stages.network import training_of
from seqfinal_jax.methods.stages.objectives import Anchor
from seqfinal_jax.methods.stages.own_logits import logits_record
from seqfinal_jax.methods.stages.problem import alike_in_size, stage_problem, training_set
from seqfinal_jax.methods.stages.start import member_masks, start_variables, with_own_params
from seqfinal_jax.methods.stages.transform import transformed
from seqfinal_jax.models.network import Variables
from seqfinal_jax.results.checkpoints import named_leaves, nested
from seqfinal_jax.results.store import StageResult
from seqfinal_jax.training.engine.compile_clock import compile_seconds
from seqfinal_jax.training.engine.fit import fit
from seqfinal_jax.training.engine.members import FitSettings, MemberResult, MemberSpec, Problem, winner
from seqfinal_jax.training.engine.resume import member_key
from seqfinal_jax.training.objectives.risk import EmpiricalRisk, batch_of
from seqfinal_jax.training.objectives.surgical import layer_scores, nested_sets, rank_groups

log = logging.getLogger(__name__)
LayerSets = tuple[tuple[str, ...], ...]
GridPoint = tuple[tuple[str, ...], dict[str, float]]  # trained layers (empty: all), hyper-parameters


def compute(context: Context, node: Node, seeds: Sequence[int]) -> dict[int, Exception]:
    """Computes and stores a node for seeds whose earlier nodes are stored; returns the seeds that diverged, and how."""
    if isinstance(node, Stage):
        groups = alike_in_size(node, context.training, context.pool, seeds)
        return {seed: why for group in groups for seed, why in _fit(context, node, group).items()}
    one = _choose if isinstance(node, Choice) else _transform
    found = {seed: one(context, node, seed) for seed in seeds}
    return {seed: why for seed, why in found.items() if why}


def _choose(context: Context, node: Choice, seed: int) -> Exception | None:
    number = context.best_candidate(node, seed)
    context.store.save_choice(context.key(node), seed, number, context.key(node.candidates[number]))
    return None


def _transform(context: Context, node: Transform, seed: int) -> Exception | None:
    inputs = [context.result(source, seed).best for source in node.inputs]
    result = transformed(
        node,
        context.network,
        context.training,
        context.pool,
        context.device_data,
        seed,
        inputs,
        context.predict,
    )
    if result is None:
        return diverged(context, node, seed)
    context.store.save(context.key(node), seed, result, _description(context, node))
    return None


def _description(context: Context, node: Model) -> dict[str, Any]:
    """What is stored of a stage or transformation, so that its model can be used alone."""
    logits = logits_record(node, context.network, context.training)
    return {"stage": describe_node(node), **logits, **context.describe}


def diverged(context: Context, node: Model, seed: int) -> FloatingPointError:
    """The error of a node that has no usable model for a seed."""
    return FloatingPointError(
        f"stage {node.name!r} of {context.network.name}, seed {seed}: the training loss or a parameter "
        f"became non-finite at every grid point; try smaller values of config.grid.learning_rate"
    )


def _fit(context: Context, stage: Stage, seeds: Sequence[int]) -> dict[int, Exception]:
    """Fits a stage for seeds of equal sizes."""
    began, compiled = time.monotonic(), compile_seconds()
    points = {seed: grid_points(context, stage, seed) for seed in seeds}
    members = [
        MemberSpec(seed, point, member_masks(stage, context.network, layers), group=seed)
        for seed in seeds
        for layers, point in points[seed]
    ]
    progress, settings = context.store.progress(context.key(stage)), context.settings(stage)
    with contextlib.closing(context.report(stage, len(members))) as reporter:
        results = fit(problem_of(context, stage, seeds), members, settings, reporter, progress)
        reporter.finished()
    lost, left = {}, iter(results)
    for seed in seeds:  # results are stored before anything else can fail
        own = [next(left) for _ in points[seed]]
        if not _keep(context, stage, seed, points[seed], own, settings):
            lost[seed] = diverged(context, stage, seed)
    _log(
        context,
        {
            "stage": stage.label, "architecture": context.network.name, "fingerprint": context.key(stage),
            "seeds": " ".join(map(str, seeds)), "members": len(members),
            "epochs": sum(result.stop_epoch for result in results),
            "seconds": time.monotonic() - began, "compile_seconds": compile_seconds() - compiled,
        },
    )  # fmt: skip
    progress.clear(map(member_key, members))
    return lost


def _log(context: Context, row: dict[str, Any]) -> None:
    """Reports a finished fit; a log that cannot be written only causes a warning."""
    try:
        context.log_fit(row)
    except OSError as error:
        log.warning("stage %s is stored, but its times are not logged: %s", row["stage"], error)


def problem_of(context: Context, stage: Stage, seeds: Sequence[int]) -> Problem:
    """A stage as the engine fits it, from the stored results of the nodes before it."""
    anchors = {seed: _anchors(context, stage, seed) for seed in seeds}
    own = training_of(stage, context.training)
    problem = stage_problem(
        stage, context.network, context.training, context.pool, context.device_data,
        lambda member: start_of(context, stage, member),
        lambda seed: stage.objective.constants(context.network, own, context.device_data, anchors[seed]),
    )  # fmt: skip
    if not stage.resume:
        return problem
    return replace(problem, earlier=lambda member: winner_result(_resumed(context, stage, member.seed)))


def _resumed(context: Context, stage: Stage, seed: int) -> StageResult:
    """The result of the stage that a stage continues, with the state of its optimiser."""
    return context.store.load(context.key(context.resolve(stage.start, seed)), seed, whole=True)


def _anchors(context: Context, stage: Stage, seed: int) -> list[Anchor]:
    models = [(context.resolve(node, seed), context.result(node, seed)) for node in stage.anchors]
    return [Anchor(result.best, training_set(model, context.pool, seed)) for model, result in models]


def start_of(context: Context, stage: Stage, member: MemberSpec) -> Variables:
    """The variables that a training starts from."""
    previous, form = None, None
    if stage.start and not stage.resume:
        form = context.resolve(stage.start, member.seed).form
        previous = context.result(stage.start, member.seed).best
    started = start_variables(stage, context.network, context.training, previous, form, member)
    return with_own_params(stage, context.network, started)


def grid_points(context: Context, stage: Stage, seed: int) -> list[GridPoint]:
    """The trainings of a seed; of a stage that continues another one, that one's best."""
    names = tuple(stage.grid.points()[0])
    if stage.resume:
        return [winning_point(context.result(stage.start, seed), names)]
    sets = layer_sets(context, stage, seed)
    return [(layers, point) for layers in sets for point in stage.grid.points()]


def winning_point(result: StageResult, names: Sequence[str]) -> GridPoint:
    """The layers (empty for all) and the hyper-parameters of those names of the chosen grid point."""
    layers = result.winner["layers"]
    return () if layers == "all" else tuple(layers.split(",")), {n: float(result.winner[n]) for n in names}


def layer_sets(context: Context, stage: Stage, seed: int) -> LayerSets:
    """The sets of layers among which a stage chooses; surgical ones are ranked on the stage's training set."""
    if not isinstance(stage.layers, str):
        return stage.layers or ((),)
    objective = EmpiricalRisk(network=context.network, scaling=context.training.scaling)
    stored = training_set(stage, context.pool, seed).batches(context.training.batch_size)
    batches = jax.tree.map(jnp.asarray, batch_of(stored))
    variables = jax.tree.map(jnp.asarray, context.result(stage.start, seed).best)
    scores = layer_scores(objective, variables, context.device_data, batches, jnp.int32(stored.count))
    order = rank_groups(scores[stage.layers.removeprefix("surgical_")], context.network.group_names)
    log.info("stage %s, seed %d: %s ranks %s", stage.name, seed, stage.layers, ", ".join(order))
    return nested_sets(order, context.network.group_names)


def _keep(
    context: Context, stage: Stage, seed: int, points: Sequence[GridPoint], results: Sequence[MemberResult],
    settings: FitSettings,
) -> bool:  # fmt: skip
    """Stores a seed's result; False where all its trainings diverged."""
    chosen = winner(results, range(len(results)), settings.rule.ties)
    if chosen is None:
        return False
    described = [{"layers": ",".join(layers) or "all", **point} for layers, point in points]
    program = {"vectorise": settings.vectorise, "members_per_program": settings.members_per_program}
    record = {**_description(context, stage), "program": program}
    context.store.save(context.key(stage), seed, stage_result(described, results, chosen), record)
    return True


def stage_result(
    hypers: Sequence[Mapping[str, Any]], results: Sequence[MemberResult], chosen: int
) -> StageResult:
    """Results of one seed's trainings as rows (`hypers`: what distinguishes them), with the winner's variables."""
    grid, history, any_halved = [], [], any(result.halved for result in results)
    for member, (hyper, result) in enumerate(zip(hypers, results, strict=True)):
        names = ("best_accuracy", "best_epoch", "stop_epoch", "failed", *(("halved",) if any_halved else ()))
        scalars = {name: getattr(result, name) for name in names}
        grid.append({"member": member, **hyper, **scalars, "chosen": member == chosen})
        for epoch in range(result.stop_epoch + 1):
            figures = {name: float(values[epoch]) for name, values in result.history.items()}
            history.append({"member": member, "epoch": epoch, **figures})
    best = results[chosen]
    optimiser = nested(named_leaves(best.optimiser))
    return StageResult(best.best, best.last, optimiser, chosen, grid, history)


def winner_result(result: StageResult) -> MemberResult:
    """The chosen grid point of a stored stage as the engine left it, its optimiser's state by names."""
    rows = [row for row in result.history if row["member"] == result.chosen]
    names = [name for name in rows[0] if name not in ("member", "epoch")]
    scalars = {name: result.winner[name] for name in ("best_accuracy", "best_epoch", "stop_epoch", "failed")}
    history = {name: np.array([float(row[name]) for row in rows]) for name in names}
    return MemberResult(
        **scalars, history=history, best=result.best, last=result.last, optimiser=result.optimiser
    )

"""Saves a fit while it runs, and continues it from the saved state with the same results.

Every member has a state of its own: running (optimiser, best variables, stopping rule, history) or finished (its
result). So a later fit of the same stage uses what there is of its members, whichever other members it has.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from seqfinal_jax.models.per_step.versions import stack
from seqfinal_jax.records.digests import text_digest
from seqfinal_jax.results.checkpoints import named_leaves, restore_leaves
from seqfinal_jax.results.sealed import DamagedFolder
from seqfinal_jax.training.engine.early_stopping import Track
from seqfinal_jax.training.engine.members import Chunk, Fit, MemberResult, MemberSpec, drop_losers
from seqfinal_jax.training.engine.programs import State, init_state

SCALARS = ("best_accuracy", "best_epoch", "stop_epoch", "failed", "halved")
TREES = ("best", "last", "optimiser")


def member_key(spec: MemberSpec) -> str:
    """A short name that is equal for equal members."""
    return text_digest(spec.identity, 12)


def save_running(run: Fit, chunk: Chunk) -> None:
    """Stores the state of every running member of a chunk, and members that have finished since."""
    save_finished(run)
    for place, row in enumerate(chunk.rows):
        if row >= 0 and chunk.track.active[place]:
            arrays = named_leaves(_running(chunk, place))
            run.store.save(member_key(run.members[row]), arrays, {"running": True, "epoch": chunk.epoch})


def _running(chunk: Chunk, place: int) -> dict[str, Any]:
    """A running member's state, without the axis of members."""
    tree = {"state": chunk.state, "best": chunk.best, "track": vars(chunk.track), "history": chunk.history}
    return jax.tree.map(lambda leaf: leaf[place], tree)


def saved_history(run: Fit, row: int) -> dict[str, np.ndarray]:
    """The history of a paused member to its last epoch; raises DamagedFolder where its state cannot be used."""
    key = member_key(run.members[row])
    arrays, end = run.store.load(key), int((run.store.find(key) or {}).get("epoch", -1)) + 1
    prefix = "history."
    return {n.removeprefix(prefix): v[:end] for n, v in arrays.items() if n.startswith(prefix)}


def save_finished(run: Fit) -> None:
    """Stores the results of members that have finished and are not stored yet."""
    with run.lock:
        waiting, run.unsaved = run.unsaved, []
    for row in waiting:
        result = run.results[row]
        kept = {name: getattr(result, name) for name in ("history", *TREES)}
        scalars = {name: getattr(result, name) for name in SCALARS}
        run.store.save(
            member_key(run.members[row]), named_leaves(kept), {"running": False, "scalars": scalars}
        )


def saved_epochs(run: Fit) -> dict[int, int]:
    """The epoch that every member has reached, by row: -1 for one that begins, none for one that has finished.

    Results of stored members that have finished are put in their places.
    """
    epochs = {}
    for row, spec in enumerate(run.members):
        if run.results[row] is not None:
            continue
        meta = run.store.find(member_key(spec)) if run.store else None
        if meta is None:
            epochs[row] = -1
        elif meta.get("running"):
            epochs[row] = int(meta["epoch"])
        elif not _take_finished(run, row, meta):
            epochs[row] = -1
    return epochs


def _take_finished(run: Fit, row: int, meta: dict[str, Any]) -> bool:
    """Puts a stored result in its place; False where it cannot be used."""
    spec = run.members[row]
    try:
        arrays = run.store.load(member_key(spec))
        template = _finished_template(run, spec)
        kept = {name: _restored(name, tree, arrays) for name, tree in template.items()}
        history = {leaf.split(".", 1)[1]: v for leaf, v in arrays.items() if leaf.startswith("history.")}
        result = MemberResult(**meta["scalars"], history=history, **kept)
    except (DamagedFolder, KeyError, TypeError) as error:
        run.store.report(error)
        return False
    with run.lock:
        run.results[row] = result
        drop_losers(run, spec.group)
    return True


def _finished_template(run: Fit, spec: MemberSpec) -> dict[str, Any]:
    state = init_state(run.program, stack([run.problem.start(spec)]))
    trees = (state.variables, state.variables, (state.optimiser, state.extra))
    return {name: jax.tree.map(lambda leaf: leaf[0], tree) for name, tree in zip(TREES, trees, strict=True)}


def _restored(name: str, template: Any, arrays: dict[str, np.ndarray]) -> Any:
    prefix = f"{name}."
    own = {leaf[len(prefix) :]: value for leaf, value in arrays.items() if leaf.startswith(prefix)}
    return restore_leaves(template, own) if own else None


def resumed_chunk(run: Fit, chunk: Chunk, epoch: int) -> Chunk:
    """A started chunk with its members' saved states put in; as it is where one of them cannot be used.

    All its members must have reached the same epoch.
    """
    try:
        states = [_saved_state(run, chunk, place, epoch) for place in range(len(chunk.rows))]
    except DamagedFolder as error:
        run.store.report(error)
        return chunk
    tree = _stacked(states)
    device = next(iter(jax.tree.leaves(chunk.state)[0].devices()))
    on_device = jax.device_put({"state": tree["state"], "best": tree["best"]}, device)
    history = {name: np.array(values) for name, values in tree["history"].items()}
    track = Track(**{name: np.array(values) for name, values in tree["track"].items()})
    return replace(
        chunk, state=on_device["state"], best=on_device["best"], track=track, history=history, epoch=epoch
    )


def _saved_state(run: Fit, chunk: Chunk, place: int, epoch: int) -> dict[str, Any]:
    """A member's saved state; raises DamagedFolder where it is not that of this epoch, or does not fit."""
    key = member_key(run.members[chunk.rows[place]])
    meta = run.store.find(key)
    if meta is None or meta.get("epoch") != epoch:
        raise DamagedFolder(f"{run.store.folder / key} holds no state of epoch {epoch}")
    return restore_leaves(_running(chunk, place), run.store.load(key))


def _stacked(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


def continue_chunk(run: Fit, chunk: Chunk) -> Chunk:
    """A started chunk of one member, moved to the end of its earlier fit.

    The stopping rule is replayed over the earlier epochs: the member goes on as if it had had this rule from the start.
    Raises ValueError for several members, whose earlier fits may have ended at different epochs.
    """
    if len(chunk.rows) != 1:
        raise ValueError(
            f"a fit that goes on from an earlier one needs one training per program, found {len(chunk.rows)}"
        )
    earlier = run.problem.earlier(run.members[chunk.rows[0]])
    template = (chunk.state.variables, chunk.best, (chunk.state.optimiser, chunk.state.extra))
    found = (earlier.last, earlier.best, earlier.optimiser)
    lead = lambda tree: {name: np.asarray(leaf)[None] for name, leaf in named_leaves(tree).items()}  # noqa: E731
    restored = [restore_leaves(old, lead(new)) for old, new in zip(template, found, strict=True)]
    device = next(iter(jax.tree.leaves(chunk.state)[0].devices()))
    variables, best, (optimiser, extra) = jax.device_put(restored, device)
    state = State(variables["params"], variables["batch_stats"], optimiser, extra)
    stop = earlier.stop_epoch
    for name, values in earlier.history.items():
        chunk.history[name][0, : stop + 1] = values
    figures = (earlier.history[f"valid_{name}"] for name in ("accuracy", "loss"))
    for epoch, (accuracy, loss) in enumerate(zip(*figures, strict=True)):
        run.settings.rule.update(chunk.track, epoch, np.array([accuracy]), np.array([loss]), np.ones(1, bool))
    return replace(chunk, state=state, best=best, epoch=stop)

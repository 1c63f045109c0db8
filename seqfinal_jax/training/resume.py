"""Saving a fit while it runs, and going on from what was saved, with the same results."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.training.checkpoints import named_leaves, restore_leaves
from seqfinal_jax.training.early_stopping import Track
from seqfinal_jax.training.members import Chunk, Fit, MemberResult, drop_losers
from seqfinal_jax.training.programs import State


def save_running(run: Fit, name: str, chunk: Chunk, rows: list[int]) -> None:
    """Stores the state of a running chunk, the members of it that have stopped, and chunks finished since."""
    save_finished(run)
    running = {
        "state": chunk.state, "best": chunk.best, "track": vars(chunk.track), "history": chunk.history,
        "rows": chunk.rows,
    }  # fmt: skip
    arrays = {f"running.{leaf}": value for leaf, value in named_leaves(running).items()}
    meta = {"running": True, "chunk_epoch": chunk.epoch, **_finished_meta(run, rows, arrays)}
    run.store.save(name, chunk.epoch, arrays, meta)


def save_finished(run: Fit) -> None:
    """Stores the chunks that have finished and are not stored yet."""
    with run.lock:
        waiting, run.unsaved = run.unsaved, {}
    for name, rows in waiting.items():
        arrays: dict[str, np.ndarray] = {}
        meta = _finished_meta(run, rows, arrays)
        run.store.save(name, run.settings.rule.max_epochs + 1, arrays, {"running": False, **meta})


def _finished_meta(run: Fit, rows: list[int], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Adds the arrays of stopped members to `arrays` and returns what is not an array, by place in the chunk."""
    finished = {}
    for place, row in enumerate(rows):
        result = run.results[row]
        if result is None:
            continue
        scalars = ("best_accuracy", "best_epoch", "stop_epoch", "failed")
        finished[str(place)] = {name: getattr(result, name) for name in scalars}
        kept = {name: getattr(result, name) for name in ("history", "best", "last", "optimiser")}
        arrays.update({f"done{place}.{leaf}": value for leaf, value in named_leaves(kept).items()})
    return {"finished": finished}


def resume_chunk(run: Fit, name: str, chunk: Chunk, rows: list[int]) -> Chunk:
    """The chunk as it was saved, or as it is when nothing usable was."""
    saved = run.store.load(name) if run.store else None
    if saved is None:
        return chunk
    arrays, meta = saved
    whole = (chunk.best, chunk.state.variables, (chunk.state.optimiser, chunk.state.extra))
    one = jax.tree.map(lambda leaf: leaf[0], whole)
    for place, scalars in meta["finished"].items():
        prefix = f"done{place}."
        own = {leaf[len(prefix) :]: value for leaf, value in arrays.items() if leaf.startswith(prefix)}
        trees = dict(zip(("best", "last", "optimiser"), one, strict=True))
        kept = {k: _restored(k, tree, own) for k, tree in trees.items()}
        history = {leaf.split(".", 1)[1]: v for leaf, v in own.items() if leaf.startswith("history.")}
        with run.lock:
            run.results[rows[int(place)]] = MemberResult(**scalars, history=history, **kept)
            drop_losers(run, run.members[rows[int(place)]].group)
    if not meta["running"]:
        chunk.track.stop_epoch[:] = [run.results[row].stop_epoch for row in rows]
        chunk.epoch = 0
        return chunk
    running = {leaf[len("running.") :]: v for leaf, v in arrays.items() if leaf.startswith("running.")}
    template = {
        "state": chunk.state,
        "best": chunk.best,
        "track": vars(chunk.track),
        "history": chunk.history,
    }
    tree = restore_leaves({**template, "rows": chunk.rows}, running)
    return _running_chunk(chunk, tree, meta["chunk_epoch"])


def continue_chunk(run: Fit, chunk: Chunk) -> Chunk:
    """A started chunk of one member, moved to the end of its earlier fit.

    The stopping rule is replayed over the earlier epochs: the member goes on as if it had had this rule from the start.
    Raises ValueError for several members, whose earlier fits may have ended at different epochs.
    """
    if len(chunk.rows) != 1:
        raise ValueError(
            f"a fit that goes on from an earlier one needs one member a program, found {len(chunk.rows)}"
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
    for epoch, accuracy in enumerate(earlier.history["valid_accuracy"]):
        run.settings.rule.update(chunk.track, epoch, np.array([accuracy]), np.ones(1, bool))
    return replace(chunk, state=state, best=best, epoch=stop)


def _restored(name: str, template: Any, arrays: dict[str, np.ndarray]) -> Any:
    prefix = f"{name}."
    own = {leaf[len(prefix) :]: value for leaf, value in arrays.items() if leaf.startswith(prefix)}
    return restore_leaves(template, own) if own else None


def _running_chunk(chunk: Chunk, tree: dict[str, Any], epoch: int) -> Chunk:
    """A started chunk with the saved state put in; it may have been compacted to fewer rows."""
    saved_rows = np.asarray(tree["rows"])
    places = [list(chunk.rows).index(row) if row >= 0 else 0 for row in saved_rows]
    device = next(iter(jax.tree.leaves(chunk.state)[0].devices()))
    on_device = jax.device_put({"state": tree["state"], "best": tree["best"]}, device)
    members = jax.tree.map(lambda leaf: leaf[jnp.asarray(places)], chunk.members)
    history = {name: np.array(values) for name, values in tree["history"].items()}
    track = Track(**{name: np.array(values) for name, values in tree["track"].items()})
    return Chunk(
        saved_rows, members, on_device["state"], on_device["best"], chunk.seeds, chunk.constants,
        chunk.evaluation, track, history, epoch,
    )  # fmt: skip

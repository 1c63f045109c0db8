"""The engine: trains all members of a fit (seeds x grid points x layer sets) with compiled programs.

Members are split into chunks, a chunk is one program (`programs.py`), and chunks are spread over devices. On a CPU a
chunk is one member, so every fit of a run shares one compilation; on an accelerator a chunk is trained as one `vmap`
and shrinks to the next power of two when at least half of its members have stopped. A member's result depends
on its own seed and hyper-parameters only.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqfinal_jax.models.network import Variables
from seqfinal_jax.models.parts.precision import allow_units, units, units_in_use
from seqfinal_jax.models.per_step.versions import stack
from seqfinal_jax.results.checkpoints import ProgressStore
from seqfinal_jax.results.sealed import DamagedFolder
from seqfinal_jax.training.engine import programs
from seqfinal_jax.training.engine.devices import is_out_of_memory, run_on_devices
from seqfinal_jax.training.engine.early_stopping import Track
from seqfinal_jax.training.engine.halving import rungs, staying
from seqfinal_jax.training.engine.members import (
    Chunk,
    Fit,
    FitSettings,
    MemberResult,
    MemberSpec,
    Problem,
    Report,
    drop_losers,
)
from seqfinal_jax.training.engine.programs import Member
from seqfinal_jax.training.engine.resume import (
    continue_chunk,
    resumed_chunk,
    save_finished,
    save_running,
    saved_epochs,
    saved_history,
)
from seqfinal_jax.training.engine.stopping import Stopped, fitting, is_asked
from seqfinal_jax.training.engine.streams import Batches, fold
from seqfinal_jax.training.objectives.risk import Batch, Objective, batch_of

log = logging.getLogger(__name__)


def fit(
    problem: Problem,
    members: Sequence[MemberSpec],
    settings: FitSettings = FitSettings(),
    report: Report | None = None,
    store: ProgressStore | None = None,
) -> list[MemberResult]:
    """Trains all members to their end and returns their results, in order.

    `report` is called after every epoch of a chunk. With a `store` the state is saved within its budget, and a fit
    that was killed continues from it with identical results. Raises ValueError for an empty list of members, MemoryError
    where a single training is too much for its device, and Stopped, with the state saved, where the run is asked to stop.
    """
    if not members:
        raise ValueError("a fit needs at least one member")
    run = Fit(problem, list(members), settings, report, store, [None] * len(members))
    for rung in rungs(settings.rule) if store else ():
        _train_to(run, rung)
        _stop_worse(run, rung)
    _train_to(run, None)
    return [result for result in run.results if result is not None]


def _train_to(run: Fit, rung: int | None) -> None:
    """Trains all members to a rung, where those that have not stopped are paused; None: to their end."""
    run.rung, devices = rung, run.settings.devices or (jax.local_devices()[0],)
    chunks = _chunks(run, len(devices))
    shared = {device: jax.device_put(run.problem.data, device) for device in devices[: len(chunks)]}
    if chunks:
        with fitting():
            run_on_devices(
                chunks, lambda part, device: _run_rows(run, *part, device, shared[device]), list(shared)
            )


def _stop_worse(run: Fit, rung: int) -> None:
    """Stops the paused members of the worse half of every group; what they have is their result."""
    paused = [row for row, result in enumerate(run.results) if result is None]
    try:
        histories = {row: saved_history(run, row) for row in paused}
    except DamagedFolder as error:
        run.store.report(error)
        return
    for row, result in enumerate(run.results):
        if result is not None:
            histories[row] = result.history
    for group in dict.fromkeys(spec.group for spec in run.members):
        rows = [row for row, spec in enumerate(run.members) if spec.group == group]
        failed = [row not in paused and run.results[row].failed for row in rows]
        stay = staying(run.settings.rule, [histories[row] for row in rows], failed, rung)
        for place in set(range(len(rows))) - set(stay):
            if rows[place] in paused:
                _stop_paused(run, rows[place], rung)


def _stop_paused(run: Fit, row: int, rung: int) -> None:
    device = (run.settings.devices or (jax.local_devices()[0],))[0]
    chunk = resumed_chunk(run, _start_chunk(run, np.asarray([row]), device), rung)
    if chunk.epoch != rung:  # its state is damaged, which was reported: it begins again, and is not stopped
        return
    chunk.track.stop_epoch[:] = rung
    _retire(run, chunk)
    run.results[row] = replace(run.results[row], halved=True)
    run.unsaved.append(row)
    save_finished(run)


def _chunks(run: Fit, num_devices: int) -> list[tuple[list[int], int]]:
    """The members still to be trained, in chunks of equal epoch, and that epoch; -1 for those that begin.

    A chunk holds no more than its share of the members, so that every device has work.
    """
    reached = {row: epoch for row, epoch in saved_epochs(run).items() if run.rung is None or epoch < run.rung}
    share = -(-len(reached) // num_devices)
    size = max(1, min(run.settings.members_per_program, share))
    chunks = []
    for epoch in sorted(set(reached.values())):
        rows = [row for row, own in reached.items() if own == epoch]
        chunks += [(rows[i : i + size], epoch) for i in range(0, len(rows), size)]
    return chunks


def _run_rows(run: Fit, rows: list[int], epoch: int, device: Any, data: dict[str, Any]) -> None:
    """Runs members as one chunk; where the device's memory does not suffice, the halves of it one after another."""
    if _fits_in_memory(run, rows, epoch, device, data):
        return
    half = (len(rows) + 1) // 2
    log.warning(
        "%d trainings in one program do not fit in the memory of %s; trying %d", len(rows), device, half
    )
    for part in (rows[:half], rows[half:]):
        _run_rows(run, part, epoch, device, data)


def _fits_in_memory(run: Fit, rows: list[int], epoch: int, device: Any, data: dict[str, Any]) -> bool:
    """Runs a chunk; False where memory did not suffice (its arrays are free again by then)."""
    with_units = bool(units())
    try:
        _run_chunk(run, rows, epoch, device, data)
    except Exception as error:
        if with_units and _fails_on_units(error):
            return _fits_in_memory(run, rows, epoch, device, data)
        if not is_out_of_memory(error):
            raise
        if len(rows) == 1:
            raise MemoryError(
                f"a single training of {run.problem.role!r} does not fit in the memory of {device}: take a smaller "
                f"config.training.batch_size or network, or another device ({str(error).splitlines()[0]})"
            ) from error
        return False
    return True


def _fails_on_units(error: Exception) -> bool:
    """Whether a program failed that multiplies bfloat16 on a machine's units; from now on programs do not."""
    if is_out_of_memory(error) or not isinstance(error, jax.errors.JaxRuntimeError) or not units_in_use():
        return False
    if units():  # else another device's thread was first
        allow_units(False)
        _warn_of_units(error)
    return True


def _warn_of_units(error: Exception) -> None:
    log.warning(
        "a program with products in bfloat16 failed (%s); from now on the same rounded numbers are multiplied in "
        "float32, which takes longer",
        str(error).splitlines()[0],
    )


def _run_chunk(run: Fit, rows: list[int], epoch: int, device: Any, data: dict[str, Any]) -> None:
    _stop_if_asked(run)
    chunk = _start_chunk(run, np.asarray(rows), device)
    if run.problem.earlier:
        chunk = continue_chunk(run, chunk)
    if epoch >= 0:
        chunk = resumed_chunk(run, chunk, epoch)
    if chunk.epoch < 0:
        _finish_epoch(run, chunk, data, None, np.ones(len(rows), bool))
    while chunk.track.active.any():
        chunk = _compact(run, chunk)
        sums, finite = _train(run, chunk, data)
        _finish_epoch(run, chunk, data, sums, finite)
        _report(run, chunk)
        _stop_if_asked(run, chunk)
        if chunk.epoch == run.rung and chunk.track.active.any() and _paused(run, chunk):
            return
        if run.store and chunk.track.active.any() and run.store.budget.due():
            save_running(run, chunk)
    _retire(run, chunk)
    with run.lock:
        run.unsaved += rows
    if run.store and run.store.budget.due():
        save_finished(run)


def _paused(run: Fit, chunk: Chunk) -> bool:
    """Saves a chunk's members at a rung; False where they cannot be saved, so that they go on to their end instead."""
    _retire(run, chunk)
    ended = ~chunk.track.active & (chunk.rows >= 0)
    with run.lock:
        run.unsaved += chunk.rows[ended].tolist()
    save_running(run, chunk)
    return not run.store.broken


def _stop_if_asked(run: Fit, chunk: Chunk | None = None) -> None:
    """Saves what there is and raises Stopped where the run is asked to stop; a chunk that has ended is kept whole."""
    if not is_asked() or (chunk and not chunk.track.active.any()):
        return
    if run.store:
        save_finished(run) if chunk is None else save_running(run, chunk)
    raise Stopped


def _report(run: Fit, chunk: Chunk) -> None:
    """Reports an epoch; a reporter that cannot (a closed terminal, say) is dropped, and the fit goes on."""
    if run.report is None:
        return
    try:
        run.report(chunk, run.members)
    except BrokenPipeError:
        raise
    except OSError as error:
        run.report = None
        log.warning("progress is not shown any more: %s", error)


@jax.jit
def _copied(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)


def _start_chunk(run: Fit, rows: np.ndarray, device: Any) -> Chunk:
    """The chunk before epoch 0. All is committed to the device: uncommitted inputs would compile once more."""
    specs = [run.members[row] for row in rows]
    start = jax.device_put(stack([run.problem.start(spec) for spec in specs]), device)
    state = programs.init_state(run.program, start)
    seeds, members = _member_arrays(run.problem.role, specs)
    evaluation, constants = _per_seed(run, seeds)
    members, evaluation, constants = jax.device_put((members, evaluation, constants), device)
    epochs = run.settings.rule.max_epochs + 1
    names = [
        f"{part}_{figure}"
        for part in dict.fromkeys(("train", *evaluation))
        for figure in ("loss", "accuracy")
    ]
    history = {name: np.full((len(rows), epochs), np.nan) for name in names}
    best = _copied(state.variables)
    return Chunk(rows, members, state, best, seeds, constants, evaluation, Track.fresh(len(rows)), history)


def _member_arrays(role: str, specs: list[MemberSpec]) -> tuple[tuple[int, ...], Member]:
    seeds = tuple(dict.fromkeys(spec.seed for spec in specs))
    keys = jnp.stack([jax.random.key(fold(spec.seed, "dropout", role)) for spec in specs])
    stream = jnp.asarray([seeds.index(spec.seed) for spec in specs], jnp.int32)
    hyper = stack([{name: float(value) for name, value in spec.hyper.items()} for spec in specs])
    masks = [jax.tree.map(lambda mask: np.asarray(mask, np.int32), dict(spec.trainable)) for spec in specs]
    trainable = stack(masks)
    return seeds, Member(stream, keys, hyper, trainable)


def _per_seed(run: Fit, seeds: tuple[int, ...]) -> tuple[dict[str, programs.Evaluation], Any]:
    """Evaluation sets and constants, stacked over the chunk's seeds."""
    sets = [run.problem.evaluation(seed) for seed in seeds]
    evaluation = {}
    for name, first in sets[0].items():
        batches = [each[name].batches(run.settings.evaluation_batch_size) for each in sets]
        count, step = np.int32(batches[0].count), np.int32(first.step)
        evaluation[name] = programs.Evaluation(_stack_batches(batches), count, step)
    return evaluation, stack([run.problem.constants(seed) for seed in seeds])


def _stack_batches(batches: list[Batches]) -> Batch:
    return jax.tree.map(lambda *arrays: np.stack(arrays), *map(batch_of, batches))


def _train(run: Fit, chunk: Chunk, data: dict[str, Any]) -> tuple[Any, np.ndarray]:
    """One epoch of the chunk; returns running sums and which members stayed finite."""
    batches = [run.problem.batches(seed, chunk.epoch + 1) for seed in chunk.seeds]
    if len({each.count for each in batches}) > 1:
        raise ValueError("the seeds of one fit must have equally many minibatches per epoch")
    count, number = np.int32(batches[0].count), np.int32(chunk.epoch + 1)
    allowed = np.int32(run.settings.rule.max_epochs)
    epoch = programs.Epoch(data, chunk.constants, _stack_batches(batches), count, number, allowed)
    chunk.state, sums, finite = programs.train_epoch(run.program, chunk.state, chunk.members, epoch)
    return sums, np.asarray(finite)


def _finish_epoch(run: Fit, chunk: Chunk, data: dict[str, Any], sums: Any, finite: np.ndarray) -> None:
    """Evaluates, writes the history, applies the stopping rule, keeps the best variables."""
    chunk.epoch += 1
    figures, variables = {} if sums is None else {"train": sums}, _evaluated(run, chunk)
    for name, chosen in chunk.evaluation.items():
        figures[name] = programs.evaluate(
            run.program, variables, chunk.members, data, chosen, chunk.constants
        )
    active = chunk.track.active
    for name, figure in figures.items():
        loss, correct, count = (np.asarray(part, np.float64) for part in figure)
        chunk.history[f"{name}_loss"][active, chunk.epoch] = (loss / count)[active]
        chunk.history[f"{name}_accuracy"][active, chunk.epoch] = (correct / count)[active]
    accuracy, loss = (chunk.history[f"valid_{figure}"][:, chunk.epoch] for figure in ("accuracy", "loss"))
    improved = run.settings.rule.update(chunk.track, chunk.epoch, accuracy, loss, finite)
    if chunk.epoch > 0 and improved.any():
        chunk.best = programs.keep_best(chunk.best, variables, improved)
    if len(chunk.rows) > 1:
        _retire(run, chunk)


def _evaluated(run: Fit, chunk: Chunk) -> Variables:
    """The variables that are evaluated and kept: those that are trained, unless the objective says otherwise."""
    if type(run.problem.objective).evaluated is Objective.evaluated:
        return chunk.state.variables
    return programs.evaluated_variables(run.program, chunk.state)


def _retire(run: Fit, chunk: Chunk) -> None:
    """Moves the members that have stopped to the results; they keep their variables only while they lead."""
    for place, row in enumerate(chunk.rows):
        if row < 0 or chunk.track.active[place] or run.results[row] is not None:
            continue
        with run.lock:
            run.results[row] = _result(chunk, place)
            drop_losers(run, run.members[row].group)


def _result(chunk: Chunk, place: int) -> MemberResult:
    def own(tree: Any) -> Any:
        if len(chunk.rows) == 1:  # nothing to cut out on the device
            return jax.tree.map(lambda leaf: np.array(leaf)[0], tree)
        return jax.tree.map(lambda leaf: np.asarray(leaf[place]), tree)

    track, stop = chunk.track, int(chunk.track.stop_epoch[place])
    best = max(
        0, int(track.best_epoch[place])
    )  # that of a training without one, which has failed, is its start
    return MemberResult(
        best_accuracy=float(chunk.history["valid_accuracy"][place, best]),
        best_epoch=best,
        stop_epoch=stop,
        failed=bool(track.failed[place]),
        history={name: values[place, : stop + 1].copy() for name, values in chunk.history.items()},
        best=own(chunk.best),
        last=own(chunk.state.variables),
        optimiser=own((chunk.state.optimiser, chunk.state.extra)),
    )


def _compact(run: Fit, chunk: Chunk) -> Chunk:
    """A chunk of the next power of two above the running members, when at least half have stopped."""
    active = np.flatnonzero(chunk.track.active)
    size = 1 << (len(active) - 1).bit_length()
    if 2 * len(active) > len(chunk.rows) or size >= len(chunk.rows):
        return chunk
    keep = np.concatenate([active, np.repeat(active[:1], size - len(active))])
    rows = np.where(np.arange(size) < len(active), chunk.rows[keep], -1)
    take = lambda tree: jax.tree.map(lambda leaf: leaf[keep], tree)  # noqa: E731
    track = chunk.track.rows(keep)
    track.stop_epoch = np.where(rows < 0, chunk.epoch, track.stop_epoch)
    history = {name: values[keep] for name, values in chunk.history.items()}
    return Chunk(
        rows, take(chunk.members), take(chunk.state), take(chunk.best), chunk.seeds, chunk.constants,
        chunk.evaluation, track, history, chunk.epoch,
    )  # fmt: skip

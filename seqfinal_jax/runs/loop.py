"""The main loop of a run: from its specification to cells to results."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax

from seqfinal_jax.config.schema import RunSpec
from seqfinal_jax.data.matching.rows import with_matched
from seqfinal_jax.data.sequences.examples import examples_of
from seqfinal_jax.data.sequences.pool import ImagePool, pool_sequences
from seqfinal_jax.data.sequences.sequence import Sequence as DataSequence
from seqfinal_jax.data.sequences.source import named_steps
from seqfinal_jax.data.stored_arrays import CACHE_DIR_VARIABLE, cache_dir
from seqfinal_jax.methods.nodes import Stage
from seqfinal_jax.methods.stages.context import Context
from seqfinal_jax.methods.stages.network import stage_network, stage_rule
from seqfinal_jax.methods.stages.training import Training
from seqfinal_jax.models import AnyNetwork
from seqfinal_jax.models.parts.precision import units
from seqfinal_jax.models.traced import member_bytes
from seqfinal_jax.records.plugins import blamed
from seqfinal_jax.results.examples import FILE as EXAMPLES_FILE
from seqfinal_jax.results.examples import write_examples
from seqfinal_jax.results.store import Store
from seqfinal_jax.runs import workdir as folders
from seqfinal_jax.runs.claims import Claims
from seqfinal_jax.runs.estimate import Estimate, estimate, operations
from seqfinal_jax.runs.execute import Execution
from seqfinal_jax.runs.graph import Task, is_stored, pending, tasks
from seqfinal_jax.runs.plan import Plan, drawn_from, make_plan
from seqfinal_jax.runs.run_log import collected_log
from seqfinal_jax.runs.share import Group, Share
from seqfinal_jax.training.engine.devices import members_per_program
from seqfinal_jax.training.engine.members import FitSettings
from seqfinal_jax.training.engine.progress import duration, fit_progress

log = logging.getLogger(__name__)
HOUR, LONG = 3600.0, 600.0
CACHE_BYTES = 2 * 2**30
OFFICIAL = {True: "the official files", False: "not the official files"}
MOST_CLASSES = 10  # of which the report shows images


def run(
    spec: RunSpec,
    workdir: Path,
    data_dir: str | None = None,
    dry_run: bool = False,
    console: Any = None,
    source: str = "",
    share: Share | Group = Share(),
) -> int:
    """Trains the missing stages of every cell that is not complete; returns how many cells failed.

    A dry run makes all checks, builds the data and writes nothing to the run folder. `source` names the configuration
    file with its presets and is recorded; `share` is the part of the run that this process computes. Raises ValueError
    for a configuration, data or run folder that cannot be used, before anything is trained, and Stopped where it is asked
    to stop.
    """
    console = console or _console()
    workdir = Path(workdir).expanduser()
    jax.config.update("jax_default_matmul_precision", "highest")  # of all that is not a layer's product
    with collected_log() as write_log:
        with blamed():
            plan = make_plan(spec, data_dir)
            folders.check_workdir(workdir, plan)
            graph, store = tasks(plan, share.of(plan)), Store(workdir)
            wanted = share.wanted(graph)
            todo = pending(graph, partial(is_stored, store=store), wanted)
            announce(plan, estimate(plan, todo), console, source)
            pool = build_pool(plan, sorted({task.seed for task in todo})) if todo else None
        if dry_run:
            return 0
        folders.open_workdir(workdir, plan, source)
        write_log(workdir)
        if pool is None:
            count = sum(bool(task.method) for task in graph)
            all_of_them = f"all {count} cells are" if count > 1 else "the only cell is"
            _say(console, f"Nothing to do: {all_of_them} complete.")
            return 0
        keep_examples(plan, workdir)
        return execute(plan, graph, pool, store, console, share)


def _say(console: Any, text: str) -> None:
    """One line to the reader and to the log."""
    log.info("%s", text)
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def keep_examples(plan: Plan, workdir: Path) -> None:
    """Stores a few images of the first seed's data in the run folder, for the report; a failure only logs a warning."""
    if (workdir / EXAMPLES_FILE).exists():
        return
    try:
        sequence = plan.source.build("main", plan.data_seed(plan.seeds[0]))
        classes = range(min(MOST_CLASSES, sequence.num_classes))
        write_examples(workdir, examples_of(sequence, named_steps(plan.source), classes))
    except OSError as error:
        log.warning("the report will show no images of the data: %s", error)


def execute(
    plan: Plan, graph: Sequence[Task], pool: ImagePool, store: Store, console: Any, share: Share | Group
) -> int:
    """Computes the tasks of a share that are not done; returns how many cells failed."""
    claims = Claims(store.workdir)
    claims.clear_dead()
    device_data = jax.device_put({"images": pool.images, "labels": pool.labels})

    @cache
    def context(architecture: str) -> Context:
        return make_context(plan, architecture, pool, device_data, store, console)

    together = share.together or jax.default_backend() != "cpu"
    execution = Execution(
        plan, store, claims, context, partial(operations, plan), console, together, share.waits
    )
    return execution.run(graph, share.wanted(graph))


def build_pool(plan: Plan, seeds: Sequence[int]) -> ImagePool:
    """The images of every variant of the sequence, of all seeds; equal draws are built once.

    Variants with other samples of earlier steps are stored only as row numbers into the images of the main variant.
    Raises ValueError where a variant cannot be built, or the final step has no sample of a class.
    """
    built: dict[tuple[str, int], Any] = {}
    sequences = {}
    drawn = dict.fromkeys(drawn_from(variant) for variant in plan.variants)
    for variant in drawn:
        for seed in seeds:
            key = (variant, plan.data_seed(seed))
            if key not in built:
                built[key] = plan.source.build(*key)
                _check_steps(plan, built[key])
            sequences[variant, seed] = built[key]
    pool = pool_sequences(sequences)
    for note, at in _noted(pool.notes).items():
        log.warning("data, %s: %s", ", ".join(at), note)
    for how in [variant for variant in plan.variants if variant not in drawn]:
        pool = with_matched(pool, how, seeds, plan.spec.joint.matching_memory_gib)
    return pool


def _check_steps(plan: Plan, sequence: DataSequence) -> None:
    if sequence.num_steps != plan.num_steps:
        raise ValueError(
            f"data set {plan.source.name!r} has sizes of {plan.num_steps} steps and was built with {sequence.num_steps}; "
            f"correct its `sizes` or its `build`"
        )


def _noted(notes: Mapping[tuple[str, int], tuple[str, ...]]) -> dict[str, list[str]]:
    """Each note with the variants and seeds that have it."""
    found: dict[str, list[str]] = {}
    for (variant, seed), said in notes.items():
        for note in said:
            found.setdefault(note, []).append(f"{variant} seed {seed}")
    return found


def make_context(
    plan: Plan, architecture: str, pool: ImagePool, device_data: dict[str, Any], store: Store, console: Any
) -> Context:
    """What the nodes of one architecture are computed from, with settings for this hardware."""
    training, network = plan.training, plan.networks[architecture]

    def report(stage: Stage, members: int) -> Any:
        return fit_progress(f"  {stage.label}", members, stage_rule(stage, training).max_epochs, console)

    return Context(
        network=network,
        training=training,
        pool=pool,
        device_data=device_data,
        data_identity=plan.identity,
        store=store,
        settings=lambda stage: fit_settings(
            stage, stage_network(network, stage.form), training, pool.images.nbytes
        ),
        describe=folders.describe_model(plan, network),
        report=report,
        log_fit=lambda row: folders.append_timing(store.workdir, row),
    )


def fit_settings(stage: Stage, network: AnyNetwork, training: Training, data_bytes: int = 0) -> FitSettings:
    """Trainings one after another on CPUs, as one batch on other hardware; on all local devices.

    `data_bytes`: the size of the images, of which every device keeps one copy.
    """
    backend, together = jax.default_backend(), 1
    if backend != "cpu" and not stage.resume:
        together = members_per_program(backend, member_bytes(network, training.batch_size), data_bytes)
    return FitSettings(
        rule=stage_rule(stage, training),
        vectorise="map" if backend == "cpu" else "vmap",
        members_per_program=together,
        evaluation_batch_size=training.batch_size,
        devices=tuple(jax.local_devices()),
    )


def _bfloat16_line() -> str:
    """Where products in bfloat16 are computed; on a CPU without units for them they save no time."""
    if found := units():
        return f"products of layers: bfloat16, by {', '.join(found)}"
    return "products of layers: bfloat16; this CPU has no units for them and computes in float32, which saves no time"


def announce(plan: Plan, estimate: Estimate, console: Any, source: str = "") -> None:
    """Prints what will be done, how many trainings it needs and how long it may take, before it starts."""
    say = partial(_say, console)
    say(
        f"{plan.name}: protocol {plan.protocol}, methods "
        f"{', '.join(plan.methods)}; {', '.join(plan.architectures)}; seeds {', '.join(map(str, plan.seeds))}"
    )
    official = plan.source.record.get("official")
    say(f"data: {plan.source.name} ({OFFICIAL.get(official, 'not verified')})")
    steps = zip(named_steps(plan.source), plan.sizes("main"), strict=True)
    say(
        f"time steps: {', '.join(f'{name} ({size})' for name, size in steps)} training and validation samples"
    )
    if plan.training.precision == "bfloat16":
        say(_bfloat16_line())
    for note in plan.left_out:
        say(note)
    for warning in plan.warnings:
        say(f"WARNING: {warning}")
    if estimate.fits == 0:
        return
    say(
        f"{estimate.fits} training{'s' * (estimate.fits != 1)} to do (a stage that methods share counts once), at most "
        f"{estimate.epochs} epochs in all. {_time_text(estimate)}"
    )
    presets = f"{plan.name},{source.partition(':')[2]}"
    if jax.default_backend() == "cpu" and estimate.seconds > HOUR and "quick" not in presets:
        say(
            f"That is long for a CPU. The preset `quick` trains on half of the data, for fewer epochs and with a smaller "
            f"grid: {_quick_config(source)}"
        )
    if (
        jax.default_backend() == "cpu"
        and units()
        and plan.training.precision == "highest"
        and estimate.seconds > LONG
    ):
        say(
            f"This CPU multiplies bfloat16 itself ({', '.join(units())}): --config.precision=bfloat16 would take about "
            f"three quarters of the time (docs/performance.md says what it does to accuracy)"
        )


def _time_text(estimate: Estimate) -> str:
    """How long the trainings take if none stops early."""
    if jax.default_backend() != "cpu":
        return f"They take {duration(estimate.seconds)} or less, as a guess: the speed of this device is not measured."
    return (
        f"If none stops early they take about {duration(estimate.seconds)} at the present speed of this machine, "
        f"compilation included."
    )


def _quick_config(source: str) -> str:
    """The flag that names this configuration with the preset behind its other ones."""
    name, _, presets = source.partition(":")
    return f"--config={name}:{presets}{',' * bool(presets)}quick" if name else "put :quick behind its name"


def _console() -> Any:
    from rich.console import Console

    class RunConsole(Console):
        """Leaves a closed pipe to the command, which says so."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return RunConsole()


def check_backend() -> None:
    """Raises ValueError where JAX has no device to run on."""
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise ValueError(
            f"JAX finds no device for JAX_PLATFORMS={asked!r}{_reason(error)}; unset it to take what is "
            f'there, or install JAX for that device, for example pip install "jax[cuda13]"'
        ) from error


def _reason(error: Exception) -> str:
    return f" ({str(error).splitlines()[0]})" if str(error) else ""


def enable_compilation_cache() -> None:
    """Keeps compiled programs on disk, so that a second start need not compile; without one the run goes on.

    JAX compiles a program again if it cannot be read back. The folder is kept below `CACHE_BYTES` by removing the
    programs that were written longest ago.
    """
    folder = cache_dir() / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
        prune(folder, CACHE_BYTES)
    except OSError as error:
        log.warning(
            "compiled programs are not kept: %s (%s=<folder> names another folder)", error, CACHE_DIR_VARIABLE
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.02)


def prune(folder: Path, limit: int) -> None:
    """Removes the files that were written longest ago until a folder holds at most `limit` bytes."""
    files = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            files.append((path.stat().st_mtime, path.stat().st_size, path))
    held = 0
    for _, size, path in sorted(files, reverse=True):
        held += size
        if held > limit:
            path.unlink(missing_ok=True)

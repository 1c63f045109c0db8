"""Sweeps over the devices of a machine or the nodes of a cluster.

seqfinal sweep --config=FILE [--config=FILE...] --workdir=DIR [--cluster=local|slurm|dask|debug]
               [--config.FIELD=VALUE...]
seqfinal sweep status|retry|cancel|collect --workdir=DIR

The workers share the cells: none is computed twice, and if a worker dies, another one takes over its work. A sweep that
is started again computes what is missing. `local` waits for its workers and ends with the report, and so does `dask`,
whose workers you have started; `slurm` submits a job array and returns. docs/clusters.md explains the details.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from seqfinal_jax.config.command_line import TO_BE_CONTINUED, FlagParser, split_settings
from seqfinal_jax.sweeps.record import Sweep, read_sweep, write_sweep
from seqfinal_jax.sweeps.status import left, progress, status_line, status_table

ACTIONS = ("start", "status", "retry", "cancel", "collect")
WORKERS_PER_DEVICE = 4  # at most, on this machine
CLUSTERS = ("local", "slurm", "dask", "debug")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the action; 0, 1 where cells failed, 2 for an error of the user, 75 where it was interrupted."""
    others, settings = split_settings(sys.argv[1:] if arguments is None else arguments)
    try:
        return _parser().run(partial(_act, settings), others)
    except KeyboardInterrupt:
        print("error: stopped; nothing was sent, or what was sent goes on (see status)", file=sys.stderr)
        return TO_BE_CONTINUED


def _act(settings: Sequence[str], options: Any) -> int:
    console = Console(highlight=False)
    if options.action == "start":
        return _start(options, settings, console)
    if settings or options.config:
        raise ValueError(
            f"{options.action} takes the configurations from the sweep in --workdir; leave --config out"
        )
    sweep = read_sweep(options.workdir)
    if options.scheduler and (options.action != "retry" or sweep.cluster != "dask"):
        raise ValueError(
            "--scheduler belongs to the start or retry of a sweep with --cluster=dask; leave it out"
        )
    if options.action == "status":
        return _status(sweep, options.workdir, console)
    if options.action == "cancel":
        from seqfinal_jax.sweeps.submit import cancel

        return cancel(sweep, options.workdir, console)
    if options.action == "collect":
        return collect(sweep, options.workdir, console, options.report)
    if options.scheduler:
        sweep = Sweep(**{**vars(sweep), "scheduler": options.scheduler})
    return _send(sweep, options.workdir, console)


def _parser() -> FlagParser:
    parser = FlagParser(__doc__)
    add = parser.add_argument
    add("action", nargs="?", choices=ACTIONS, default="start")
    add("--config", action="append", default=[], help="configuration file with presets; may be repeated")
    add(
        "--workdir",
        type=Path,
        required=True,
        help="folder of the sweep; each of several configurations gets a folder in it",
    )
    add("--data_dir", help="folder with the data sets; default: SEQFINAL_DATA_DIR")
    add("--cluster", choices=CLUSTERS, default="local")
    add("--scheduler", default="", help="dask: the address of the scheduler, tcp://HOST:PORT")
    add(
        "--workers",
        type=int,
        default=0,
        help="default: one for each device; slurm: one for each configuration; dask: its own workers",
    )
    add("--threads", type=int, default=0, help="threads of each worker on a CPU; results depend on them")
    add("--dry_run", action="store_true", help="say what would be done and where, then stop")
    add("--report", action="store_true", help="collect: also draw the figures and write the reports")
    slurm = parser.add_argument_group("slurm (with dask, --gpus and --cpus are those of each process)")
    slurm.add_argument("--partition")
    slurm.add_argument("--account")
    slurm.add_argument(
        "--time", type=int, default=240, help="time limit of a job in minutes; a new job continues it"
    )
    slurm.add_argument("--gpus", type=int, default=0, help="GPUs of each job")
    slurm.add_argument("--cpus", type=int, default=2, help="CPUs of each job")
    slurm.add_argument(
        "--memory", type=float, default=16.0, help="GB of each job; 0 leaves it to the cluster"
    )
    slurm.add_argument(
        "--parallelism", type=int, default=0, help="the largest number of simultaneous jobs; default: all"
    )
    slurm.add_argument("--constraint")
    slurm.add_argument("--slurm", default="", help="further parameters of sbatch: name=value,name=value")
    return parser


def _start(options: Any, settings: Sequence[str], console: Console) -> int:
    if not options.config:
        raise ValueError("give a configuration, for example --config=configs/digits_rcl.py")
    import jax

    from seqfinal_jax.sweeps.plan import plan_runs

    jax.config.update("jax_platforms", "cpu")  # planning must not take a device from the workers
    planned = plan_runs(
        options.config,
        settings,
        options.data_dir,
        options.workdir,
        options.cluster == "dask",
        options.gpus > 0,
    )
    sweep = _sweep(options, tuple(each.run for each in planned))
    _announce(planned, sweep, options.workdir, console)
    if options.dry_run:
        return 0
    before = options.workdir / "sweep" / "sweep.json"
    if before.is_file():
        old = read_sweep(options.workdir)
        sweep = Sweep(**{**vars(sweep), "submissions": old.submissions})
    return _send(sweep, options.workdir, console)


def _sweep(options: Any, runs: tuple[Any, ...]) -> Sweep:
    from seqfinal_jax.runs.environment import usable_cores
    from seqfinal_jax.sweeps.submit import visible_gpus

    if options.cluster == "dask":
        return _on_dask(options, runs)
    if options.scheduler:
        raise ValueError("--scheduler needs --cluster=dask; give both flags, or neither")
    if options.workers < 0 or options.threads < 0:
        raise ValueError("--workers and --threads are counts: expected 1 or more")
    workers = options.workers or {
        "local": max(1, len(visible_gpus())), "debug": 1, "slurm": len(runs)
    }[options.cluster]  # fmt: skip
    cells = sum(len(run.cells) for run in runs)
    if workers > max(1, cells):
        raise ValueError(
            f"--workers={workers}: there are {cells} cells, so that more workers have nothing to do"
        )
    most = WORKERS_PER_DEVICE * max(usable_cores(), len(visible_gpus()))
    if options.cluster == "local" and workers > most:
        raise ValueError(
            f"--workers={workers}: this machine has {usable_cores()} cores; expected {most} workers at most"
        )
    if options.cluster == "debug" and workers > 1:
        raise ValueError("--cluster=debug runs in this process, with one worker; leave --workers out")
    threads = options.threads or (options.cpus if options.cluster == "slurm" else usable_cores())
    return Sweep(
        runs, options.cluster, workers, threads, _slurm(options) if options.cluster == "slurm" else {}
    )


def _on_dask(options: Any, runs: tuple[Any, ...]) -> Sweep:
    from seqfinal_jax.sweeps.on_dask import processes_at_once

    if options.workers:
        raise ValueError("--cluster=dask has the workers that you started with it; leave --workers out")
    for name in ("cpus", "threads", "gpus"):
        if getattr(options, name) < (name == "cpus"):
            raise ValueError(f"--{name}={getattr(options, name)}: expected {int(name == 'cpus')} or more")
    return Sweep(
        runs, "dask", processes_at_once(options.scheduler), options.threads or options.cpus,
        {"cpus_per_task": options.cpus, **({"gpus_per_node": options.gpus} if options.gpus else {})},
        scheduler=options.scheduler,
    )  # fmt: skip


def _slurm(options: Any) -> dict[str, Any]:
    """The parameters of submitit's executor."""
    for name, least in (("time", 1), ("cpus", 1), ("gpus", 0), ("memory", 0), ("parallelism", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name}={getattr(options, name)}: expected {least} or more")
    more = {}
    for part in filter(None, options.slurm.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"--slurm: expected name=value,name=value, found {part!r}")
        more[name.strip()] = value.strip()
    found = {
        "timeout_min": options.time, "cpus_per_task": options.cpus, "mem_gb": options.memory or None,
        "gpus_per_node": options.gpus or None, "slurm_partition": options.partition,
        "slurm_account": options.account, "slurm_constraint": options.constraint,
        "slurm_array_parallelism": options.parallelism or None, "slurm_additional_parameters": more or None,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _announce(planned: Sequence[Any], sweep: Sweep, workdir: Path, console: Console) -> None:
    """What will be done, how much it is at most, and where."""
    from seqfinal_jax.runs.environment import usable_cores
    from seqfinal_jax.runs.estimate import ACCELERATOR, processor_rate
    from seqfinal_jax.sweeps.submit import visible_gpus
    from seqfinal_jax.training.engine.progress import duration

    on_gpus = sweep.slurm.get("gpus_per_node") or (sweep.cluster == "local" and visible_gpus())
    share = _cores_of_a_worker(sweep) / usable_cores()
    rate = lambda each: ACCELERATOR["gpu"] if on_gpus else processor_rate(each.precision) * share  # noqa: E731
    seconds = [each.operations / rate(each) for each in planned]
    for each, own in zip(planned, seconds, strict=True):
        console.print(
            f"{each.name}: {len(each.run.cells)} cells, {each.trainings} trainings to do, at most about "
            f"{duration(own)} for one worker; results in {workdir / each.run.place}",
            soft_wrap=True, markup=False,
        )  # fmt: skip
    total = sum(seconds) / sweep.workers
    where = {
        "local": "processes of this machine", "slurm": "jobs of Slurm", "debug": "this process",
        "dask": f"processes of the Dask cluster at {sweep.scheduler}",
    }  # fmt: skip
    console.print(
        f"{sweep.workers} worker{'s' * (sweep.workers > 1)} as {where[sweep.cluster]}, {sweep.threads} threads of XLA "
        f"each{_slurm_text(sweep)}: at most about {duration(total)}"
        f"{'; that is a guess, because the speed of these GPUs is not measured' if on_gpus else ''}",
        soft_wrap=True, markup=False,
    )  # fmt: skip


def _cores_of_a_worker(sweep: Sweep) -> float:
    from seqfinal_jax.runs.environment import usable_cores

    if "cpus_per_task" in sweep.slurm:
        return sweep.slurm["cpus_per_task"]
    return max(1.0, usable_cores() / sweep.workers)


def _slurm_text(sweep: Sweep) -> str:
    shown = [f"{name.removeprefix('slurm_')} {value}" for name, value in sweep.slurm.items()]
    return f" ({', '.join(shown)})" if shown else ""


def _send(sweep: Sweep, workdir: Path, console: Console) -> int:
    """Sends the workers where cells are left; what ran on this machine is collected at its end."""
    from seqfinal_jax.sweeps.submit import submit

    write_sweep(workdir, sweep)
    found = progress(sweep, workdir)
    if not left(found) and not any(each.failed for each in found):
        console.print(f"Nothing to do: all {sweep.num_cells} cells are complete.")
        return collect(sweep, workdir, console, report=True)
    status = submit(sweep, workdir.absolute(), console)
    if sweep.cluster == "slurm" or status not in (0, 1):
        return status
    return max(status, collect(sweep, workdir, console, report=True))


def _status(sweep: Sweep, workdir: Path, console: Console) -> int:
    """A table that renews itself at a terminal until nothing is left; lines elsewhere."""
    import time

    from rich.live import Live

    from seqfinal_jax.sweeps.submit import local_workers

    found = progress(sweep, workdir)
    if console.is_terminal and any(each.working for each in found):
        with Live(status_table(sweep, found), console=console, auto_refresh=False) as live:
            while left(found) and any(each.working for each in found):
                time.sleep(2.0)
                found = progress(sweep, workdir)
                live.update(status_table(sweep, found), refresh=True)
    else:
        console.print(status_table(sweep, found))
    at_work = sweep.cluster == "slurm" or any(each.working for each in found) or bool(local_workers(workdir))
    console.print(status_line(sweep, found, at_work), soft_wrap=True)
    if left(found) and not at_work:
        said = f"seqfinal sweep retry --workdir={workdir}"
        console.print(f"{said}   goes on with what is left", soft_wrap=True, markup=False)
    return 0


def collect(sweep: Sweep, workdir: Path, console: Console, report: bool = False) -> int:
    """Writes results.csv and the tables of every run, with `report` its report too; 1 where cells failed."""
    from seqfinal_jax.analysis.report import report_run
    from seqfinal_jax.analysis.tables.text import print_summary, write_results_csv
    from seqfinal_jax.runs.claims import Claims

    for run in sweep.runs:
        folder = workdir / run.place
        if not (folder / "config.json").is_file():
            console.print(f"{folder}: nothing is done yet", soft_wrap=True)
            continue
        with Claims(folder).wait_for("report"):
            if report:
                report_run(folder, console)
            else:
                console.print(f"wrote {write_results_csv(folder)}", soft_wrap=True)
                print_summary(folder, console=console)
    found = progress(sweep, workdir)
    failed = sum(each.failed for each in found)
    if failed or left(found):
        console.print(status_line(sweep, found), soft_wrap=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

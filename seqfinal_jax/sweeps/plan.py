"""From the command line to a planned sweep: what is fitted, how much that is, and in which folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqfinal_jax.config.command_line import read_configuration
from seqfinal_jax.runs.share import groups
from seqfinal_jax.sweeps.record import Run


@dataclass(frozen=True)
class Planned:
    """A configuration that was checked.

    Its run, trainings still to do, the operations that they take at most, and the precision of layers' products.
    """

    run: Run
    name: str
    trainings: int
    operations: float
    precision: str


def plan_runs(
    files: Sequence[str],
    settings: Sequence[str],
    data_dir: str | None,
    workdir: Path,
    grouped: bool = False,
    seeds: bool = False,
) -> list[Planned]:
    """Plans every configuration; raises ValueError for one that is wrong, or for two that have the same name.

    A single configuration has the sweep's folder for its run folder, several have a folder each, by name.
    grouped: whether a run lists its groups of tasks, with `seeds` all seeds together.
    """
    import jax

    from seqfinal_jax.config.parse import parse
    from seqfinal_jax.runs.estimate import estimate_run
    from seqfinal_jax.runs.graph import tasks
    from seqfinal_jax.runs.plan import make_plan
    from seqfinal_jax.runs.workdir import check_workdir

    planned: list[Planned] = []
    for file in files:
        config, overrides = read_configuration(file, settings)
        place = "." if len(files) == 1 else str(config.name)
        if place in {each.run.place for each in planned}:
            raise ValueError(
                f"--config={file} has the name {config.name!r}, as one before it has; their results would share a folder"
            )
        jax.config.update("jax_default_matmul_precision", "highest")  # as a run sets it
        plan = make_plan(parse(config, overrides), data_dir)
        check_workdir(workdir / place, plan)
        estimate = estimate_run(plan, workdir / place)
        found = groups(tasks(plan, plan.cells()), seeds) if grouped else {}
        places = {group: number for number, group in enumerate(found)}
        listed = tuple((group, tuple(places[need] for need in needs)) for group, needs in found.items())
        run = Run(file, tuple(settings), place, data_dir, tuple(plan.cells()), listed)
        planned.append(Planned(run, plan.name, estimate.fits, estimate.operations, plan.training.precision))
    return planned

"""From the command line to a planned sweep: what is fitted, how much that is, and in which folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from launch.record import Run
from seqfinal_jax.config.command_line import PLUGINS, explain
from seqfinal_jax.records.plugins import load_plugins, names_of


@dataclass(frozen=True)
class Planned:
    """A configuration that was checked: its run, trainings still to do, and the operations that they take at most."""

    run: Run
    name: str
    trainings: int
    operations: float


def plan_runs(
    files: Sequence[str], settings: Sequence[str], data_dir: str | None, workdir: Path
) -> list[Planned]:
    """Plans every configuration; raises ValueError for one that is wrong, or for two that have the same name.

    A single configuration has the sweep's folder for its run folder, several have a folder each, by name.
    """
    from seqfinal_jax.runs.estimate import estimate_run
    from seqfinal_jax.runs.plan import make_plan
    from seqfinal_jax.runs.workdir import check_workdir

    planned: list[Planned] = []
    for file in files:
        config, overrides = read_config_flag(file, settings)
        place = "." if len(files) == 1 else str(config.name)
        if place in {each.run.place for each in planned}:
            raise ValueError(
                f"--config={file} has the name {config.name!r}, as one before it has; their results would share a folder"
            )
        plan = make_plan(config, data_dir, overrides)
        check_workdir(workdir / place, plan)
        estimate = estimate_run(plan, workdir / place)
        run = Run(file, tuple(settings), place, data_dir, tuple(plan.cells()))
        planned.append(Planned(run, plan.name, estimate.fits, estimate.operations))
    return planned


def read_config_flag(file: str, settings: Sequence[str]) -> tuple[ConfigDict, tuple[str, ...]]:
    """The configuration of a file with these settings, and the names of what they set; raises ValueError."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=values)
    try:
        for setting in settings:
            if setting.startswith(PLUGINS):
                load_plugins(names_of(setting.removeprefix(PLUGINS)))
        values(["launch.sweep", f"--config={file}", *settings])
        config = values["config"].value
        _ = config.name  # what is lazy is loaded here
    except Exception as error:  # the parser of ml_collections raises many kinds
        raise ValueError(f"--config={file}: {explain(error)}") from error
    return config, tuple(config_flags.get_override_values(values["config"]))

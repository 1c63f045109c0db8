"""Runs on tiny digits for tests, in this process."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from configs.digits_rcl import get_config
from seqfinal_jax.config.parse import parse
from seqfinal_jax.runs import loop, plan


def smoke_config(**fields) -> ConfigDict:
    """The digits sequence, everything tiny, five methods and one seed; `fields` by name, dots as double underscores."""
    config = get_config("smoke")
    config.seeds = (0,)
    config.methods = ("erm_final", "oracle", "erm_all", "erm_all_weighted", "erm_fine_tune")
    config.training.patience = 5
    for name, value in fields.items():
        *path, last = name.split("__")
        node = config
        for part in path:
            node = node[part]
        node[last] = value
    return config


def make_plan(config: ConfigDict, data_dir: str | None = None, overrides: Sequence[str] = ()) -> plan.Plan:
    """The plan of a configuration, of which a command line set the fields `overrides`."""
    return plan.make_plan(parse(config, overrides), data_dir)


def run(
    config: ConfigDict,
    workdir: Path,
    data_dir: str | None = None,
    overrides: Sequence[str] = (),
    **others: Any,
) -> int:
    """Runs a configuration in this process; returns how many cells failed."""
    return loop.run(parse(config, overrides), workdir, data_dir, **others)


def smoke_run(workdir: Path, dry_run: bool = False, **fields) -> str:
    """Runs and returns what was printed; fails when a cell failed."""
    console = Console(file=io.StringIO(), width=200)
    assert run(smoke_config(**fields), workdir, dry_run=dry_run, console=console) == 0
    return console.file.getvalue()

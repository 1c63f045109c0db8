"""Runs on tiny digits for tests, in this process."""

import io
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from configs.digits_rcl import get_config
from seqfinal_jax.runs.loop import run


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


def smoke_run(workdir: Path, dry_run: bool = False, **fields) -> str:
    """Runs and returns what was printed; fails when a cell failed."""
    console = Console(file=io.StringIO(), width=200)
    assert run(smoke_config(**fields), workdir, dry_run=dry_run, console=console) == 0
    return console.file.getvalue()

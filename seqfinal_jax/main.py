"""Trains the methods of a configuration, and writes tables, figures and a report.

Command   seqfinal run --config=digits_rcl[:PRESETS] [--workdir=DIR] [--config.FIELD=VALUE ...]
          python -m seqfinal_jax.main is the same command

A run that was stopped continues with the same command. With more methods or seeds it trains what is missing.
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from seqfinal_jax.config.command_line import (
    DATA_DIR,
    given_config,
    one_line_errors,
    parse_flags,
    plain_messages,
)
from seqfinal_jax.runs.share import Share, read_part

SHARD = flags.DEFINE_string(
    "shard", "", "i/n: only part i (from 1) of n of the cells, for schedulers of your own"
)
WORKER = flags.DEFINE_string(
    "worker",
    "",
    "i/n: one of n processes that do all cells together; writes no report (`seqfinal sweep` starts these)",
)
WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default runs/NAME")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "check everything, say what would be trained, then stop")


def main(arguments: Sequence[str]) -> None:
    """Runs the configuration and writes its report; exits with 1 if a cell failed, 2 for a usage error."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream of another kind, as notebooks have
            stream.reconfigure(errors="replace")
    with one_line_errors():
        sys.exit(run_command(arguments))


def run_command(arguments: Sequence[str]) -> int:
    """The run and its report; returns the exit status. Raises ValueError for a usage error."""
    config = given_config(arguments)
    plain_messages()
    from seqfinal_jax.analysis.report import report_run
    from seqfinal_jax.runs.claims import Claims
    from seqfinal_jax.runs.loop import check_backend, enable_compilation_cache, run

    share = given_share()
    check_backend()
    enable_compilation_cache()
    workdir = Path(WORKDIR.value or f"runs/{config.name}").expanduser()
    flag = flags.FLAGS["config"]
    overrides, source = tuple(config_flags.get_override_values(flag)), config_flags.get_config_filename(flag)
    failed = run(
        config, workdir, DATA_DIR.value, DRY_RUN.value, overrides=overrides, source=source, share=share
    )
    if not DRY_RUN.value and not WORKER.value:
        with Claims(workdir).wait_for("report"):
            report_run(workdir)
    if failed:
        where = workdir / "cells"
        print(f"{failed} cells failed; see error.txt in their folders below {where}", file=sys.stderr)
    return 1 if failed else 0


def given_share() -> Share:
    """The part of the cells that the flags name. Raises ValueError where they name none."""
    if SHARD.value and WORKER.value:
        raise ValueError("--shard and --worker exclude each other; give one of them")
    if WORKER.value:
        return Share(*read_part("worker", WORKER.value))
    return Share(*read_part("shard", SHARD.value), shard=True) if SHARD.value else Share()


def command() -> None:
    """Entry point."""
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    command()

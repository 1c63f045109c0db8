"""Command line: python -m seqfinal_jax.main --config=configs/digits_rcl.py[:PRESETS] [--workdir=DIR].

Flags, then the run, then the report.
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

WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default runs/NAME")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "check everything, say what would be fitted, then stop")


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
    from seqfinal_jax.runs.loop import check_backend, enable_compilation_cache, run

    check_backend()
    enable_compilation_cache()
    workdir = Path(WORKDIR.value or f"runs/{config.name}").expanduser()
    flag = flags.FLAGS["config"]
    overrides, source = tuple(config_flags.get_override_values(flag)), config_flags.get_config_filename(flag)
    failed = run(config, workdir, DATA_DIR.value, DRY_RUN.value, overrides=overrides, source=source)
    if not DRY_RUN.value:
        report_run(workdir)
    if failed:
        where = workdir / "cells"
        print(f"{failed} cells failed; see error.txt in their folders below {where}", file=sys.stderr)
    return 1 if failed else 0


def command() -> None:
    """Entry point."""
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    command()

"""Trains the methods of a configuration, and writes tables, figures and a report.

Command   seqfinal run --config=digits_rcl[:PRESETS] [--workdir=DIR] [--config.FIELD=VALUE ...]
          python -m seqfinal_jax.main is the same command

A run that was stopped continues with the same command. With more methods or seeds it trains what is missing.
"""

import contextlib
import faulthandler
import sys
from collections.abc import Sequence
from pathlib import Path

from seqfinal_jax.config.command_line import (
    TO_BE_CONTINUED,
    CommandParser,
    one_line_errors,
    plain_messages,
    stop_with_parent,
)
from seqfinal_jax.runs.share import Group, Share, read_group, read_part


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the configuration and writes its report; 1 if a cell failed. Exits with 2 for a usage error."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream of another kind, as notebooks have
            stream.reconfigure(errors="replace")
    with contextlib.suppress(
        AttributeError, OSError, RuntimeError
    ):  # standard error has no file, as in notebooks
        faulthandler.enable()  # a crash of a compiled program shows where it was called
    with one_line_errors():
        return run_command(sys.argv[1:] if arguments is None else arguments)


def _parser() -> CommandParser:
    parser = CommandParser(__doc__)
    parser.add_argument("--workdir", help="run folder; default runs/NAME")
    parser.add_argument(
        "--dry_run", action="store_true", help="check everything, say what would be trained, then stop"
    )
    parser.add_argument(
        "--shard", default="", help="i/n: only part i (from 1) of n of the cells, for schedulers of your own"
    )
    parser.add_argument(
        "--worker",
        default="",
        help="i/n: one of n processes that do all cells together; writes no report (`seqfinal sweep` starts these)",
    )
    parser.add_argument(
        "--group",
        default="",
        help="METHODS:NETWORK:SEEDS: only what all these methods need, of one method its cells; does not wait for other "
        "processes, and writes no report (`seqfinal sweep --cluster=dask` starts these)",
    )
    return parser


def run_command(arguments: Sequence[str]) -> int:
    """The run and its report; returns the exit status. Raises ValueError for a usage error."""
    given = _parser().read(arguments)
    asked = given.flags
    plain_messages()
    from seqfinal_jax.analysis.report import report_run
    from seqfinal_jax.config.parse import parse
    from seqfinal_jax.runs.claims import Busy, Claims
    from seqfinal_jax.runs.loop import check_backend, enable_compilation_cache, run

    share = given_share(asked.shard, asked.worker, asked.group)
    if asked.group:
        stop_with_parent()
    check_backend()
    enable_compilation_cache()
    workdir = Path(asked.workdir or f"runs/{given.config.name}").expanduser()
    try:
        failed = run(
            parse(given.config, given.overrides), workdir, asked.data_dir, asked.dry_run,
            source=given.source, share=share,
        )  # fmt: skip
    except Busy as error:
        print(f"{error}; the same command computes it later", file=sys.stderr)
        return TO_BE_CONTINUED
    if not (asked.dry_run or asked.worker or asked.group):
        with Claims(workdir).wait_for("report"):
            report_run(workdir)
    if failed:
        where = workdir / "cells"
        print(f"{failed} cells failed; see error.txt in their folders below {where}", file=sys.stderr)
    return 1 if failed else 0


def given_share(shard: str, worker: str, group: str = "") -> Share | Group:
    """The part of the run that the flags name. Raises ValueError where they name none."""
    if bool(shard) + bool(worker) + bool(group) > 1:
        raise ValueError("--shard, --worker and --group exclude each other; give one of them")
    if group:
        return read_group(group)
    if worker:
        return Share(*read_part("worker", worker))
    return Share(*read_part("shard", shard), shard=True) if shard else Share()


if __name__ == "__main__":
    sys.exit(main())

"""Checks of single reference files, in this process or in several."""

import multiprocessing
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import jax

from tests.compile_flags import compile_cheaply
from tests.golden import (  # noqa: F401  (they register their checks)
    interpolation,
    joint,
    joint_fits,
    matching,
    networks,
    objectives,
    rules,
    shift_sizes,
    step_distances,
    step_networks,
    tables,
    training,
    weight_space,
)
from tests.golden.case import Case, find_check

FILES_A_PROCESS = 4
# The checks compile large programs and run them once, in double precision: time goes into compiling.
compile_cheaply(level=0)


def checked(paths: list[Path], jobs: int, single: bool = False) -> Iterable[tuple[list[str], int]]:
    """Checks a few files in this process, more in others that end after a few, since what they compiled fills them."""
    if len(paths) <= FILES_A_PROCESS:
        return map(partial(check_file, single=single), paths)
    return _in_processes(paths, jobs, single)


def _in_processes(paths: list[Path], jobs: int, single: bool) -> Iterator[tuple[list[str], int]]:
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=FILES_A_PROCESS) as pool:
        yield from pool.imap(partial(check_file, single=single), paths)


def check_file(path: Path, single: bool = False) -> tuple[list[str], int]:
    """Runs one check; the lines that it prints, and 1 if anything failed."""
    jax.config.update("jax_enable_x64", not single)
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        case = Case.load(path)
        case.single = single
        find_check(path.name)(case)
    except Exception as error:  # one broken file must not hide the others
        return [f"{path.name}  raised {type(error).__name__}: {error}  FAILED"], 1
    lines, unused = [str(row) for row in case.rows], case.unused()
    if unused:
        lines.append(f"{path.name}  keys that no check used: {', '.join(unused)}  FAILED")
    return lines, int(bool(unused) or not case.rows or not all(row.ok for row in case.rows))

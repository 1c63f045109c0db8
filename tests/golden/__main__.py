"""Command line: checks every reference file of a folder and prints a line a quantity."""

import argparse
import sys
from pathlib import Path

import jax

from tests.golden import (  # noqa: F401  (they register their checks)
    interpolation,
    networks,
    objectives,
    rules,
    step_networks,
    training,
)
from tests.golden.case import Case, find_check, reference_files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="folder with reference arrays, searched with its subfolders"
    )
    parser.add_argument("--only", help="check only files whose name contains this text")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    return run(options.folder, options.only)


def run(folder: Path, only: str | None) -> int:
    """0 when every file was recognised, every key used and every comparison within its tolerance."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")
    failed, checked, unknown, structure = 0, 0, [], ""
    for path in reference_files(folder, only):
        check = find_check(path.name)
        if (
            path.name.split("_s")[0] != structure
        ):  # nothing compiled will be used again, and the room for it is limited
            jax.clear_caches()
        structure = path.name.split("_s")[0]
        if check is None:
            unknown.append(path.name)
            print(f"{path.name}  not built yet")
            continue
        checked += 1
        failed += check_file(path, check)
    print(f"{checked} files checked, {failed} failed, {len(unknown)} of a kind that is not built yet")
    return 0 if checked and not failed and not unknown else 1


def check_file(path: Path, check) -> int:
    """Runs one check and prints its rows; 1 if anything failed."""
    try:
        case = Case.load(path)
        check(case)
    except Exception as error:  # one broken file must not hide the others
        print(f"{path.name}  raised {type(error).__name__}: {error}  FAILED")
        return 1
    for row in case.rows:
        print(row)
    unused = case.unused()
    if unused:
        print(f"{path.name}  keys that no check used: {', '.join(unused)}  FAILED")
    return int(bool(unused) or not case.rows or not all(row.ok for row in case.rows))


if __name__ == "__main__":
    sys.exit(main())

"""Command line: checks every reference file of a folder and prints one line per quantity."""

import argparse
import os
import sys
from pathlib import Path

from tests.golden.case import find_check, reference_files
from tests.golden.checking import checked


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="folder with reference arrays, searched with its subfolders"
    )
    parser.add_argument("--only", help="check only files whose name contains this text")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="number of processes; default: one per core"
    )
    parser.add_argument("--single", action="store_true", help="in single precision, with its own tolerances")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    return run(options.folder, options.only, options.jobs, options.single)


def run(folder: Path, only: str | None, jobs: int = 1, single: bool = False) -> int:
    """0 when every file was recognised, every key used and every comparison within its tolerance."""
    paths = list(reference_files(folder, only))
    known = [path for path in paths if find_check(path.name)]
    for path in paths:
        if path not in known:
            print(f"{path.name}  not built yet")
    failed = 0
    for lines, bad in checked(known, jobs, single):
        print("\n".join(lines), flush=True)
        failed += bad
    unknown = len(paths) - len(known)
    print(f"{len(known)} files checked, {failed} failed, {unknown} of a kind that is not built yet")
    return 0 if known and not failed and not unknown else 1


if __name__ == "__main__":
    sys.exit(main())

"""How long planning, `status` and `collect` take for a sweep of many cells.

python -m benchmarks.sweep_scale [--seeds=84]

Plans 2 methods x 6 networks x SEEDS seeds (84: 1,008 cells) of the digits sequence, fills a folder with results that are
copies of one another, and times the three actions in processes of their own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from seqfinal_jax.results.sealed import write_sealed
from seqfinal_jax.sweeps.record import read_sweep, submitted, write_sweep

NETWORKS = "convnet-1,convnet-2,convnet-3,convnet-4,resnet-1,densenet-1"


def timed(*arguments: str) -> float:
    """Seconds of `seqfinal sweep`."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "seqfinal_jax", "sweep", *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=84)
    seeds = ",".join(map(str, range(parser.parse_args().seeds)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = ("--config=configs/digits_rcl.py:smoke", "--config.methods=erm_final,erm_fine_tune")
        one = ("--config.seeds=0,", "--config.architectures=convnet-1", f"--workdir={folder / 'one'}")
        timed(*digits, *one, "--cluster=debug")
        small = (*digits, f"--config.architectures={NETWORKS}")
        planning = timed(*small, f"--config.seeds={seeds}", f"--workdir={folder / 'many'}", "--dry_run")
        print(f"planning {planning:.1f} s", flush=True)
        fill(folder / "one", folder / "many", small, seeds)
        for action in ("status", "collect"):
            seconds = timed(action, f"--workdir={folder / 'many'}")
            print(f"{action} {seconds:.1f} s", flush=True)


def fill(one: Path, many: Path, small: tuple[str, ...], seeds: str) -> None:
    """A sweep that is planned, with a copy of a result in every cell but the last ten."""
    from seqfinal_jax.sweeps.plan import plan_runs
    from seqfinal_jax.sweeps.record import Sweep

    settings = [*small[1:], f"--config.seeds={seeds}"]
    [planned] = plan_runs([small[0].removeprefix("--config=")], settings, None, many)
    sweep = submitted(Sweep((planned.run,), "local", 2, 2), ["1"])
    write_sweep(many, sweep)
    for name in ("config.json", "environment.json"):
        (many / name).write_bytes((one / name).read_bytes())
    cells = read_sweep(many).runs[0].cells
    print(f"{len(cells)} cells", flush=True)
    for architecture, method, seed in cells[:-10]:
        source = one / "cells" / method / "convnet-1" / "seed0"
        result = json.loads((source / "result.json").read_text())
        files = {file: (source / file).read_bytes() for file in result.pop("files")}
        result.pop("seal")
        record = {**result, "architecture": architecture, "seed": seed}
        write_sealed(many / "cells" / method / architecture / f"seed{seed}", "result.json", record, files)


if __name__ == "__main__":
    main()

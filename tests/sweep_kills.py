"""Kills parts of local sweeps at random moments and compares what they end with to an unbroken sweep.

python -m tests.sweep_kills --rounds 50 --seed 0

A chain is a folder whose sweep of two workers loses (SIGKILL) a worker or the launcher, in turn, one to three times. A
worker is started again by the launcher; a launcher that is gone is started again by hand, beside the workers that it
left. Moments are drawn uniformly over the unbroken sweep's time after its first epoch. Every file of the chain must then
be that of the unbroken sweep, but for times of day and the record of the sweep itself. Exits with 1 if one is not.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.kills import count, files

ROOT = Path(__file__).parents[1]
FIELDS = (
    "--config.methods=erm_final,erm_fine_tune,sequential_ewc,joint", "--config.seeds=0,1",
    "--config.training.max_epochs=15", "--config.training.patience=15", "--config.data.source_size=500",
)  # fmt: skip
# Every Python process of a sweep reads this first: it adds a byte to $EPOCHS for each epoch that a member trained.
COUNTER = """
import importlib.abc, importlib.machinery, os, sys
NAME = "seqfinal_jax.training.engine.fit"
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        def counted(module):
            execute(module)
            report = module._report
            def and_count(run, chunk):
                with open(os.environ["EPOCHS"], "ab") as file:
                    file.write(b"." * len(chunk.rows))
                report(run, chunk)
            module._report = and_count
        spec.loader.exec_module = counted
        return spec
sys.meta_path.insert(0, Finder())
"""


class Place:
    """A folder with a sweep, and how many epochs of members were trained there."""

    def __init__(self, folder: Path) -> None:
        self.run, self.epochs = folder / "run", folder / "epochs"
        (folder / "start").mkdir(parents=True)
        (folder / "start" / "sitecustomize.py").write_text(COUNTER)
        self.environment = {
            **os.environ, "EPOCHS": str(self.epochs), "PYTHONPATH": f"{folder / 'start'}:{ROOT}",
        }  # fmt: skip

    def start(self) -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "seqfinal_jax",
            "sweep",
            "--config=configs/digits_rcl.py:smoke",
            *FIELDS,
        ]
        return subprocess.Popen(
            [*command, "--workers=2", f"--workdir={self.run}"], cwd=ROOT, env=self.environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def workers(self) -> list[int]:
        """The processes of the workers that live, each with its child."""
        found = []
        for path in self.run.glob("sweep/workers/worker*.json"):
            with contextlib.suppress(OSError, ValueError):
                found.append(json.loads(path.read_text())["pid"])
        return [pid for pid in found if Path(f"/proc/{pid}").exists()]


def finished(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a sweep ended with {process.returncode}: {errors.strip()}")


def unbroken(place: Place) -> tuple[float, float]:
    """Seconds to the end of the first epoch, and to the end of the sweep."""
    began, process = time.monotonic(), place.start()
    while not count(place.epochs) and process.poll() is None:
        time.sleep(0.01)
    first = time.monotonic() - began
    finished(process)
    return first, time.monotonic() - began


def kill_worker(place: Place, generator: random.Random) -> str:
    workers = place.workers()
    if not workers:
        return "no worker was left"
    chosen = generator.choice(sorted(workers))
    children = subprocess.run(["pgrep", "-P", str(chosen)], capture_output=True, text=True).stdout.split()
    for pid in [chosen, *map(int, children)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return "a worker"


def chain(
    place: Place, kills: Sequence[str], span: tuple[float, float], generator: random.Random
) -> list[str]:
    """Starts, kills, starts again what the launcher does not; what was done."""
    told, process = [], place.start()
    for victim in kills:
        moment = generator.uniform(*span)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        if process.poll() is not None:
            told.append("after its end")
            process.communicate()
            process = place.start()
        elif victim == "launcher":
            process.send_signal(signal.SIGKILL)
            process.communicate()
            told.append(f"the launcher at {moment:.1f} s")
            process = place.start()
        else:
            told.append(f"{kill_worker(place, generator)} at {moment:.1f} s")
    finished(process)
    while place.workers():  # those of a launcher that was killed
        time.sleep(0.2)
    return told


def results(place: Place) -> dict[str, bytes]:
    """All files but the sweep's own record and logs, and claims of the dead."""
    found = files(place.run)
    return {name: content for name, content in found.items() if not name.startswith(("sweep/", "claims/"))}


def rounds(folder: Path, left: int, generator: random.Random) -> int:
    """All chains; 1 if one ended with other files."""
    os.environ.setdefault("SEQFINAL_CACHE_DIR", str(folder / "cache"))
    unbroken(Place(folder / "warm"))  # fills the cache
    whole_place = Place(folder / "whole")
    span = unbroken(whole_place)
    wanted, whole = results(whole_place), count(whole_place.epochs)
    print(
        f"unbroken: {span[1]:.1f} s, first epoch at {span[0]:.1f} s, {whole} epochs, {len(wanted)} files",
        flush=True,
    )
    number = lost = kills = wrong = 0
    while left > 0:
        place, number = Place(folder / f"chain{number}"), number + 1
        victims = [("worker", "launcher")[(kills + k) % 2] for k in range(min(left, generator.randint(1, 3)))]
        told = chain(place, victims, span, generator)
        found, more = results(place), count(place.epochs) - whole
        differing = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
        wrong += bool(differing)
        left, lost, kills = left - len(victims), lost + more, kills + len(victims)
        said = differing or "same files"
        print(f"chain {number}: killed {'; '.join(told)}; {more} epochs again; {said}", flush=True)
    print(
        f"{kills} kills in {number} chains: {wrong} chains ended with other files; {lost} epochs of members were trained "
        f"again, {lost / kills:.1f} a kill, {100 * lost / kills / whole:.1f} % of a sweep"
    )
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50, help="kills in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return rounds(Path(folder), options.rounds, random.Random(options.seed))


if __name__ == "__main__":
    sys.exit(main())

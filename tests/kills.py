"""Kills runs at random moments and compares what they end with to an unbroken run.

python -m tests.kills --rounds 30 --seed 0

A chain is a run folder whose run is killed (SIGKILL) one to three times and started again; half of the restarts ask for
other seeds or methods, the last one for all. Moments are drawn uniformly over the unbroken run's time after its first
epoch. Every file of the chain must then be that of the unbroken run, but for times of day. Exits with 1 if one is not.
"""

import argparse
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

METHODS = ("erm_final", "erm_fine_tune", "sequential_ewc", "joint")
SEEDS = (0, 1)
EPOCHS = 15
TIMES_OF_DAY = ("timing.csv", "run.log")
Lists = tuple[Sequence[str], Sequence[int]]


def child(workdir: Path, epochs: Path, lists: Lists) -> int:
    """The run itself, in this process; a byte is added to `epochs` whenever a member has trained for an epoch."""
    from seqfinal_jax.analysis.report import report_run
    from seqfinal_jax.runs import loop
    from seqfinal_jax.training.engine import fit
    from tests.runs import run, smoke_config

    report = fit._report

    def counted(run: object, chunk: object) -> None:
        with epochs.open("ab") as file:
            file.write(b"." * len(chunk.rows))
        report(run, chunk)

    fit._report = counted
    loop.enable_compilation_cache()
    fields = {"training__max_epochs": EPOCHS, "training__patience": EPOCHS, "data__source_size": 500}
    failed = run(smoke_config(methods=tuple(lists[0]), seeds=tuple(lists[1]), **fields), workdir)
    report_run(workdir)
    return failed


def started(workdir: Path, epochs: Path, lists: Lists) -> subprocess.Popen:
    """A child of these lists."""
    names, seeds = ",".join(lists[0]), ",".join(map(str, lists[1]))
    command = [sys.executable, "-m", "tests.kills", "--child", str(workdir), str(epochs), names, seeds]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a run ended with {process.returncode}: {errors.strip()}")


def count(epochs: Path) -> int:
    return epochs.stat().st_size if epochs.exists() else 0


def unbroken(folder: Path) -> tuple[float, float]:
    """Runs without a kill; seconds to the end of the first epoch and to the end of the run."""
    began, epochs = time.monotonic(), folder / "epochs"
    process = started(folder / "run", epochs, (METHODS, SEEDS))
    while not count(epochs) and process.poll() is None:
        time.sleep(0.01)
    first = time.monotonic() - began
    finished(process)
    return first, time.monotonic() - began


def other_lists(generator: random.Random) -> Lists:
    """Some of the methods and seeds, in another order."""
    methods = generator.sample(METHODS, generator.randint(1, len(METHODS)))
    return methods, generator.sample(SEEDS, generator.randint(1, len(SEEDS)))


def chain(folder: Path, kills: int, span: tuple[float, float], generator: random.Random) -> list[str]:
    """Kills and restarts; what was done, one string per start."""
    told, lists = [], (METHODS, SEEDS)
    for _ in range(kills):
        process, moment = started(folder / "run", folder / "epochs", lists), generator.uniform(*span)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        told.append(f"{len(lists[0])} methods, {len(lists[1])} seeds, {moment:.1f} s")
        lists = other_lists(generator) if generator.random() < 0.5 else (METHODS, SEEDS)
    finished(started(folder / "run", folder / "epochs", lists))
    finished(started(folder / "run", folder / "epochs", (METHODS, SEEDS)))
    return told


def files(workdir: Path) -> dict[str, bytes]:
    """Everything in a run folder but what holds times of day, and hidden leftovers of writes that were killed."""
    found = {str(path.relative_to(workdir)): path for path in sorted(workdir.rglob("*")) if path.is_file()}
    return {
        name: _content(path, workdir)
        for name, path in found.items()
        if path.name not in TIMES_OF_DAY and not any(part.startswith(".") for part in Path(name).parts)
    }


def _content(path: Path, workdir: Path) -> bytes:
    """A file's bytes; the commands that the page names are those of any run folder."""
    if path.name == "environment.json":
        return _without_history(path)
    content = path.read_bytes()
    return content.replace(str(workdir).encode(), b"RUN") if path.suffix == ".html" else content


def _without_history(path: Path) -> bytes:
    """environment.json but for the history of commands, which tells of the lists that were asked for between."""
    record = json.loads(path.read_text())
    record.pop("commands", None)
    return json.dumps(record, sort_keys=True).encode()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30, help="kills in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and lists")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        workdir, epochs, names, seeds = options.child
        return child(
            Path(workdir), Path(epochs), (names.split(","), [int(seed) for seed in seeds.split(",")])
        )
    with tempfile.TemporaryDirectory() as folder:
        return rounds(Path(folder), options.rounds, random.Random(options.seed))


def rounds(folder: Path, left: int, generator: random.Random) -> int:
    """All chains; 1 if one ended with other files."""
    os.environ.setdefault("SEQFINAL_CACHE_DIR", str(folder / "cache"))
    for name in ("warm", "whole"):  # the first one fills the cache
        (folder / name).mkdir()
        span = unbroken(folder / name)
    wanted, whole = files(folder / "whole" / "run"), count(folder / "whole" / "epochs")
    print(
        f"unbroken: {span[1]:.1f} s, first epoch at {span[0]:.1f} s, {whole} epochs of members, {len(wanted)} files"
    )
    number = lost = kills = wrong = 0
    while left > 0:
        place, number = folder / f"chain{number}", number + 1
        place.mkdir()
        each = min(left, generator.randint(1, 3))
        told = chain(place, each, span, generator)
        found, more = files(place / "run"), count(place / "epochs") - whole
        differing = sorted(
            name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
        )
        wrong += bool(differing)
        left, lost, kills = left - each, lost + more, kills + each
        print(
            f"chain {number}: killed {'; '.join(told)}; {more} epochs again; {differing or 'same files'}",
            flush=True,
        )
    print(
        f"{kills} kills in {number} chains: {wrong} chains ended with other files; {lost} epochs of members were trained "
        f"again, {lost / kills:.1f} a kill, {100 * lost / kills / whole:.1f} % of a run"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

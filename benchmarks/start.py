"""Seconds from the start of Python to the end of a first epoch, with a warm compilation cache.

python -m benchmarks.start [--data_dir=DIR]

Runs `seqfinal_jax.main` on `erm_final` twice with an empty run folder, of digits and, where a folder with CIFAR-10 is
given, of its RCL sequence with convnet-1; the first run fills the cache. What is printed is the second one: one epoch
of one grid point, from the command to its end, report included.
"""

import argparse
import subprocess
import sys
import tempfile
import time

ONE_EPOCH = (
    "--config.training.max_epochs=1",
    "--config.grid.learning_rate=(0.001,)",
    "--config.grid.weight_decay=(0.0001,)",
    "--config.grid.dropout=(0.5,)",
    "--config.seeds=(0,)",
    "--config.methods=erm_final",
)


def seconds(config: str, *flags: str) -> float:
    """Of one run in a fresh folder."""
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "-m", "seqfinal_jax.main", f"--config=configs/{config}.py"]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, f"--workdir={workdir}/run", *ONE_EPOCH, *flags], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{config}: {done.stderr.strip()}")
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", help="folder with CIFAR-10; left out, digits alone")
    folder = parser.parse_args().data_dir
    runs = [("digits_rcl", ())]
    if folder:
        runs.append(("cifar10_rcl", (f"--data_dir={folder}", "--config.architectures=convnet-1")))
    print("| run | first s | with a warm cache s |\n|---|---|---|", flush=True)
    for config, flags in runs:
        first, warm = (seconds(config, *flags) for _ in range(2))
        print(f"| {config} | {first:.1f} | {warm:.1f} |", flush=True)


if __name__ == "__main__":
    main()

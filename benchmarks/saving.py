"""How long it takes to save the state of one training, and so how much work a kill loses at most.

Command   python -m benchmarks.saving [--out FILE.csv]

The state is what a running training keeps: its best and last variables, and two moments of Adam for each parameter. A
save is due while all saves have cost at most 5 % of the time so far, so that one follows another after 20 times its
cost, or after an epoch where that takes longer.
"""

import argparse
import csv
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from seqfinal_jax.models import build_network, init_variables
from seqfinal_jax.results.checkpoints import SaveBudget, named_leaves, write_folder

NETWORKS = ("convnet-1", "convnet-4", "resnet-4", "densenet-4")
COLUMNS = ("network", "megabytes", "save_seconds", "lost_at_most_seconds")


def measured(name: str, repeats: int = 5) -> dict[str, object]:
    network = build_network(name, 10)
    variables = jax.tree.map(np.asarray, init_variables(network, jax.random.key(0)))
    moments = dict.fromkeys(("mu", "nu"), variables["params"])
    arrays = named_leaves({"best": variables, "last": variables, "optimiser": moments})
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            began = time.perf_counter()
            write_folder(Path(folder) / "state", arrays, {})
            seconds.append(time.perf_counter() - began)
    save = statistics.median(seconds)
    return {
        "network": name, "megabytes": round(sum(array.nbytes for array in arrays.values()) / 1e6, 1),
        "save_seconds": round(save, 3), "lost_at_most_seconds": round(save / SaveBudget().share, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with options.out.open("w", newline="") if options.out else sys.stdout as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(measured, NETWORKS))


if __name__ == "__main__":
    main()

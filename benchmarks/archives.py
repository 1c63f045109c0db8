"""What a single flipped bit does to stored weights: this package's folders beside Orbax checkpoints.

Command   python -m benchmarks.archives [--flips 120] [--out FILE.csv]

Each flip changes one bit of one file, drawn in proportion to the sizes of the files, and reads the weights back:
"refused" is an error, "same" the same numbers, "other" numbers that are not those that were written. Needs
orbax-checkpoint.
"""

import argparse
import csv
import logging
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from seqfinal_jax.models import build_network, init_variables
from seqfinal_jax.results.checkpoints import named_leaves, nested, read_folder, write_folder

Reader = Callable[[Path], object]
COLUMNS = ("store", "files", "bytes", "flips", "refused", "same", "other", "below_a_bracket")


def write_ours(place: Path, variables: object) -> None:
    write_folder(place, named_leaves({"best": variables}), {})


def read_ours(place: Path) -> object:
    return nested(read_folder(place)[0])["best"]


def write_orbax(place: Path, variables: object) -> None:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as writer:
        writer.save(place, variables)


def read_orbax(place: Path) -> object:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as reader:
        return reader.restore(place)


def flipped(place: Path, random_bits: random.Random) -> None:
    """Flips one bit of the files below a folder."""
    files = sorted(path for path in place.rglob("*") if path.is_file() and path.stat().st_size)
    at = random_bits.randrange(sum(path.stat().st_size for path in files))
    for path in files:
        if at < path.stat().st_size:
            content = bytearray(path.read_bytes())
            content[at] ^= 1 << random_bits.randrange(8)
            path.write_bytes(bytes(content))
            return
        at -= path.stat().st_size


def outcome(place: Path, read: Reader, expected: list[np.ndarray]) -> str:
    try:
        found = jax.tree.leaves(read(place))
    except Exception:  # whatever a library raises is a refusal
        return "refused"
    same = len(found) == len(expected) and all(
        np.asarray(a).tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True)
    )
    return "same" if same else "other"


def measured(name: str, write: Callable, read: Reader, variables: object, flips: int) -> dict[str, object]:
    expected, bits = [np.asarray(leaf) for leaf in jax.tree.leaves(variables)], random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        whole, broken, bracket = (Path(folder) / part for part in ("whole", "broken", "run [1]/whole"))
        write(whole, variables)
        assert outcome(whole, read, expected) == "same"
        counts: Counter[str] = Counter()
        for _ in range(flips):
            shutil.copytree(whole, broken)
            flipped(broken, bits)
            counts[outcome(broken, read, expected)] += 1
            shutil.rmtree(broken)
        shutil.copytree(whole, bracket)
        files = [path for path in whole.rglob("*") if path.is_file()]
        return {
            "store": name, "files": len(files), "bytes": sum(path.stat().st_size for path in files), "flips": flips,
            **{kind: counts[kind] for kind in ("refused", "same", "other")},
            "below_a_bracket": "read" if outcome(bracket, read, expected) == "same" else "not read",
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flips", type=int, default=120)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    network = build_network("convnet-1", 10)
    variables = jax.tree.map(np.asarray, init_variables(network, jax.random.key(0)))
    stores = (("seqfinal_jax", write_ours, read_ours), ("orbax", write_orbax, read_orbax))
    rows = [measured(*store, variables, options.flips) for store in stores]
    with options.out.open("w", newline="") if options.out else sys.stdout as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

"""Whether a change of the code leaves every result as it was, byte for byte.

    python -m benchmarks.same_bytes make before            # with the code before
    python -m benchmarks.same_bytes make after             # with the code after
    python -m benchmarks.same_bytes compare before after

`make` runs a tiny cell of every method and of every family of options on digits, each in a folder of its own. `compare`
reads both and lists the files that differ, and those that one side lacks. Files that record the time or the program
(timing.csv, run.log, environment.json, config.json) are not compared. `--only=WORD` takes the folders whose names have
the word.
"""

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from configs.digits_rcl import get_config
from seqfinal_jax.config.parse import parse
from seqfinal_jax.methods.recipes import METHODS
from seqfinal_jax.runs.loop import run

SKIPPED = {"timing.csv", "run.log", "environment.json", "config.json"}
OF_RESNETS = ("erm_side_tune", "sequential_side_tune", "joint_side_tune")
RESNET = {"architectures": ("resnet-1",), "network__units": 1, "network__width_factor": 0.0625}
DENSENET = {"architectures": ("densenet-1",), "network__dense_layers": (2,), "network__width_factor": 0.0625}
TUNE, CHAIN, JOINT = (
    {"methods": (name,)} for name in ("erm_fine_tune", "sequential_fine_tune_none", "joint")
)
BLOCK = {"side__layer_sizes": "block"}
PLUGIN = """
import jax
from seqfinal_jax.methods import Choice, Transform, method
from seqfinal_jax.methods.recipes.fine_tune import from_history, history_stage

@method("averaged", column="Avg", legend="weight average", family="mine")
def averaged(setting):
    start, tuned = history_stage(setting), from_history(setting)
    mix = Transform(between, (start, tuned), [{"alpha": 0.0}, {"alpha": 0.5}], statistics=(setting.final_step,))
    return Choice((tuned, mix))

def between(first, second, alpha):
    return jax.tree.map(lambda a, b: (1 - alpha) * a + alpha * b, first, second)
"""

RUNS: dict[str, dict[str, Any]] = {
    "convnet": {
        "methods": tuple(name for name in METHODS if name not in OF_RESNETS), "data__test_all_steps": True,
    },
    "resnet": {"methods": ("erm_final", "irm_all", "dro_all", *OF_RESNETS), **RESNET},
    "densenet": {"methods": ("erm_final", "erm_fine_tune"), **DENSENET},
    "seeds_and_grid": {
        **TUNE, "seeds": (0, 3), "grid__dropout": (0.0, 0.5), "grid__learning_rate": (3e-3, 1e-3),
    },
    "halving": {**TUNE, "search": "halving", "grid__learning_rate": (3e-3, 1e-3), "training__max_epochs": 8},
    "budget": {**TUNE, "training__least_updates": 30, "training__patience_updates": 10},
    "bfloat16": {"methods": ("erm_final", "joint"), "precision": "bfloat16"},
    "eval_metrics": {**TUNE, "training__train_metrics": "eval", "training__init_per_grid_point": True},
    "search": {**TUNE, "fine_tune__layers": "search"},
    "surgical": {**TUNE, "fine_tune__layers": "surgical_rgn"},
    "surgical_chain": {**CHAIN, "fine_tune__layers": "fc:surgical_snr:layer1-all"},
    "l1": {**TUNE, "fine_tune__regularization": "previous_l1"},
    "fisher": {**TUNE, "fine_tune__regularization": "fisher", "fine_tune__fisher": "per_sample"},
    "previous_chain": {**CHAIN, "fine_tune__regularization": "previous", "fine_tune__ablate_init": True},
    "adapter": {**TUNE, "fine_tune__mode": "low_rank_adapt", "adapter__init": "identity"},
    "adapter_chain": {
        **CHAIN, "fine_tune__mode": "low_rank_adapt", "adapter__mode": "multiply", "all_layers_efficient": True,
    },
    "from_joint": {**TUNE, "fine_tune__mode": "standard_using_joint_with_init_and_prev_reg"},
    "chain_from_joint": {**CHAIN, "fine_tune__mode": "standard_using_joint"},
    "frozen_statistics": {
        "methods": ("erm_side_tune_block",), "all_layers_efficient": True, "fine_tune__freeze_batch_stats": True,
    },
    "released": {
        "methods": ("dro_fine_tune", "sequential_fine_tune"), "protocol__history_steps": "all",
        "protocol__decay_selection": "test", "protocol__penalise_bn": "by_name", "protocol__input_scaling": "raw",
        "precision": "highest",
    },
    "joint_layers": {**JOINT, "joint__separate_layers": "search"},
    "joint_adapted": {**JOINT, "joint__mode": "low_rank_adapt", "joint__adjacent_penalty": "l1"},
    "joint_side": {**JOINT, "joint__mode": "side_tune", **BLOCK, "joint__ablate": True},
    "joint_fisher": {**JOINT, "joint__adjacent_penalty": "l2_fisher", "joint__penalty_by_time": True},
    "joint_matched": {**JOINT, "joint__loss_samples": "nearest_neighbours"},
    "joint_resumed": {**JOINT, "joint__resume_to_epochs": 5, "joint__increasing_loss_weights": True},
    "same_start": {**JOINT, "joint__same_init_over_time": True, "joint__separate_layers": "fc"},
    "plugin": {"methods": ("averaged",), "plugins": ("averaged.py",)},
}  # fmt: skip


def make(folder: Path, only: str = "") -> int:
    """Runs every cell into folders below `folder`; returns how many runs failed."""
    failed = 0
    for name, fields in RUNS.items():
        if only in name:
            console = Console(file=io.StringIO(), width=200)
            status = run(parse(_config(fields, folder)), folder / name, console=console)
            print(f"{name}: {'failed' if status else 'done'}", flush=True)
            failed += bool(status)
    return failed


def _config(fields: dict[str, Any], folder: Path) -> Any:
    """The digits sequence with everything tiny and one grid point, but for these fields."""
    config = get_config("smoke")
    plain = {
        "seeds": (0,),
        "training__max_epochs": 2,
        "grid__dropout": (0.0,),
        "grid__learning_rate": (3e-3,),
    }
    for name, value in {**plain, **fields}.items():
        *path, last = name.split("__")
        node = config
        for part in path:
            node = node[part]
        node[last] = _plugins(value) if name == "plugins" else value
    return config


def _plugins(names: tuple[str, ...]) -> tuple[str, ...]:
    """The user's file, at the same place every time: run folders record it."""
    place = Path(tempfile.gettempdir()) / "seqfinal_same_bytes"
    place.mkdir(exist_ok=True)
    for name in names:
        (place / name).write_text(PLUGIN)
    return tuple(str(place / name) for name in names)


def differences(before: Path, after: Path, only: str = "") -> Iterator[str]:
    """What differs between two folders of `make`, one line per file; of JSON files the names of the entries."""
    files = {side: _files(side, only) for side in (before, after)}
    for name in sorted(files[before] | files[after]):
        if name not in files[after]:
            yield f"missing: {name}"
        elif name not in files[before]:
            yield f"added: {name}"
        elif (before / name).read_bytes() != (after / name).read_bytes():
            yield f"differs: {name}{_entries(before / name, after / name)}"


def _files(folder: Path, only: str) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in SKIPPED)
    names = (str(path.relative_to(folder)) for path in found)
    return {name for name in names if only in name.partition("/")[0]}


def _entries(before: Path, after: Path) -> str:
    if before.suffix != ".json":
        return ""
    there, here = (json.loads(path.read_text()) for path in (before, after))
    names = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    return f" ({', '.join(names)})"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("make", "compare"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    if asked.action == "make":
        sys.exit(make(asked.folders[0], asked.only) > 0)
    if len(asked.folders) != 2:
        parser.error("compare needs two folders")
    found = list(differences(*asked.folders, asked.only))
    print("\n".join(found) or "no file differs")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

"""The run folder itself: its configuration, its environment, its timings, and the models in it."""

import contextlib
import csv
import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from seqfinal_jax.config import input_scaling
from seqfinal_jax.models import Network
from seqfinal_jax.plan import Plan
from seqfinal_jax.results.run_folder import read_json, write_whole

log = logging.getLogger(__name__)
HOUR = 3600.0
MEND = "delete the run folder, or restore the file"

# What may differ between runs in one folder.
FREE_FIELDS = ("methods", "architectures", "seeds")
# Also those that make methods of another id, or do not change results.
FREE_NAMES = ("joint.resume_to_epochs", "joint.resume_patience", "joint.matching_memory_gib")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn")
TIMING_COLUMNS = (
    "stage", "architecture", "fingerprint", "seeds", "members", "epochs", "seconds", "compile_seconds",
)  # fmt: skip


def open_workdir(workdir: Path, plan: Plan) -> None:
    """Makes the folder, or checks that it belongs to this configuration; raises ValueError naming what differs."""
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        config = json.loads(json.dumps(plan.config.to_dict()))
        config.update({field: list(getattr(plan, field)) for field in FREE_FIELDS})
        if path.exists():
            _refuse_other(workdir, read_json(path, MEND), config)
        write_whole(path, json.dumps(config, indent=1, sort_keys=True) + "\n")
        clear_leftovers(workdir)
        now = environment(plan)
        _warn_of_change(workdir / "environment.json", now)
        write_whole(workdir / "environment.json", json.dumps(now, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise ValueError(
            f"--workdir={workdir} cannot be written ({error}); name a folder that you may write to"
        ) from error


def _refuse_other(workdir: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    before, now = flat(there), flat(wanted)
    names = sorted(name for name in before.keys() | now.keys() if name.split(".")[0] not in FREE_FIELDS)
    differing = [name for name in names if name not in FREE_NAMES and before.get(name) != now.get(name)]
    if differing:
        listed = "; ".join(f"{n}: {before.get(n)!r} there, {now.get(n)!r} now" for n in differing)
        raise ValueError(
            f"--workdir={workdir} holds a run of another configuration ({listed}); "
            f"name another folder, or run with the configuration in its config.json"
        )


@contextlib.contextmanager
def log_file(workdir: Path) -> Iterator[None]:
    """Writes this package's log to run.log: warnings, and when the state of a fit was saved last."""
    logger = logging.getLogger("seqfinal_jax")
    handler = logging.FileHandler(workdir / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def _warn_of_change(path: Path, now: dict[str, Any]) -> None:
    """Warns when the folder was filled on another kind of machine or with other versions: bits may differ."""
    if not path.exists():
        return
    before, after = flat(read_json(path, MEND)), flat(now)
    names = [
        name for name in after if name.startswith("packages.") or name in ("backend", "cpu", "thread_pool")
    ]
    changed = [f"{n} {before.get(n)} -> {after[n]}" for n in names if before.get(n) != after[n]]
    if changed:
        log.warning(
            "%s: this folder's earlier results came from another environment: %s", path, ", ".join(changed)
        )


def clear_leftovers(workdir: Path) -> None:
    """Removes what killed writes left: hidden folders and files beside their places, older than an hour."""
    for path in [
        *workdir.glob("cells/*/*/.*"),
        *workdir.glob("stages/*/.*"),
        *workdir.glob("stages/*/progress/*/.*"),
    ]:
        if time.time() - path.stat().st_mtime > HOUR:
            shutil.rmtree(path, ignore_errors=True)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries to dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return leaves


def environment(plan: Plan) -> dict[str, Any]:
    """Versions, device, threads and data source: what results may depend on besides the configuration."""
    devices = jax.local_devices()
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in devices],
        "cpu": _cpu_name(),
        "thread_pool": max(os.cpu_count() or 1, len(devices)),
        "data": {**plan.source.record, "identity": plan.data_identity()},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def append_timing(workdir: Path, row: dict[str, Any]) -> None:
    """Adds a line to timing.csv, the only file that depends on the time of day."""
    path = workdir / "timing.csv"
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, TIMING_COLUMNS, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(
            {**row, "seconds": f"{row['seconds']:.2f}", "compile_seconds": f"{row['compile_seconds']:.2f}"}
        )


def describe_model(plan: Plan, network: Network) -> dict[str, Any]:
    """All that is needed to use a stored model without this run's configuration."""
    return {
        "model": {
            "architecture": network.name,
            "num_classes": network.num_classes,
            "network": asdict(network.config),
            "input_scaling": asdict(input_scaling(plan.config)),
            "class_names": list(plan.source.class_names),
        }
    }

"""The run folder itself: its configuration, its environment, its timings, and the models in it."""

import csv
import json
import os
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from seqfinal_jax.models import Network
    from seqfinal_jax.run import Plan

# What may differ between runs in one folder.
FREE_FIELDS = ("methods", "architectures", "seeds")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn")
TIMING_COLUMNS = (
    "stage", "architecture", "fingerprint", "seeds", "members", "epochs", "seconds", "compile_seconds",
)  # fmt: skip


def open_workdir(workdir: Path, plan: "Plan") -> None:
    """Makes the folder, or checks that it belongs to this configuration; raises ValueError naming what differs."""
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        config = json.loads(json.dumps(plan.config.to_dict()))
        for field, values in (
            ("methods", plan.methods),
            ("architectures", plan.architectures),
            ("seeds", plan.seeds),
        ):
            config[field] = list(values)
        if path.exists():
            _refuse_other(workdir, read_json(path), config)
        write_text(path, json.dumps(config, indent=1, sort_keys=True) + "\n")
        write_text(
            workdir / "environment.json", json.dumps(environment(plan), indent=1, sort_keys=True) + "\n"
        )
    except OSError as error:
        raise ValueError(
            f"--workdir={workdir} cannot be written ({error}); name a folder that you may write to"
        ) from error


def _refuse_other(workdir: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    before, now = flat(there), flat(wanted)
    names = sorted(name for name in before.keys() | now.keys() if name.split(".")[0] not in FREE_FIELDS)
    differing = [name for name in names if before.get(name) != now.get(name)]
    if differing:
        listed = "; ".join(f"{n}: {before.get(n)!r} there, {now.get(n)!r} now" for n in differing)
        raise ValueError(
            f"--workdir={workdir} holds a run of another configuration ({listed}); "
            f"name another folder, or run with the configuration in its config.json"
        )


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries to dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return leaves


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file; raises ValueError that names it when it is damaged."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}); delete the folder, or restore the file") from error


def write_text(path: Path, text: str) -> None:
    """Writes a file beside its place and renames it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.rename(path)


def environment(plan: "Plan") -> dict[str, Any]:
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


def describe_model(plan: "Plan", network: "Network") -> dict[str, Any]:
    """All that is needed to use a stored model without this run's configuration."""
    from seqfinal_jax.config import input_scaling

    return {
        "model": {
            "architecture": network.name,
            "num_classes": network.num_classes,
            "network": asdict(network.config),
            "input_scaling": asdict(input_scaling(plan.config)),
            "class_names": list(plan.source.class_names),
        }
    }
